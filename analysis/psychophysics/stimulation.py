"""How far stimulation shifts choices, in units of coherence (Salzman, Britten & Newsome 1990), and other paired effects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression

from cordstasks.analysis._checks import Floats, coherences, count, flags, open_fraction, plain, plain_interval
from cordstasks.analysis.psychophysics.levels import distinct
from cordstasks.errors import InputError

__all__ = ["ChoiceShift", "choice_shift", "paired_change"]

_WEAK = 1e3  # inverse strength of the ridge that keeps separable choices finite, for coherences over the largest


@dataclass(frozen=True)
class ChoiceShift:
    """The shift of a psychometric function, from `choice_shift`.

    Attributes
    ----------
    shift : float
        The coherence (a fraction) that would change choices as the stimulation does, positive towards the choice that is
        counted; NaN where choices do not follow the motion. It is never beyond the tested coherences, see `beyond`.
    interval : (low, high)
        Percentile bootstrap over trials, within the tested coherences; NaN where it cannot be estimated.
    slope : float
        Log odds per unit of signed coherence, common to both conditions.
    log_odds : float
        Change of the log odds of the choice by stimulation, at any coherence.
    trials : int
    beyond : bool
        Whether the shift is larger than any tested coherence, so that nothing shows how large. `shift` is then that
        coherence, with its sign: a lower bound of its size.
    """

    shift: float
    interval: tuple[float, float]
    slope: float
    log_odds: float
    trials: int
    beyond: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the shift ready for JSON, None for what could not be estimated.

        Returns
        -------
        dict of str to object
            The attributes by name, in their units.
        """
        return {
            "shift": plain(self.shift),
            "interval": plain_interval(self.interval),
            "slope": self.slope,
            "log_odds": self.log_odds,
            "trials": self.trials,
            "beyond": self.beyond,
        }


def choice_shift(
    signed_coherence: ArrayLike,
    control: ArrayLike,
    stimulated: ArrayLike,
    *,
    rng: np.random.Generator,
    bootstrap: int = 200,
    confidence: float = 0.95,
) -> ChoiceShift:
    """Measure how far stimulation shifts choices, in units of coherence.

    Choices follow ``logit P = a + slope * coherence + b * stimulated``, by maximum likelihood with a ridge that is too weak
    to matter unless choices are separable. The shift is b / slope (Salzman, Britten & Newsome 1990, Nature 346: 174-177).

    Parameters
    ----------
    signed_coherence : (trial,)
        Fractions in [-1, 1], positive for motion towards the choice that is counted.
    control, stimulated : (trial,) bool
        Whether that choice was made in the same trial without and with stimulation.
    rng : numpy.random.Generator
        Draws the resamples, of trials with both of their choices.
    bootstrap : int
        Number of resamples; 0 for no interval.
    confidence : float
        Coverage of the interval, between 0 and 1.

    Returns
    -------
    ChoiceShift

    Raises
    ------
    InputError
        If the lengths differ, a coherence is not a fraction, or choices are not boolean.
    """
    signed = coherences("signed_coherence", signed_coherence, signed=True)
    first = flags("control", control, len(signed), "signed_coherence")
    second = flags("stimulated", stimulated, len(signed), "signed_coherence")
    resamples, coverage = count("bootstrap", bootstrap, 0), open_fraction("confidence", confidence)
    levels, level = distinct(signed)
    most = float(np.abs(levels).max(initial=0))
    slope, effect = _fitted(levels, level, first, second)
    if not slope > 0:
        return ChoiceShift(np.nan, (np.nan, np.nan), slope, effect, len(signed))
    drawn = []
    for _ in range(resamples):
        rows = rng.integers(0, len(signed), len(signed))
        each, change = _fitted(levels, level[rows], first[rows], second[rows])
        if each > 0:
            drawn.append(change / each)
    known = resamples > 0 and len(drawn) >= 0.9 * resamples
    ends = np.quantile(drawn, [0.5 - coverage / 2, 0.5 + coverage / 2]) if known else (np.nan, np.nan)
    low, high = np.clip(ends, -most, most).tolist()
    shift = effect / slope
    return ChoiceShift(
        float(np.clip(shift, -most, most)), (low, high), slope, effect, len(signed), beyond=bool(abs(shift) > most)
    )


def _fitted(levels: Floats, level: Any, control: Any, stimulated: Any) -> tuple[float, float]:
    """Slope on coherence, and effect of stimulation, both in log odds."""
    size = len(levels)
    scale = float(np.abs(levels).max()) or 1.0
    yes = np.stack([np.bincount(level[choice], minlength=size) for choice in (control, stimulated)])
    no = np.bincount(level, minlength=size) - yes
    if not yes.any() or not no.any() or scale == 0:
        return 0.0, 0.0
    design = np.array([[coherence / scale, state] for state in (0.0, 1.0) for coherence in levels])
    model = LogisticRegression(C=_WEAK, tol=1e-6, max_iter=1000)
    model.fit(np.tile(design, (2, 1)), np.repeat([1, 0], 2 * size), np.concatenate([yes.ravel(), no.ravel()]))
    return float(model.coef_[0, 0] / scale), float(model.coef_[0, 1])


def paired_change(
    before: ArrayLike,
    after: ArrayLike,
    *,
    rng: np.random.Generator,
    bootstrap: int = 1000,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Compare a yes-or-no outcome of the same trials before and after a manipulation.

    Parameters
    ----------
    before, after : (trial,) bool
        Such as whether each choice was right.
    rng : numpy.random.Generator
        Draws the resamples of the trials.
    bootstrap : int
        Number of resamples.
    confidence : float
        Coverage of the interval, between 0 and 1.

    Returns
    -------
    dict
        {"trials", "before", "after", "change", "interval": [low, high]}: fractions, and percentile bootstrap of the change,
        ready for JSON. The interval of a single trial is None.

    Raises
    ------
    InputError
        If the lengths differ, or an outcome is not boolean.
    """
    size = np.size(before)
    first, second = flags("before", before, size, "before"), flags("after", after, size, "before")
    resamples, coverage = count("bootstrap", bootstrap, 1), open_fraction("confidence", confidence)
    if not size:
        raise InputError("before: has no trials; give one or more")
    difference = second.astype(np.float64) - first
    # a sum of resampled differences of -1, 0 and 1 is that of multinomial counts
    shares = np.array([(difference == value).mean() for value in (-1, 0, 1)])
    counts = rng.multinomial(size, shares, resamples)
    ends = np.quantile((counts[:, 2] - counts[:, 0]) / size, [0.5 - coverage / 2, 0.5 + coverage / 2])
    return {
        "trials": size,
        "before": float(first.mean()),
        "after": float(second.mean()),
        "change": float(difference.mean()),
        "interval": ends.tolist() if size > 1 else None,
    }
