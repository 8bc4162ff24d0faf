"""What a task is, in a few lines of text: timing, actions, conditions and parameters."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import numpy as np

from cordstasks.tasks.abstract.base import AbstractTask
from cordstasks.tasks.timing import Duration
from cordstasks.tasks.visual.base import Condition, VisualTask

_SHOWN = 8  # values of a condition, or of a parameter, that are listed
_WIDTH = 110  # columns


def described(task: VisualTask | AbstractTask, *, parameters: bool = False) -> str:
    """A task's name and summary, and a line each for its timing, actions and conditions.

    Parameters
    ----------
    task : VisualTask or AbstractTask
    parameters : bool
        Whether to add every parameter with its value, as ``--set`` takes them.

    Returns
    -------
    str
        Several lines.
    """
    summary = (type(task).__doc__ or "").strip().partition("\n")[0]
    rows = [("timing", f"{_timing(task.timing)} (ms)")]
    rows += _abstract_rows(task) if isinstance(task, AbstractTask) else _visual_rows(task)
    lines = [f"{task.id}: {summary}", *(f"  {label:<10} {text}" for label, text in rows)]
    if parameters:
        given = ", ".join(f"{name}={_parameter(getattr(task, name))}" for name in signature(type(task)).parameters)
        indent = " " * 13
        lines.append(
            textwrap.fill(f"  {'parameters':<10} {given}", _WIDTH, subsequent_indent=indent, break_on_hyphens=False)
        )
    return "\n".join(lines)


def _visual_rows(task: VisualTask) -> list[tuple[str, str]]:
    rows = [("actions", ", ".join(task.actions))]
    design, training = task.design(), task.for_training().design()
    for condition in design[0]:
        text = _values([row[condition] for row in design])
        trained = _values([row[condition] for row in training])
        rows.append((condition, text if trained == text else f"{text}; trained on {trained}"))
    return [*rows, ("block", f"{len(design)} trials")]


def _abstract_rows(task: AbstractTask) -> list[tuple[str, str]]:
    first = "each" if task.sensory == len(task.channels) else f"the first {task.sensory}"
    rows = [
        ("channels", f"{', '.join(task.channels)}; noise {task.noise:g} on {first}"),
        ("outputs", f"{task.outputs}, scored by {task.measure} and learned at {task.criterion:g}"),
        ("actions", ", ".join(task.actions)),
    ]
    for period in task.timing:
        stages = list(dict.fromkeys(_duration(stage.timing[period]) for stage in task.curriculum()))
        if len(stages) > 1:
            rows.append(("curriculum", f"{period} {', then '.join(stages)}"))
    design, drawn = task.design(), task.draw(100, np.random.default_rng(0))
    for condition in design[0]:
        values = [row[condition] for row in design]
        beyond = "" if np.isin(drawn[condition], values).all() else ", and any between"
        rows.append((condition, _values(values) + beyond))
    return [*rows, ("design", f"{len(design)} combinations; each trial draws one at random")]


def _timing(timing: Mapping[str, Duration]) -> str:
    return ", ".join(f"{period} {_duration(duration)}" for period, duration in timing.items())


def _duration(duration: Duration) -> str:
    return f"{duration[0]:g}-{duration[1]:g}" if isinstance(duration, (tuple, list)) else f"{duration:g}"


def _values(values: Sequence[Condition]) -> str:
    """Different values in their order, all of them or, if they are many, some."""
    texts = list(dict.fromkeys(value if isinstance(value, str) else f"{value:g}" for value in values))
    if len(texts) <= _SHOWN:
        return ", ".join(texts)
    if any(isinstance(value, str) for value in values):
        return f"{', '.join(texts[:3])} and {len(texts) - 3} more"
    texts = [f"{value:g}" for value in sorted({float(value) for value in values})]
    return f"{texts[0]}, {texts[1]}, ..., {texts[-1]} ({len(texts)} values)"


def _parameter(value: Any) -> str:
    """A parameter's value as ``--set`` takes it, where that can be."""
    if isinstance(value, (tuple, list)):
        texts = [_parameter(item) for item in value]
        return f"[{','.join(texts if len(texts) <= _SHOWN else [*texts[:2], '...', texts[-1]])}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)
