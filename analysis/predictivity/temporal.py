"""Predictivity over time: bin by bin, spanning time, at the best lag, and of every moment from every moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis._checks import Floats, real_array
from cordstasks.analysis.predictivity.reduction import reduced
from cordstasks.analysis.predictivity.regression import Regression, Training
from cordstasks.analysis.predictivity.scores import over_splits, unit_correlations
from cordstasks.analysis.predictivity.splits import LEAST, Rows, Split, stimulus_splits
from cordstasks.errors import InputError

INNER = 0.2  # fraction of the training stimuli on which a lag is chosen, or LEAST of them if that is more
LEAST_FOR_LAGS = 2 * LEAST  # training stimuli
Progress = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class TemporalPredictivity:
    """How well activity predicts a recording on stimuli held out; each score is the mean over splits of a correlation.

    Attributes
    ----------
    per_bin : (time bin, unit)
        One regression for each time bin; correlations are over stimuli.
    spanning : (unit,)
        One regression for all time bins, with stimulus x bin as samples; correlations are over these.
    lags : (split,)
        The lag that each split chose on its training stimuli, in bins: how much later the recording is than the activity.
    lag_scores : (split, lag)
        What the choice was made by: the median over units of the spanning score, on part of the training stimuli.
    held : float
        Fraction of the features' variance that the dimensions hold from which spanning regressions start.
    """

    per_bin: Floats
    spanning: Floats
    lags: NDArray[np.int64]
    lag_scores: Floats
    held: float


class Problem:
    """Checked features and responses, on a common grid of time bins.

    Parameters
    ----------
    features : (stimulus, model time, feature)
    recorded : (stimulus, time bin, unit)
    lead : int
        Number of model times before the first time bin.
    """

    def __init__(self, features: ArrayLike, recorded: ArrayLike, lead: int = 0) -> None:
        self.features = real_array("features", features, ("stimulus", "model time", "feature"))
        self.recorded = real_array("recorded", recorded, ("stimulus", "time bin", "unit"))
        if len(self.features) != len(self.recorded):
            raise InputError(
                f"features has {len(self.features)} stimuli but recorded {len(self.recorded)}; give the same stimuli, in "
                "one order"
            )
        self.lead = lead

    @property
    def bins(self) -> int:
        """Time bins of the recording."""
        return int(self.recorded.shape[1])

    def check_lag(self, lag: int) -> None:
        """Refuse a lag for which the features lack a time.

        Parameters
        ----------
        lag : int
            How many bins later the recording is than the activity.

        Raises
        ------
        InputError
            If a time bin needs a model time before the first or after the last.
        """
        first = self.lead - lag
        if first < 0 or first + self.bins > self.features.shape[1]:
            raise InputError(
                f"lags: {lag} needs the model times {first} to {first + self.bins - 1}, of {self.features.shape[1]}; give "
                "features of more times, or smaller lags"
            )

    def aligned(self, lag: int) -> Floats:
        """Features (stimulus, time bin, feature) that a recording later by `lag` bins is predicted from.

        Parameters
        ----------
        lag : int
            One that `check_lag` accepts.

        Returns
        -------
        (stimulus, time bin, feature)
            A view of `features`, with one model time for each time bin.
        """
        first = self.lead - lag
        return self.features[:, first : first + self.bins]


def _spread(array: Floats, rows: Rows) -> Floats:
    """Samples (stimulus x bin, ...) of some stimuli."""
    return array[rows].reshape(-1, array.shape[2])


def spanning_scores(training: Training, x: Floats, y: Floats, split: Split, regression: Regression) -> Floats:
    """Correlations (unit,) over the stimuli and bins to predict, from a regression over those to fit on.

    Parameters
    ----------
    training : Training
        Of the samples (stimulus x bin) of the stimuli to fit on.
    x : (stimulus, time bin, feature)
        Features of all stimuli, as `Problem.aligned` gives them.
    y : (stimulus, time bin, unit)
        Responses to all stimuli.
    split : Split
        Which stimuli to fit on, and which to predict.
    regression : Regression

    Returns
    -------
    (unit,)
        See `unit_correlations`; NaN for units whose responses do not vary.
    """
    coefficients, intercepts = training.fit(_spread(y, split.train), regression)
    return unit_correlations(_spread(y, split.test), _spread(x, split.test) @ coefficients + intercepts)


def check_training(stimuli: int, bins: int, lags: int, regression: Regression) -> None:
    """Refuse so few stimuli to fit on that a regression has too many components, or that no lag can be chosen.

    Parameters
    ----------
    stimuli : int
        Number of stimuli to fit on.
    bins : int
        Number of time bins.
    lags : int
        Number of lags to choose from.
    regression : Regression

    Raises
    ------
    InputError
        If there are fewer than six stimuli for more than one lag, or as many components as samples or more.
    """
    regression.check(stimuli)
    if lags == 1:
        return
    if stimuli < LEAST_FOR_LAGS:
        raise InputError(
            f"lags: one of {lags} is chosen on the stimuli to fit on, which are {stimuli}, but {LEAST_FOR_LAGS} are needed; "
            "give more stimuli, or a single lag"
        )
    tested = int(np.ceil(_inner(stimuli) * stimuli - 1e-9))
    regression.check(min(stimuli, (stimuli - tested) * bins))


def _inner(stimuli: int) -> float:
    """The fraction of training stimuli on which lags are compared."""
    return max(INNER, LEAST / stimuli)


def _chosen(
    problem: Problem, train: Rows, lags: Sequence[int], regression: Regression, rng: np.random.Generator
) -> tuple[int, Floats]:
    """The lag that predicts best within the training stimuli, and the score of each."""
    if len(lags) == 1:
        return lags[0], np.full(1, np.nan)
    (inner,) = stimulus_splits(len(train), splits=1, held_out=_inner(len(train)), rng=rng)
    split = Split(train[inner.train], train[inner.test])
    scores = np.empty(len(lags))
    for place, lag in enumerate(lags):
        x = problem.aligned(lag)
        units = spanning_scores(Training(_spread(x, split.train)), x, problem.recorded, split, regression)
        defined = units[np.isfinite(units)]
        scores[place] = float(np.median(defined)) if len(defined) else -1.0
    return lags[int(np.argmax(scores))], scores


def temporal_predictivity(
    features: ArrayLike,
    recorded: ArrayLike,
    splits: Sequence[Split],
    *,
    regression: Regression | None = None,
    lead: int = 0,
    lags: Sequence[int] = (0,),
    dimensions: int | None = 500,
    rng: int | np.random.Generator = 0,
    progress: Progress | None = None,
) -> TemporalPredictivity:
    """Predict a recording's time course from activity of a model, on stimuli held out.

    Parameters
    ----------
    features : (stimulus, model time, feature)
        Activity in bins of the recording's width; not modified.
    recorded : (stimulus, time bin, unit)
        Mean responses over presentations.
    splits : sequence of Split
        From `stimulus_splits`.
    regression : Regression, optional
        Default: partial least squares with 25 components.
    lead : int
        How many of the model times precede the recording's first bin.
    lags : sequence of int
        Candidates for how many bins later the recording is than the activity. Each split chooses one on its training
        stimuli: a regression spanning time is fitted on 80 % of these and tested on the rest, three or more.
    dimensions : int, optional
        Regressions spanning time start from at most so many principal components of the features over all stimuli and times
        (None: all). Those of single bins always start from all features.
    rng : int or numpy.random.Generator
        Seed, or where to draw the parts from on which lags are chosen.
    progress : callable, optional
        Called with 1 after each split.

    Returns
    -------
    TemporalPredictivity

    Raises
    ------
    InputError
        If arrays do not fit, a lag needs times that features lack, there are fewer training stimuli than components, or too
        few to choose a lag.
    """
    chosen = regression or Regression()
    problem = Problem(features, recorded, lead)
    candidates = checked_lags(problem, lags)
    check_training(len(splits[0].train), problem.bins, len(candidates), chosen)
    small, held = reduced(problem.features, dimensions=dimensions)
    spanning_problem = Problem(small, problem.recorded, lead)
    generator = np.random.default_rng(rng)
    per_time = [reduced(problem.features[:, time])[0] for time in range(problem.features.shape[1])]
    per_bin, spanning, found, lag_scores = [], [], [], []
    for split in splits:
        lag, scores = _chosen(spanning_problem, split.train, candidates, chosen, generator)
        x = spanning_problem.aligned(lag)
        spanning.append(spanning_scores(Training(_spread(x, split.train)), x, problem.recorded, split, chosen))
        per_bin.append(
            np.stack([_at(per_time[b + lead - lag], problem.recorded[:, b], split, chosen) for b in range(problem.bins)])
        )
        found.append(lag)
        lag_scores.append(scores)
        if progress:
            progress(1)
    return TemporalPredictivity(
        over_splits(np.stack(per_bin)),
        over_splits(np.stack(spanning)),
        np.array(found, np.int64),
        np.stack(lag_scores),
        held,
    )


def checked_lags(problem: Problem, lags: Sequence[int]) -> list[int]:
    """Lags as a list, each once and with all its times.

    Parameters
    ----------
    problem : Problem
    lags : sequence of int
        In bins.

    Returns
    -------
    list of int
        In the order given.

    Raises
    ------
    InputError
        If there are none, one is given twice, or one needs times that the features lack.
    """
    given = [int(lag) for lag in lags]
    if not given or len(set(given)) < len(given):
        raise InputError(f"lags={given}: give one or more whole numbers, each once")
    for lag in given:
        problem.check_lag(lag)
    return given


def _at(x: Floats, y: Floats, split: Split, regression: Regression) -> Floats:
    """Correlations (unit,) of one time bin."""
    coefficients, intercepts = Training(x[split.train]).fit(y[split.train], regression)
    return unit_correlations(y[split.test], x[split.test] @ coefficients + intercepts)


def time_map(
    features: ArrayLike,
    recorded: ArrayLike,
    splits: Sequence[Split],
    *,
    regression: Regression | None = None,
    progress: Progress | None = None,
) -> Floats:
    """Predict every time bin of a recording from every time of a model.

    Parameters
    ----------
    features : (stimulus, model time, feature)
        Not modified.
    recorded : (stimulus, time bin, unit)
        Mean responses over presentations.
    splits : sequence of Split
        From `stimulus_splits`.
    regression : Regression, optional
        Default: partial least squares with 25 components. Ridge costs less, since all time bins share one decomposition.
    progress : callable, optional
        Called with 1 after each model time.

    Returns
    -------
    (model time, time bin, unit)
        Mean over splits of correlations over the stimuli held out.

    Raises
    ------
    InputError
        If arrays do not fit, or there are fewer training stimuli than components.
    """
    chosen = regression or Regression()
    problem = Problem(features, recorded)
    chosen.check(len(splits[0].train))
    _, bins, units = problem.recorded.shape
    rows = []
    for time in range(problem.features.shape[1]):
        x, _ = reduced(problem.features[:, time])
        scores = np.empty((len(splits), bins, units))
        for place, split in enumerate(splits):
            training = Training(x[split.train])
            if chosen.method == "ridge":  # units are independent of each other, so that all bins are fitted at once
                fitted = training.fit(problem.recorded[split.train].reshape(len(split.train), -1), chosen)
                predicted = (x[split.test] @ fitted[0] + fitted[1]).reshape(-1, bins, units)
                scores[place] = unit_correlations(problem.recorded[split.test], predicted)
                continue
            for b in range(bins):
                coefficients, intercepts = training.fit(problem.recorded[split.train, b], chosen)
                scores[place, b] = unit_correlations(
                    problem.recorded[split.test, b], x[split.test] @ coefficients + intercepts
                )
        rows.append(over_splits(scores))
        if progress:
            progress(1)
    return np.stack(rows)
