"""Linear decoding of recorded activity, compared with chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedGroupKFold

from cordstasks.analysis._checks import Floats, column, count, open_fraction, real_array, same_trials
from cordstasks.analysis._trials import grouped, varying
from cordstasks.analysis.statistics.proportions import wilson_interval
from cordstasks.errors import InputError

__all__ = ["Decoding", "decode"]

_SHRINKAGE = 0.1
Fold = tuple[NDArray[np.intp], NDArray[np.intp], Floats, Floats]


@dataclass(frozen=True, eq=False)
class Decoding:
    """Cross-validated accuracy of a linear decoder, from `decode`.

    Attributes
    ----------
    labels : (label,)
        What was decoded, sorted.
    predicted : (trial,)
        The decoder's answer for each trial, from a fit to other trials.
    accuracy : float
        Fraction of trials that are decoded correctly.
    interval : (low, high)
        Wilson's interval of the accuracy, as if the trials' answers were independent.
    chance : float
        Mean accuracy of the same decoder with shuffled labels.
    chance_interval : (low, high)
        Central fraction of those accuracies.
    p_value : float
        Permutation test of accuracy above chance.
    """

    labels: NDArray[Any]
    predicted: NDArray[Any]
    accuracy: float
    interval: tuple[float, float]
    chance: float
    chance_interval: tuple[float, float]
    p_value: float

    def as_dict(self) -> dict[str, Any]:
        """Return accuracy and chance ready for JSON.

        Returns
        -------
        dict of str to object
            Numbers and lists by name.
        """
        return {
            "trials": len(self.predicted),
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "chance": self.chance,
            "chance_interval": list(self.chance_interval),
            "p_value": self.p_value,
        }


def decode(
    activity: ArrayLike,
    labels: ArrayLike,
    *,
    rng: np.random.Generator,
    groups: ArrayLike | None = None,
    noise: float = 0.0,
    folds: int = 5,
    permutations: int = 200,
    components: int = 50,
    confidence: float = 0.95,
) -> Decoding:
    """Test whether a linear decoder can decode a label from activity.

    In each fold, units are standardised and reduced to principal components on the other folds, and a linear
    discriminant with shrunk covariance is fitted there. Chance is estimated by shuffling the labels within folds.

    Not valid without `groups` if trials repeat one another: a network without noise has the same activity for the same
    frames, and a decoder recognises it. Give `groups`, so that equal trials are never in two folds. A decoder also does not
    depend on the size of the activity: without noise, a trace of a millionth of the response is decoded perfectly. Give the
    `noise` that a downstream area would have.

    Parameters
    ----------
    activity : (trial, unit)
        Such as the mean over the last 100 ms of a delay; not modified.
    labels : (trial,)
        What to decode: numbers or names, two or more.
    rng : numpy.random.Generator
        Draws folds, permutations and noise.
    groups : (trial,), optional
        Trials of one group stay in one fold, and are shuffled together; each has one label.
    noise : float
        Standard deviation of Gaussian noise added to all activity, in its units.
    folds : int
        At least 2; each label needs this many trials, or groups, and two trials in the folds of each fit.
    permutations : int
        At least 1; the p value is never below 1 / (permutations + 1).
    components : int
        Principal components kept at most.
    confidence : float
        Coverage of the intervals, between 0 and 1.

    Returns
    -------
    Decoding

    Raises
    ------
    InputError
        If the lengths differ, values are not finite, a label has too few trials or groups, or a group has two labels.
    """
    rates = real_array("activity", activity, ("trial", "unit"))
    parts, rounds = count("folds", folds, 2), count("permutations", permutations, 1)
    values, code = grouped("labels", labels, len(rates), least=parts, partner="activity")
    most, coverage = count("components", components, 1), open_fraction("confidence", confidence)
    if not (np.isfinite(noise) and noise >= 0):
        raise InputError(f"noise is {noise}; give a standard deviation of 0 or more")
    block, label_of = _blocks(groups, code, values, parts)
    if noise:
        rates = rates + noise * rng.standard_normal(rates.shape)
    split = StratifiedGroupKFold(parts, shuffle=True, random_state=int(rng.integers(2**31)))
    drawn_folds = list(split.split(rates, code, block))
    for train, _ in drawn_folds:
        if 1 in (seen := np.bincount(code[train])):  # one trial has no variance
            rarest = values[int(np.argmax(seen == 1))]
            raise InputError(
                f"labels {rarest} has one trial in the folds that a fit is made from; give more, or other folds"
            )
    prepared: list[Fold] = [(train, test, *_reduced(rates, train, test, most)) for train, test in drawn_folds]
    predicted = _predicted(prepared, code)
    accuracy = float((predicted == code).mean())
    fold_of = np.empty(len(label_of), dtype=np.intp)
    for i, (_, test, _, _) in enumerate(prepared):
        fold_of[block[test]] = i
    shuffled = np.empty(rounds)
    for i in range(rounds):
        drawn = label_of.copy()
        for fold in range(parts):
            drawn[fold_of == fold] = rng.permutation(drawn[fold_of == fold])
        shuffled[i] = (_predicted(prepared, drawn[block]) == drawn[block]).mean()
    low, high = np.quantile(shuffled, [0.5 - coverage / 2, 0.5 + coverage / 2])
    return Decoding(
        labels=values,
        predicted=values[predicted],
        accuracy=accuracy,
        interval=wilson_interval(int((predicted == code).sum()), len(code), confidence=coverage),
        chance=float(shuffled.mean()),
        chance_interval=(float(low), float(high)),
        p_value=float((1 + (shuffled >= accuracy - 1e-12).sum()) / (1 + rounds)),
    )


def _blocks(
    groups: ArrayLike | None, code: NDArray[np.intp], values: NDArray[Any], folds: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the block of each trial (trial,), which stays together, and the label of each block (block,)."""
    if groups is None:
        return np.arange(len(code)), code
    given = column("groups", groups)
    same_trials("groups", given, len(code), "activity")
    _, first, block = np.unique(given, return_index=True, return_inverse=True)
    label_of = code[first]
    if (label_of[block] != code).any():
        raise InputError(f"groups has {given[np.argmax(label_of[block] != code)]} under two labels; give each its own")
    number = np.bincount(label_of, minlength=len(values))
    if number.min() < folds:
        rarest = int(number.argmin())
        raise InputError(f"labels {values[rarest]} has {number[rarest]} groups for {folds} folds; give more, or fewer folds")
    return block, label_of


def _reduced(rates: Floats, train: NDArray[np.intp], test: NDArray[np.intp], components: int) -> tuple[Floats, Floats]:
    """Return training and test trials (trial, component), transformed with the statistics of the training trials."""
    known = varying(rates[train])
    if not known.any():
        return np.zeros((len(train), 1)), np.zeros((len(test), 1))
    mean, scale = rates[train][:, known].mean(axis=0), rates[train][:, known].std(axis=0)
    fitted, held_out = ((rates[part][:, known] - mean) / scale for part in (train, test))
    reduction = PCA(min(components, *fitted.shape), svd_solver="full")
    return reduction.fit_transform(fitted), reduction.transform(held_out)


def _predicted(prepared: list[Fold], code: NDArray[np.intp]) -> NDArray[np.intp]:
    answer = np.empty_like(code)
    for train, test, fitted, held_out in prepared:
        if not np.ptp(fitted, axis=0).any():  # no information: the most frequent label
            answer[test] = np.bincount(code[train]).argmax()
            continue
        decoder = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=_SHRINKAGE)
        answer[test] = decoder.fit(fitted, code[train]).predict(held_out)
    return answer
