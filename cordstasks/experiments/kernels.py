"""When evidence counts: psychophysical kernels of a model, by reverse correlation of its choices with motion energy."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordstasks import analysis
from cordstasks.analysis.psychophysics.motion_energy import motion_energy
from cordstasks.errors import InputError
from cordstasks.runs.loading import TrainedNetworks, TrainedRun, load_run
from cordstasks.stimuli import Display, Movie
from cordstasks.tasks.visual.random_dots import RandomDotsTask
from cordstasks.utils.arguments import seed_of, whole
from cordstasks.utils.files import write_json
from cordstasks.utils.folders import results_folder

__all__ = ["motion_kernel"]

STREAM = 7  # of the seed, so that the trials are none of those that a run of the same seed has


def motion_kernel(
    folder: str | os.PathLike[str] | TrainedRun | TrainedNetworks,
    *,
    trials: int = 400,
    seed: int = 0,
    shuffles: int = 1000,
    out: str | os.PathLike[str] | None = None,
    verbose: bool = False,
) -> dict[str, Any]:
    """Correlate a model's choices with the motion energy of dots that move with a coherence of 0.

    Parameters
    ----------
    folder : path-like or TrainedRun
        A run of random-dot motion with two opposite directions.
    trials : int
        New trials, all with a coherence of 0.
    seed : int
        Of the trials and the shuffles.
    shuffles : int
        How often choices are shuffled over trials, for the interval.
    out : path-like, optional
        Folder for ``summary.json`` and ``kernel.png``; nothing is written without it.
    verbose : bool
        Print what a command prints.

    Returns
    -------
    dict
        What ``summary.json`` holds: ``"times"`` in ms from the onset of motion, and what
        `cordstasks.analysis.psychophysics.PsychophysicalKernel` has.

    Raises
    ------
    InputError
        If there is no such run, it is of another task, or the model makes the same choice in all trials.

    Notes
    -----
    The motion energy comes from the pixels, see `cordstasks.analysis.psychophysics.motion_energy`. Its filters answer with
    a delay of about 50 ms. If motion lasts differently long, only the time that all trials share is used.
    """
    trials, seed, shuffles = whole("trials", trials, least=4), seed_of(seed), whole("shuffles", shuffles)
    run = load_run(folder) if isinstance(folder, str | os.PathLike) else folder
    task = run.task
    fits = isinstance(task, RandomDotsTask) and len(task.directions) == 2 and task.for_training().paired
    if not isinstance(run, TrainedRun) or not isinstance(task, RandomDotsTask) or not fits:
        raise InputError(
            f"folder={str(run.path)!r}: is a run of task {task.id}; motion kernels are of task rdm with two opposite "
            "directions, give such a run"
        )
    target = None if out is None else results_folder(out, "out")
    # pairs of trials would have opposite evidence, and would not be independent as the shuffles take them to be
    task = replace(task, paired=False)
    drawn = int(np.random.SeedSequence([seed, STREAM]).generate_state(1)[0])
    batch = task.sample(trials, seed=drawn, dt=run.settings.dt, coherence=0.0)
    seen = run.behaviour(batch)
    if len(np.unique(seen.chosen)) < 2:
        raise InputError(
            f"folder={str(run.path)!r}: the model makes the same choice in all {trials} trials; give more trials, or a run "
            "that was trained for longer"
        )
    motion = batch.periods["motion"]
    length = float((motion[:, 1] - motion[:, 0]).min())
    pairs = zip(batch.movies, motion[:, 0], strict=True)
    energy = np.stack([_energy(movie, onset, length, task.display, task.directions[0]) for movie, onset in pairs])
    found = analysis.psychophysics.psychophysical_kernel(
        energy, seen.chosen == 1, rng=np.random.default_rng(seed), shuffles=shuffles
    )
    times = _clock(length, task.display)
    summary = {
        "run": str(run.path),
        "direction": task.directions[0],
        "seed": seed,
        "shuffles": shuffles,
        "times": times.tolist(),
        **found.as_dict(),
    }
    if target is not None:
        write_json(target / "summary.json", summary)
        analysis.figures.save(analysis.figures.kernel(found, times), target / "kernel.png")
    if verbose:
        print("\n".join(lines_of(summary)))
    return summary


def lines_of(summary: dict[str, Any]) -> list[str]:
    """What a command prints."""
    outside = [
        f"{time:.0f}"
        for time, value, low, high in zip(summary["times"], summary["kernel"], summary["low"], summary["high"], strict=True)
        if not low <= value <= high
    ]
    at = f", at {', '.join(outside)} ms" if outside else ""
    share = f"{summary['fraction_of_time_outside']:.0%} of the times lie outside the interval of"
    return [
        f"{summary['trials']} trials with a coherence of 0: motion energy before the two choices differs by "
        f"{summary['mean']:+.3f} SD on average (p = {summary['mean_p_value']:.4f})",
        f"{share} {summary['shuffles']} shuffles{at}",
    ]


def _clock(length: float, display: Display) -> NDArray[np.float64]:
    """The onset (time,) of each frame of the motion, in ms."""
    return np.arange(0.0, length - 1e-6, display.frame_ms, dtype=np.float64)


def _energy(movie: Movie, onset: float, length: float, display: Display, direction: float) -> NDArray[np.float64]:
    """Motion energy (time,) for a direction, minus that for the opposite one."""
    clock = onset + _clock(length, display)
    frames = movie.frames[movie.at(np.concatenate([[max(onset - 1.0, 0.0)], clock + 1e-6]))]
    light = frames.mean(3) / 255
    return motion_energy(light, pixels_per_degree=display.pixels_per_degree, frame_ms=display.frame_ms, direction=direction)[
        1:
    ]
