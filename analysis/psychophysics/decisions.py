"""Decisions at a bound: when the evidence for an answer is enough, and how speed is traded for accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from cordstasks.analysis._checks import Booleans, Floats, plain, real_array, same_trials
from cordstasks.analysis.statistics.proportions import wilson_interval
from cordstasks.errors import InputError

__all__ = ["Decisions", "best_bound", "decide", "log_odds", "reward_rate", "speed_accuracy"]

_BOUNDS, _LOWEST = 40, 0.01  # heights that are tried, and the lowest as a fraction of the largest evidence
_ROUNDING = 1e-6  # ms, by which times of steps may differ


@dataclass(frozen=True, eq=False)
class Decisions:
    """The first answer of each trial whose evidence reaches a bound, from `decide`.

    Attributes
    ----------
    option : (trial,) int64
        Index of the answer; -1 in trials in which no evidence reaches the bound.
    time : (trial,)
        Decision time in ms, from when an answer was allowed; NaN in those trials.
    available : (trial,)
        Longest possible decision time in ms: from when an answer was allowed to the trial's end.
    """

    option: NDArray[np.int64]
    time: Floats
    available: Floats

    @property
    def decided(self) -> Booleans:
        """Whether the bound was reached (trial,)."""
        return self.option >= 0


def log_odds(outputs: ArrayLike) -> Floats:
    """Evidence for each answer: the log odds of it against all others.

    Of two answers, it is the difference of their logits.

    Parameters
    ----------
    outputs : (trial, time, option)
        Logits of the answers that compete, two or more; not modified.

    Returns
    -------
    (trial, time, option)
        In nats.

    Raises
    ------
    InputError
        If the shape is another, a value is not finite, or there is one answer only.
    """
    logits = real_array("outputs", outputs, ("trial", "time", "option"))
    options = logits.shape[2]
    if options < 2:
        raise InputError(f"outputs has {options} option; give two or more that compete")
    others = [logsumexp(np.delete(logits, option, axis=2), axis=2) for option in range(options)]
    return np.asarray(logits - np.stack(others, axis=2))


def decide(
    evidence: ArrayLike, bound: float, *, times: ArrayLike, start: ArrayLike, end: ArrayLike, silent: tuple[int, ...] = ()
) -> Decisions:
    """Find the first answer of each trial whose evidence reaches a bound.

    Within a step, the time is interpolated linearly. Evidence that is at the bound when an answer becomes allowed gives a
    decision time of 0.

    Parameters
    ----------
    evidence : (trial, time, option)
        Such as `log_odds`; not modified.
    bound : float
        Height of the bound, the same for all answers, in the evidence's unit.
    times : (time,)
        The end of each step in ms, which is when the evidence has that value.
    start, end : (trial,)
        From when an answer is allowed, and the end of the trial, in ms.
    silent : tuple of int
        Options that are no answer, such as to go on fixating: evidence for them ends no trial.

    Returns
    -------
    Decisions

    Raises
    ------
    InputError
        If lengths differ, values are not finite, or a trial ends before an answer is allowed.
    """
    values = real_array("evidence", evidence, ("trial", "time", "option"))
    clock, first, last = (
        real_array(name, given, (axis,))
        for name, given, axis in (("times", times, "time"), ("start", start, "trial"), ("end", end, "trial"))
    )
    if len(clock) != values.shape[1]:
        raise InputError(f"times has {len(clock)} steps but evidence has {values.shape[1]}; give the end of each step")
    same_trials("start", first, len(values), "evidence")
    same_trials("end", last, len(values), "evidence")
    if (last < first).any():
        trial = int(np.flatnonzero(last < first)[0])
        raise InputError(f"end={last[trial]:g} of trial {trial}: is before start={first[trial]:g} (ms)")
    inside = (clock > first[:, None] + _ROUNDING) & (clock <= last[:, None] + _ROUNDING)
    reached = (values >= bound) & inside[..., None]
    reached[..., list(silent)] = False
    step = reached.any(2).argmax(1)
    decided = reached.any((1, 2))
    rows = np.arange(len(values))
    here = np.where(reached[rows, step], values[rows, step], -np.inf)
    option = np.where(decided, here.argmax(1), -1)
    now, before = values[rows, step, option], values[rows, np.maximum(step - 1, 0), option]
    rising = (step > 0) & (before < bound) & (now > before)
    part = np.where(rising, (bound - before) / np.where(rising, now - before, 1), 0.0)
    length = np.where(step > 0, clock[step] - clock[np.maximum(step - 1, 0)], 0.0)
    time = np.maximum(clock[step] - (1 - part) * length - first, 0.0)
    return Decisions(option.astype(np.int64), np.where(decided, time, np.nan), last - first)


def reward_rate(
    decisions: Decisions,
    answer: ArrayLike,
    *,
    non_decision: float,
    inter_trial: float,
    time_out: float = 0.0,
    reward_from: float = 0.0,
) -> float:
    """Rewards per second, of one for each right answer.

    A trial lasts as long as the decision and the non-decision time; without a decision it lasts as if there were one at its
    end, and is not rewarded. After each comes the time between trials.

    Parameters
    ----------
    decisions : Decisions
    answer : (trial,) int
        Index of the right answer.
    non_decision, inter_trial : float
        In ms.
    time_out : float
        In ms, by which an error, or a trial without a decision, delays the next trial.
    reward_from : float
        In ms from when an answer is allowed: an earlier right answer is rewarded only then.

    Returns
    -------
    float
        Per second.

    Raises
    ------
    InputError
        If there is not one answer for each trial, one is not finite, or all trials together last 0 ms.
    """
    right = _right(decisions, answer)
    lasted = np.where(decisions.decided, decisions.time, decisions.available) + non_decision
    lasted = np.where(right, np.maximum(lasted, reward_from), lasted + time_out) + inter_trial
    if not lasted.sum() > 0:
        raise InputError(
            f"inter_trial={inter_trial:g}: trials that are decided at once, one after the other, have no rate; give a time "
            "above 0 ms"
        )
    return float(right.sum() / lasted.sum() * 1000)


def speed_accuracy(
    evidence: ArrayLike,
    answer: ArrayLike,
    *,
    times: ArrayLike,
    start: ArrayLike,
    end: ArrayLike,
    silent: tuple[int, ...] = (),
    non_decision: float = 0.0,
    inter_trial: float = 1000.0,
    time_out: float = 0.0,
    reward_from: float = 0.0,
    bounds: ArrayLike | None = None,
) -> list[dict[str, Any]]:
    """Accuracy, reaction time and reward rate at each height of the bound.

    Parameters
    ----------
    evidence, times, start, end, silent
        As for `decide`.
    answer : (trial,) int
        Index of the right answer among the options.
    non_decision, inter_trial, time_out, reward_from : float
        In ms, see `reward_rate`.
    bounds : (bound,), optional
        Heights to try; by default 40 of equal ratio, from a hundredth of the largest evidence of any trial up to it.

    Returns
    -------
    list of dict
        Rows {"bound", "decided": fraction of the trials, "accuracy" and "interval" of those, "mean_rt" in ms,
        "reward_rate" per s}, ready for JSON; None where no trial was decided.

    Raises
    ------
    InputError
        As `decide`, or if no evidence is above 0.
    """
    values = real_array("evidence", evidence, ("trial", "time", "option"))
    if bounds is None:
        counted = np.delete(values, list(silent), axis=2)
        if not counted.size or counted.max() <= 0:
            raise InputError("evidence: none is above 0 for any answer; train the network for longer")
        heights = np.geomspace(_LOWEST, 1, _BOUNDS) * float(counted.max())
    else:
        heights = real_array("bounds", bounds, ("bound",))
    rows = []
    for bound in heights.tolist():
        found = decide(values, bound, times=times, start=start, end=end, silent=silent)
        right, decided = int(_right(found, answer).sum()), int(found.decided.sum())
        low, high = wilson_interval(right, decided)
        rate = reward_rate(
            found,
            answer,
            non_decision=non_decision,
            inter_trial=inter_trial,
            time_out=time_out,
            reward_from=reward_from,
        )
        rows.append(
            {
                "bound": bound,
                "decided": decided / len(values),
                "accuracy": right / decided if decided else None,
                "interval": [low, high] if decided else None,
                "mean_rt": plain(found.time[found.decided].mean() + non_decision) if decided else None,
                "reward_rate": rate,
            }
        )
    return rows


def best_bound(rows: list[dict[str, Any]]) -> float:
    """The lowest bound with the largest reward rate, of rows of `speed_accuracy`.

    Parameters
    ----------
    rows : list of dict
        At least one.

    Returns
    -------
    float
        In the unit of the evidence.
    """
    return float(max(rows, key=lambda row: (row["reward_rate"], -row["bound"]))["bound"])


def _right(decisions: Decisions, answer: ArrayLike) -> Booleans:
    meant = real_array("answer", answer, ("trial",))
    same_trials("answer", meant, len(decisions.option), "decisions")
    return np.asarray(decisions.option == meant)
