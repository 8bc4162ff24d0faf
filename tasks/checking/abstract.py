"""Trying an abstract task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordstasks.tasks.abstract.base import AbstractBatch, AbstractTask
from cordstasks.tasks.batch import FIXATE
from cordstasks.tasks.checking.common import (
    Fault,
    call,
    check_actions,
    check_design,
    check_timing,
    is_number,
    is_whole,
    stated,
)
from cordstasks.tasks.timing import ends_of
from cordstasks.tasks.visual.base import Condition

_RESERVED = ("trials", "seed", "dt", "catch", "ground_truth")  # arguments that a condition's name would collide with
_ROWS = 200  # of a design that are tried at most
_VALUES = 2_000_000  # inputs that are drawn at most
_DT = 20.0  # ms, the step that is tried, or the shortest period if that is shorter
_MEASURES = ("accuracy", "R2")


def check(task: AbstractTask, *, deadline: float) -> None:
    """Raise a `Fault` unless a task, and each stage of its curriculum, is a possible one.

    Parameters
    ----------
    task : AbstractTask
    deadline : float
        Time of `time.perf_counter` after which no further stage is tried.
    """
    actions = check_actions(task)
    _check_declarations(task)
    with np.errstate(all="ignore"):  # what is not finite is a fault
        _check_variants(task, actions, deadline=deadline)


def _check_variants(task: AbstractTask, actions: tuple[str, ...], *, deadline: float) -> None:
    """Raise a fault unless the task and each stage of its curriculum can be learned."""
    _check_variant("", task, actions)
    stages = call("curriculum()", task.curriculum)
    if not isinstance(stages, (tuple, list)) or not stages or not all(isinstance(stage, AbstractTask) for stage in stages):
        raise Fault(f"curriculum()={stages!r:.60}: give a tuple of tasks, such as (replace(self, ...), self)")
    if stages[-1] != task:
        raise Fault("curriculum(): its last stage is another task; end with self")
    for number, stage in enumerate(stages[:-1]):
        if perf_counter() > deadline:
            return
        if (stage.channels, stage.outputs) != (task.channels, task.outputs):
            raise Fault(f"curriculum(): stage {number} has other channels or outputs than the task; keep them the same")
        _check_variant(f"curriculum()[{number}].", stage, actions)


def _check_declarations(task: AbstractTask) -> None:
    """Raise a fault unless channels, outputs and score are as `AbstractTask` says."""
    channels = task.channels
    named = isinstance(channels, (tuple, list)) and channels and all(isinstance(name, str) for name in channels)
    if not named or len(set(channels)) < len(channels):
        raise Fault(f"channels={channels!r}: give a tuple of different names, one for each input channel")
    if not is_whole(task.sensory, 0) or task.sensory > len(channels):
        raise Fault(f"sensory={task.sensory!r}: give the number of channels that carry noise, from 0 to {len(channels)}")
    if not is_whole(task.outputs, 1):
        raise Fault(f"outputs={task.outputs!r}: give a whole number of at least 1")
    if task.measure not in _MEASURES:
        raise Fault(f"measure={task.measure!r}: give 'accuracy' or 'R2'")
    if task.measure == "accuracy" and task.outputs > 1:
        raise Fault(f"measure='accuracy': is of one output, and outputs={task.outputs}; give 'R2'")
    if not is_number(task.criterion) or not 0 < task.criterion < 1:
        raise Fault(f"criterion={task.criterion!r}: give the score that counts as learned, above 0 and below 1")
    if not is_number(task.fixation_weight) or task.fixation_weight < 0:
        raise Fault(f"fixation_weight={task.fixation_weight!r}: give a number of at least 0")


def _check_variant(prefix: str, task: AbstractTask, actions: tuple[str, ...]) -> None:
    """Raise a fault unless a task's periods, design and trials are possible ones."""
    check_timing(task, positive=True)
    reserved = (*_RESERVED, *task.timing)
    rows = check_design(f"{prefix}design()", call(f"{prefix}design()", task.design), reserved=reserved, kinds_of=(float,))
    _check_draw(prefix, task, set(rows[0]))
    dt = min(_DT, *(ends_of(duration)[0] for duration in task.timing.values()))
    most = _VALUES // max(1, len(task.channels) * task.steps(dt))
    rows = rows[: max(2, min(_ROWS, most))]
    conditions: dict[str, Any] = {name: np.array([row[name] for row in rows], float) for name in rows[0]}
    _check_trials(prefix, task, rows, conditions, actions, dt)


