"""When evidence counts: psychophysical kernels of a model, by reverse correlation of its choices with motion energy."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cordstasks import analysis
from cordstasks.analysis.psychophysics.motion_energy import motion_energy
from cordstasks.errors import InputError
from cordstasks.reports import reaction_times
from cordstasks.runs.loading import TrainedNetworks, TrainedRun, load_run
from cordstasks.stimuli import Display, Movie
from cordstasks.tasks.visual.random_dots import RandomDotsTask
from cordstasks.utils.arguments import seed_of, whole
from cordstasks.utils.files import write_json
from cordstasks.utils.folders import results_folder

__all__ = ["motion_kernel"]

FEWEST = 4  # decisions that can be compared
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

    The choices of a run with reaction times are those at its bound. Then motion before each decision is all that counts,
    once from the onset of motion on, and once up to the decision. Trials without a decision are counted and left out.

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
        `cordstasks.analysis.psychophysics.PsychophysicalKernel` has. Of a run with reaction times also ``"bound"``,
        ``"undecided"`` (trials), ``"median_decision"`` in ms, and as ``"to_decision"`` the same up to the decision, with
        ``"times"`` in ms from it.

    Raises
    ------
    InputError
        If there is no such run, it is of another task, the model makes the same choice in all trials, or decides in fewer
        than four, or at the onset of motion in at least half of those in which it decides.

    Notes
    -----
    The motion energy comes from the pixels, see `cordstasks.analysis.psychophysics.motion_energy`. Its filters answer with
    a delay of about 50 ms. If motion lasts differently long, only the time that all trials share is used. Of decisions at a
    bound, it is the time that at least half of the trials with a decision have: up to the median of the decision times.
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
    motion = batch.periods["motion"]
    length = float((motion[:, 1] - motion[:, 0]).min())
    summary: dict[str, Any] = {"run": str(run.path), "direction": task.directions[0], "seed": seed, "shuffles": shuffles}
    chosen, found = seen.chosen == 1, None
    if reaction_times.applies(task, batch):
        bound = reaction_times.bound_of(run.summary, run.path)
        found = reaction_times.decisions(seen, batch, bound)
        summary |= {"bound": bound, "undecided": int((~found.decided).sum())}
        if found.decided.sum() < FEWEST:
            raise InputError(
                f"folder={str(run.path)!r}: the model reaches its bound of {bound:.3g} in {int(found.decided.sum())} of "
                f"{trials} trials; give more trials, or train it with a lower bound"
            )
        batch, chosen = batch.select(np.flatnonzero(found.decided)), found.option[found.decided] == 0
        early = int((found.time[found.decided] <= 0).sum())
        if 2 * early >= len(batch):
            raise InputError(
                f"folder={str(run.path)!r}: the model reaches its bound of {bound:.3g} at the onset of motion in {early} of "
                f"{len(batch)} trials with a decision, before it sees any; train it with a longer reward_from or time_out"
            )
    if chosen.all() or not chosen.any():
        raise InputError(
            f"folder={str(run.path)!r}: the model makes the same choice in all {len(batch)} trials; give more trials, or a "
            "run that was trained for longer"
        )
    pairs = zip(batch.movies, batch.periods["motion"][:, 0], strict=True)
    energy = np.stack([_energy(movie, onset, length, task.display, task.directions[0]) for movie, onset in pairs])
    clock = _clock(length, task.display)
    if found is None:
        kernel = analysis.psychophysics.psychophysical_kernel(
            energy, chosen, rng=np.random.default_rng(seed), shuffles=shuffles
        )
        summary |= {"times": clock.tolist(), **kernel.as_dict()}
        figure = analysis.figures.kernel(kernel, clock)
    else:
        figure = _to_decision(summary, energy, clock, chosen, found.time[found.decided], shuffles)
    if target is not None:
        write_json(target / "summary.json", summary)
        analysis.figures.save(figure, target / "kernel.png")
    if verbose:
        print("\n".join(lines_of(summary)))
    return summary


def _to_decision(
    summary: dict[str, Any],
    energy: NDArray[np.float64],
    clock: NDArray[np.float64],
    chosen: NDArray[np.bool_],
    times: NDArray[np.float64],
    shuffles: int,
) -> Figure:
    """Kernels of decisions at `times` (trial,) in ms from the onset of motion: adds them to the summary; their figure."""
    median, frame = float(np.median(times)), float(clock[1] - clock[0]) if len(clock) > 1 else 1.0
    before = clock < times[:, None]
    kept = np.flatnonzero(clock <= max(median, clock[0]))  # at least half of the trials are not decided yet
    last = before.sum(1) - 1  # the last frame before each decision
    back = np.arange(len(kept))[::-1]
    index = last[:, None] - back
    aligned = np.take_along_axis(energy, np.maximum(index, 0), axis=1)
    made = [
        analysis.psychophysics.psychophysical_kernel(
            values, chosen, counted=counted, rng=np.random.default_rng([summary["seed"], number]), shuffles=shuffles
        )
        for number, (values, counted) in enumerate([(energy[:, kept], before[:, kept]), (aligned, index >= 0)])
    ]
    since = -frame * (back + 0.5)  # of the frame's onset: a decision falls anywhere in the frame time after it
    summary |= {"median_decision": median, "times": clock[kept].tolist(), **made[0].as_dict()}
    summary["to_decision"] = {"times": since.tolist(), **made[1].as_dict()}
    return analysis.figures.kernels_to_decision(made[0], clock[kept], made[1], since)


def lines_of(summary: dict[str, Any]) -> list[str]:
    """What a command prints."""
    outside = f"of the times lie outside the interval of {summary['shuffles']} shuffles"
    lines = [
        f"{summary['trials']} trials with a coherence of 0: motion energy before the two choices differs by "
        f"{summary['mean']:+.3f} SD on average (p = {summary['mean_p_value']:.4f})",
        f"{summary['fraction_of_time_outside']:.0%} {outside}{_when(summary)}",
    ]
    if "to_decision" in summary:
        part = summary["to_decision"]
        lines[0] = "from the onset of motion: " + lines[0]
        lines += [
            f"up to the decision: it differs by {part['mean']:+.3f} SD on average (p = {part['mean_p_value']:.4f})",
            f"{part['fraction_of_time_outside']:.0%} {outside}{_when(part)}",
            f"choices at a bound of {summary['bound']:.3g} log odds, after {summary['median_decision']:.0f} ms (median); "
            f"{summary['undecided']} other trials did not reach it and are left out",
        ]
    return lines


def _when(part: dict[str, Any]) -> str:
    """The times outside the interval."""
    rows = zip(part["times"], part["kernel"], part["low"], part["high"], strict=True)
    outside = [f"{time:.0f}" for time, value, low, high in rows if not low <= value <= high]
    return f", at {', '.join(outside)} ms" if outside else ""


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
