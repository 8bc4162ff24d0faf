"""What trials of a task look like: a contact sheet and an animation, or curves of an abstract task."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError
from cordstasks.tasks.abstract.base import AbstractTask
from cordstasks.tasks.visual.base import Trial, VisualTask
from cordstasks.utils.files import writable_folder, write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

_CELL = 128  # px that a frame takes at least
_LINE = 16  # px that a line of text takes
_STEP_MS = 40
_MARGIN = 4
_WIDEST = 2**16 - 1  # px, of a GIF
MOST_TRIALS = 100
"""Trials that are drawn at most; more of them cannot be seen on one sheet."""


def write_preview(task: VisualTask | AbstractTask, folder: Path, *, trials: int = 6, seed: int = 0) -> list[Path]:
    """Draw trials of a task into a folder.

    Parameters
    ----------
    task : VisualTask or AbstractTask
        Of a visual task, ``ID.png`` has a row for each trial and a column for each period, and ``ID.gif`` shows the trials
        side by side in time. Of an abstract one, ``ID.png`` has the inputs, targets and mask of each trial.
    folder : Path
        Is made if need be.
    trials : int
        How many, from 1 to 100.
    seed : int
        Which trials.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    InputError
        If so many trials cannot be drawn, `seed` is negative, or the folder cannot be written to.
    """
    if not 1 <= trials <= MOST_TRIALS:
        raise InputError(f"trials={trials!r}: draw at least 1 and at most {MOST_TRIALS}")
    if seed < 0:
        raise InputError(f"seed={seed!r}: give a whole number of at least 0")
    place = writable_folder(folder, "folder")
    path = place / f"{task.id}.png"
    if isinstance(task, AbstractTask):
        from cordstasks.analysis import figures  # late: it loads matplotlib

        figures.save(curves(task, trials=trials, seed=seed), path)
        return [path]
    drawn = task.trials(trials, seed=seed)
    images, durations = animation(task, drawn)
    sheet = contact_sheet(task, drawn)
    moving = path.with_suffix(".gif")
    png, gif = io.BytesIO(), io.BytesIO()
    sheet.save(png, format="PNG")
    images[0].save(gif, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=False)
    for target, content in zip((path, moving), (png, gif), strict=True):
        write_bytes(target, content.getbuffer())
    return [path, moving]


def curves(task: AbstractTask, *, trials: int = 6, seed: int = 0) -> Figure:
    """Inputs, targets and mask of trials of an abstract task, each under its conditions and the right action."""
    from cordstasks.analysis import figures

    batch = task.sample(trials, seed=seed)
    titles = []
    for row in range(trials):
        shown = {name: values[row] for name, values in batch.conditions.items() if name != "catch" or values[row]}
        conditions = ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
        titles.append(f"{conditions}: {task.actions[batch.answers[row]]}")
    ends = batch.lengths
    return figures.shown_trials(
        [batch.inputs[row, :end] for row, end in enumerate(ends)],
        [batch.targets[row, :end] for row, end in enumerate(ends)],
        [batch.mask[row, :end] for row, end in enumerate(ends)],
        onsets=[{name: int(batch.steps(name)[row, 0]) for name in batch.periods} for row in range(trials)],
        channels=task.channels,
        dt=batch.dt,
        titles=titles,
        title=task.id,
    )


def contact_sheet(task: VisualTask, trials: Sequence[Trial]) -> Image.Image:
    """A row for each trial, with its conditions above, and the screen in the middle of each of its periods."""
    from PIL import Image, ImageDraw

    names = list(dict.fromkeys(name for trial in trials for name in trial.periods))
    names = [name for name in task.timing if name in names]
    frame = _enlarged(trials[0].movie.rgb([0])[0])
    width, height = frame.shape[1] + _MARGIN, frame.shape[0] + 2 * _LINE + _MARGIN
    sheet = Image.new("RGB", (len(names) * width + _MARGIN, len(trials) * height + _MARGIN), (40, 40, 40))
    pen = ImageDraw.Draw(sheet)
    for row, trial in enumerate(trials):
        top = _MARGIN + row * height
        pen.text((_MARGIN, top), f"{_conditions(trial)}: {task.actions[trial.answer]} (times in ms)", fill="white")
        for column, name in enumerate(names):
            if name not in trial.periods:
                continue
            start, end = trial.periods[name]
            left = _MARGIN + column * width
            pen.text((left, top + _LINE), f"{name} {start:g}-{end:g}", fill=(180, 180, 180))
            shown = _enlarged(trial.movie.rgb([(start + end) / 2])[0])
            sheet.paste(Image.fromarray(shown), (left, top + 2 * _LINE))
    return sheet


def animation(task: VisualTask, trials: Sequence[Trial]) -> tuple[list[Image.Image], list[int]]:
    """Frames of the trials side by side, and how long each is shown, in ms; what does not change is one frame."""
    from PIL import Image, ImageDraw

    ends = [trial.movie.duration_ms for trial in trials]
    widest = max(_enlarged(trial.movie.rgb([0])[0]).shape[1] for trial in trials) + _MARGIN
    if len(trials) * widest > _WIDEST:
        raise InputError(f"trials={len(trials)}: side by side they are too wide; draw at most {_WIDEST // widest}")
    images: list[Image.Image] = []
    durations: list[int] = []
    before: list[tuple[int, str]] = []
    for step in range(int(np.ceil(max(ends) / _STEP_MS))):
        time = step * _STEP_MS
        now = [_now(trial, time) for trial in trials]
        if now == before:
            durations[-1] += _STEP_MS
            continue
        before = now
        frames = [
            _enlarged(trial.movie.rgb([min(time, end - 1e-3)])[0]) // (1 if time < end else 4)
            for trial, end in zip(trials, ends, strict=True)
        ]
        height, width, _ = frames[0].shape
        image = Image.new("RGB", (len(frames) * (width + _MARGIN), height + _LINE), (40, 40, 40))
        pen = ImageDraw.Draw(image)
        for column, (frame, (_, name)) in enumerate(zip(frames, now, strict=True)):
            pen.text((column * (width + _MARGIN), 0), name, fill="white")
            image.paste(Image.fromarray(frame), (column * (width + _MARGIN), _LINE))
        images.append(image)
        durations.append(_STEP_MS)
    return images, durations


def _now(trial: Trial, time: float) -> tuple[int, str]:
    """Which frame a trial shows, and its period; a trial that is over shows its last."""
    if time >= trial.movie.duration_ms:
        return -1, "over"
    inside = [name for name, (start, end) in trial.periods.items() if start <= time + 1e-6 < end]
    return int(trial.movie.at(time)), inside[0] if inside else ""


def _conditions(trial: Trial) -> str:
    values = ((name, f"{value:g}" if isinstance(value, float) else value) for name, value in trial.conditions.items())
    return ", ".join(f"{name} {value}" for name, value in values)


def _enlarged(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = -(-_CELL // len(frame))
    return frame.repeat(scale, axis=0).repeat(scale, axis=1)