def _check_draw(prefix: str, task: AbstractTask, names: set[str]) -> None:
    """Raise a fault unless drawn conditions are those of the design, one per trial, and follow from the generator."""
    what, trials = f"{prefix}draw(5, rng)", 5
    drawn = call(what, task.draw, trials, np.random.default_rng(0))
    if not isinstance(drawn, Mapping) or set(drawn) != names:
        has = sorted(drawn) if isinstance(drawn, Mapping) else f"a {type(drawn).__name__}"
        raise Fault(f"{what}: gives {has}, and design() has the conditions {sorted(names)}; give {{condition: (trial,)}}")
    for name, values in drawn.items():
        if np.shape(values) != (trials,) or np.asarray(values).dtype.kind not in "fiub" or not np.isfinite(values).all():
            raise Fault(f"{what}: has {name}={values!r:.60}; give an array with one finite number per trial")
        if not isinstance(values, np.ndarray):
            raise Fault(f"{what}: has {name} as a {type(values).__name__}; give an array")
    again = call(what, task.draw, trials, np.random.default_rng(0))
    if any(not np.array_equal(values, again.get(name)) for name, values in drawn.items()):
        raise Fault(f"{what}: two draws of one random generator differ; draw all that is random from `rng`")


def _check_trials(
    prefix: str,
    task: AbstractTask,
    rows: Sequence[Mapping[str, Condition]],
    conditions: Mapping[str, NDArray[Any]],
    actions: tuple[str, ...],
    dt: float,
) -> None:
    """Raise a fault unless trials of a design's rows are possible ones, and can be told apart where they should be."""
    own = {name: values.astype(task.draw(1, np.random.default_rng(0))[name].dtype) for name, values in conditions.items()}
    count = len(rows)
    required = call(f"{prefix}target_outputs(conditions)", task.target_outputs, dict(own))
    if not isinstance(required, np.ndarray) or required.shape != (count, task.outputs) or required.dtype.kind != "f":
        has = f"{required.dtype} {required.shape}" if isinstance(required, np.ndarray) else f"a {type(required).__name__}"
        raise Fault(
            f"{prefix}target_outputs(conditions): gives {has} for {count} trials; give floats of shape "
            f"({count}, {task.outputs}): (trial, output)"
        )
    if not np.isfinite(required).all():
        row = int(np.flatnonzero(~np.isfinite(required).all(1))[0])
        raise Fault(f"{prefix}target_outputs({stated(rows[row])}): gives {required[row].tolist()}; give finite numbers")
    _check_scores(prefix, task, rows, required)
    answers = call(f"{prefix}answers(conditions)", task.answers, dict(own))
    if not isinstance(answers, np.ndarray) or answers.shape != (count,) or answers.dtype.kind not in "iu":
        raise Fault(f"{prefix}answers(conditions)={answers!r:.60}: give an array of whole numbers (trial,)")
    wrong = np.flatnonzero((answers < FIXATE) | (answers >= len(actions)))
    if len(wrong):
        known = ", ".join(f"{number} ({name})" for number, name in enumerate(actions))
        raise Fault(f"{prefix}answers({stated(rows[wrong[0]])}): gives {answers[wrong[0]]}; give one of {known}")
    _check_batch(prefix, task, rows, conditions, required, dt)


def _check_scores(
    prefix: str, task: AbstractTask, rows: Sequence[Mapping[str, Condition]], required: NDArray[np.float32]
) -> None:
    """Raise a fault unless the score of a network can tell it from chance."""
    what = f"{prefix}target_outputs"
    if task.measure == "R2":
        if not np.ptp(required, axis=0).any():
            raise Fault(f"{what}(conditions): is {required[0].tolist()} in every row of design(), so that R2 is not defined")
        return
    zero = np.flatnonzero(required[:, 0] == 0)
    if len(zero):
        raise Fault(
            f"{what}({stated(rows[zero[0]])}): gives 0, which has no sign, and accuracy compares signs; give 1 or -1, or "
            "measure = 'R2'"
        )
    if len(set(np.sign(required[:, 0]))) < 2:
        raise Fault(f"{what}(conditions): has one sign in every row of design(), so that accuracy tells nothing")


def _check_batch(
    prefix: str,
    task: AbstractTask,
    rows: Sequence[Mapping[str, Condition]],
    conditions: Mapping[str, NDArray[Any]],
    required: NDArray[np.float32],
    dt: float,
) -> None:
    what = f"{prefix}sample({len(rows)}, seed=0, **design)"
    quiet = call(f"{prefix}noise=0", replace, task, noise=0.0, catch=0.0)
    # the shortest of every period, so that trials differ by their conditions alone
    short = {name: ends_of(d)[0] for name, d in task.timing.items() if isinstance(d, tuple)}
    batch, again = (_sampled(what, quiet, len(rows), dt, {**conditions, **short}) for _ in range(2))
    shape = batch.inputs.shape
    channels, outputs = len(task.channels), task.outputs
    if len(shape) != 3 or (shape[0], shape[2]) != (len(rows), channels) or batch.targets.shape != (*shape[:2], outputs):
        raise Fault(
            f"{what}: has inputs {shape} and targets {batch.targets.shape}; give (trial, time, {channels}) and "
            f"(trial, time, {outputs})"
        )
    for name, array in (("inputs", batch.inputs), ("targets", batch.targets), ("mask", batch.mask)):
        if not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array))[0][0])
            if name == "inputs":
                raise Fault(f"{prefix}show({stated(rows[row])}): inputs are not finite; check what it adds")
            raise Fault(f"{what}: {name} are not finite in trial {row}; give finite numbers")
    if batch.mask.shape != shape[:2] or (batch.mask < 0).any() or not (batch.mask * batch.response_mask).any(1).all():
        raise Fault(f"{what}: mask must be (trial, time), at least 0, and above 0 in a step of each trial's response")
    if any(not np.array_equal(getattr(batch, name), getattr(again, name)) for name in ("inputs", "targets", "answers")):
        raise Fault(f"{prefix}show(inputs, conditions, schedule): two batches of one seed differ; draw nothing at random")
    if not batch.inputs.any():
        raise Fault(f"{prefix}show(inputs, conditions, schedule): shows nothing in any trial; add to `inputs` in place")
    _check_differences(prefix, rows, batch, required)


def _sampled(what: str, task: AbstractTask, trials: int, dt: float, fixed: Mapping[str, Any]) -> AbstractBatch:
    batch = call(what, task.sample, trials, seed=0, dt=dt, **fixed)
    if not isinstance(batch, AbstractBatch):
        raise Fault(f"{what}: gives {type(batch).__name__}; return an AbstractBatch")
    return batch


def _check_differences(
    prefix: str, rows: Sequence[Mapping[str, Condition]], batch: AbstractBatch, required: NDArray[np.float32]
) -> None:
    """Raise a fault where trials that show the same have different targets: no network could tell which."""
    known: dict[bytes, int] = {}
    for row in range(len(rows)):
        other = known.setdefault(batch.inputs[row].tobytes(), row)
        if not np.allclose(required[row], required[other], rtol=1e-5, atol=1e-6):
            raise Fault(
                f"{prefix}show(inputs, conditions, schedule): shows the same for {stated(rows[other])} and for "
                f"{stated(rows[row])}, whose targets differ: {required[other].tolist()} and {required[row].tolist()}"
            )
