"""Causal tests of a trained model: something is done to a set of units, and to random sets of the same size."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from cordstasks import analysis
from cordstasks.errors import InputError, unknown
from cordstasks.experiments.effects import CIRCULAR, effect_of, lines_of
from cordstasks.experiments.interventions import Intervention, perturbed_features, run_perturbed
from cordstasks.experiments.perturbation_settings import PerturbationSettings
from cordstasks.experiments.unit_sets import UnitSet, chosen_units, random_sets
from cordstasks.frontend.features import Features
from cordstasks.reports import reaction_times
from cordstasks.runs.loading import TrainedNetworks, TrainedRun, load_run
from cordstasks.runs.visual import validation_trials
from cordstasks.tasks import TrialBatch
from cordstasks.training.evaluation import Behaviour, behave, behaviour_of
from cordstasks.utils.files import write_json
from cordstasks.utils.folders import results_folder

__all__ = ["Preparation", "perturb", "prepare_perturbation"]

CONDITIONS = ("direction", "location", "number")  # what units are selective for, if a task has one of these


@dataclass(frozen=True, eq=False)
class Preparation:
    """A perturbation that is ready to be carried out on any set of units.

    Attributes
    ----------
    run : TrainedRun
    settings : PerturbationSettings
    batch : TrialBatch
        The held-out trials that are tested.
    control : Behaviour
        In these trials, without a perturbation.
    inputs : Features
        The recurrent network's inputs in these trials.
    window : ndarray of shape (trial, 2)
        In ms.
    condition : str
        What the chosen units are selective for.
    chosen : UnitSet
    number : int
        How many units there are to choose from.
    scale : float
        Standard deviation of the units' rates in the window, in which strengths are given.
    channels : int or None
        Number of channels of the area; None for the recurrent network.
    bound : float or None
        The bound at which a run with reaction times decides; None for choices in the response window.
    """

    run: TrainedRun
    settings: PerturbationSettings
    batch: TrialBatch
    control: Behaviour
    inputs: Features
    window: NDArray[np.float64]
    condition: str
    chosen: UnitSet
    number: int
    scale: float
    channels: int | None = None
    bound: float | None = None

    def behaviour(self, units: NDArray[np.int64]) -> Behaviour:
        """The model's behaviour in the same trials while something is done to these units.

        Returns
        -------
        Behaviour
            In the trials of `batch`.
        """
        settings, run, dt = self.settings, self.run, float(self.batch.dt)
        strength = settings.strength * self.scale
        mask = np.zeros(self.number, np.bool_)
        mask[units] = True
        if settings.area is None:
            done = Intervention(settings.action, mask, self.window, strength)
            return _behaviour(run, settings, self.inputs, self.batch, done)
        done = Intervention(settings.action, _whole_maps(run, settings.area, mask), self.window, strength)
        features = perturbed_features(run.frontend, self.batch.movies, done, settings.area, dt=dt)
        return _behaviour(run, settings, run.model.inputs(features.to(run.frontend.device)), self.batch, None)


def _behaviour(
    run: TrainedRun, settings: PerturbationSettings, inputs: Features, batch: TrialBatch, done: Intervention | None
) -> Behaviour:
    """The model's behaviour while something, or nothing, is done to its recurrent units; with the same noise each time."""
    if done is None:
        whole = np.array([[0.0, movie.duration_ms] for movie in batch.movies])
        done = Intervention("current", np.ones(run.model.rnn.units, np.bool_), whole, 0.0)
    generator = torch.Generator(run.frontend.device).manual_seed(settings.seed) if settings.noise else None
    logits, rates = run_perturbed(run.model, inputs, done, dt=float(batch.dt), generator=generator)
    return behaviour_of(torch.from_numpy(logits), torch.from_numpy(rates), batch)


def prepare_perturbation(run: TrainedRun, settings: PerturbationSettings) -> Preparation:
    """Choose the units and run the model without a perturbation.

    Units are chosen by their activity in the validation trials of the run, and effects are measured in its held-out trials.
    In a run with reaction times, choices are those at its bound.

    Returns
    -------
    Preparation
        With the chosen units and the behaviour without a perturbation.

    Raises
    ------
    InputError
        If the window is outside the trials, no unit fits the rule, a condition or area is not one of the run, or a run with
        reaction times has no bound.
    """
    rng = np.random.default_rng([settings.seed, 0])
    batch = run.heldout()
    if settings.trials is not None:
        batch = batch.select(slice(0, settings.trials))
    window = _window(settings.window, batch)
    bound = reaction_times.bound_of(run.summary, run.path) if reaction_times.applies(run.task, batch) else None
    others = validation_trials(run.settings, run.task)
    condition = _condition(settings.condition, run, others)
    responses, seen, scale, channels = _responses(run, settings, others)
    chosen = chosen_units(
        settings.units,
        responses,
        _values(condition, run, others)[seen],
        fraction=settings.fraction,
        alike=settings.action in ("current", "clamp"),
        channels=channels,
        rng=rng,
    )
    inputs = run.model.inputs(run.features(batch).to(run.frontend.device))
    control = _behaviour(run, settings, inputs, batch, None)
    number = responses.shape[1]
    return Preparation(
        run, settings, batch, control, inputs, window, condition, chosen, number, scale, channels=channels, bound=bound
    )


def perturb(
    folder: str | os.PathLike[str] | TrainedRun | TrainedNetworks,
    action: str,
    units: str,
    *,
    out: str | os.PathLike[str] | None = None,
    verbose: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Do something to a set of units of a trained model, and to random sets of the same size, and measure what changes.

    Parameters
    ----------
    folder : path-like or TrainedRun
        A finished run of a visual task.
    action : str
        ``"silence"``, ``"lesion"``, ``"clamp"`` or ``"current"``.
    units : str
        The rule by which units are chosen, see `cordstasks.experiments.unit_sets.chosen_units`.
    out : path-like, optional
        Folder for ``summary.json`` and ``perturbation.png``; nothing is written without it.
    verbose : bool
        Print what a command prints.
    **settings
        Any of `cordstasks.experiments.perturbation_settings.PerturbationSettings`, such as ``window="delay"``.

    Returns
    -------
    dict
        What ``summary.json`` holds: ``"settings"``, ``"set"``, ``"effect"`` of the chosen units, and ``"random"``, the
        effects of the random sets; see `cordstasks.experiments.effects.effect_of`.

    Raises
    ------
    InputError
        If there is no such run, a setting is not possible, or the folder cannot be written.

    References
    ----------
    Salzman, Britten & Newsome 1990, Nature 346: 174-177. Sawaguchi & Iba 2001, J. Neurophysiol. 86: 2041-2053.
    """
    given = PerturbationSettings(action, units, **settings)
    run = load_run(folder) if isinstance(folder, str | os.PathLike) else folder
    if not isinstance(run, TrainedRun):
        raise InputError(f"folder={str(run.path)!r}: is a run of an abstract task; give one of a visual task")
    made = prepare_perturbation(run, given)
    target = None if out is None else results_folder(out, "out")
    sets = random_sets(
        made.number,
        len(made.chosen.units),
        given.random_sets,
        rng=np.random.default_rng([given.seed, 1]),
        kind=made.chosen.kind,
        channels=made.channels,
    )
    effects = []
    for number, members in enumerate(tqdm([made.chosen.units, *sets], desc="sets of units", unit="set", leave=False)):
        rng = np.random.default_rng([given.seed, 2, number])
        after = made.behaviour(members)
        effects.append(
            effect_of(
                run,
                made.batch,
                made.control,
                after,
                made.condition,
                made.chosen.preferred,
                given,
                rng,
                bound=made.bound,
            )
        )
    summary: dict[str, Any] = {
        "run": str(run.path),
        "task": run.task.id,
        "settings": given.as_dict(),
        "condition": made.condition,
        "set": {
            "units": made.chosen.units.tolist(),
            "of": made.number,
            "preferred": made.chosen.preferred,
            "fitting": made.chosen.available,
            "kind": made.chosen.kind,
        },
        "strength": given.strength * made.scale if given.action in ("clamp", "current") else None,
        "choices": "in the response window" if made.bound is None else f"at a bound of {made.bound:.3g} log odds",
        "control": {"accuracy": effects[0]["accuracy"]["before"], "trials": len(made.batch)},
        "effect": effects[0],
        "random": effects[1:],
    }
    if target is not None:
        write_json(target / "summary.json", summary)
        name = f"{made.condition} (deg)" if made.condition in CIRCULAR else made.condition
        figure = analysis.figures.perturbation(effects[0], effects[1:], title=title_of(given), condition=name)
        analysis.figures.save(figure, target / "perturbation.png")
    if verbose:
        print("\n".join(lines_of(summary)))
        if target is not None:
            print(f"{target}/: summary.json, perturbation.png")
    return summary


def title_of(settings: PerturbationSettings) -> str:
    """A perturbation in a few words."""
    kind, _, value = settings.units.partition("=")
    units = {"prefer": f"units that prefer {value}", "units": "chosen units"}
    units |= {each: f"{each} {value}" for each in ("channels", "locations")}
    where = "the recurrent network" if settings.area is None else f"area {settings.area}"
    when = "throughout the trial" if settings.window is None else f"in {settings.window}"
    verb = "stimulate" if settings.action == "current" else settings.action
    return f"{verb.capitalize()} {units.get(kind, f'{kind} units')} of {where}, {when}"


def _window(text: str | None, batch: TrialBatch) -> NDArray[np.float64]:
    """Start and end (trial, 2) in ms."""
    whole = np.array([[0.0, movie.duration_ms] for movie in batch.movies])
    if text is None:
        return whole
    if text in batch.periods:
        return np.asarray(batch.periods[text])
    start, colon, end = text.partition(":")
    try:
        ends = (float(start), float(end)) if colon else None
    except ValueError:
        ends = None
    if ends is None:
        if colon:
            raise InputError(f"window={text}: write START:END in ms, such as 300:500")
        raise unknown("window", text, list(batch.periods))
    if not ends[0] < ends[1] or ends[0] >= whole[:, 1].max() or ends[1] <= 0:
        raise InputError(f"window={text}: trials last from 0 to {whole[:, 1].max():g} ms; give START:END within that")
    return np.tile(np.array(ends), (len(batch), 1))


def _condition(name: str | None, run: TrainedRun, batch: TrialBatch) -> str:
    known = [*batch.conditions, "answer"]
    if name is not None and name not in known:
        raise unknown("condition", name, known)
    return name or next((each for each in CONDITIONS if each in batch.conditions), "answer")


def _values(condition: str, run: TrainedRun, batch: TrialBatch) -> NDArray[Any]:
    if condition in batch.conditions:
        return batch.conditions[condition]
    return np.array(run.task.actions)[batch.answers]


def _responses(
    run: TrainedRun, settings: PerturbationSettings, batch: TrialBatch
) -> tuple[NDArray[np.float64], NDArray[np.bool_], float, int | None]:
    """Responses (trial, unit) in the window, or else from the stimulus on, with the trials of the batch that have it.

    Also the responses' deviation, and the number of channels.
    """
    window = _window(settings.window, batch)
    if settings.window is None:
        window[:, 0] = batch.periods[run.task.stimulus][:, 0]
    features = run.features(batch)
    seen = behave(run.model, run.model.inputs(features.to(run.frontend.device)), batch)
    steps = seen.within(*window.T)
    kept: NDArray[np.bool_] = np.any(steps, axis=1)
    if (np.isfinite(window).all(1) & ~kept).any() or not kept.any():
        raise InputError(f"window={settings.window}: holds no step of {batch.dt:g} ms in some trials; give a wider one")
    if settings.area is None:
        activity: NDArray[Any] = seen.rates
        channels: int | None = None
    else:
        if settings.area not in run.frontend.areas:
            read = ", ".join(map(str, run.frontend.areas))
            raise InputError(f"area={settings.area}: the run reads areas {read}; give one of them")
        place = run.frontend.areas.index(settings.area)
        first, size = sum(run.frontend.blocks[:place]), run.frontend.blocks[place]
        activity = features.take(slice(None)).numpy()[..., first : first + size]
        channels = size // run.frontend.sides[place] ** 2
    inside = activity[steps].astype(np.float64)
    return analysis.tuning.window_mean(activity[kept], steps[kept]), kept, float(inside.std()), channels


def _whole_maps(run: TrainedRun, area: int, units: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Units (channel, height, width) of an area from those of its averaged maps: all locations that are averaged."""
    side = run.frontend.sides[run.frontend.areas.index(area)]
    full = run.frontend.network.sides[area]
    at = np.arange(full) * side // full
    maps: NDArray[np.bool_] = units.reshape(-1, side, side)[:, at][:, :, at]
    return maps


def default_folder(run: Path, settings: PerturbationSettings) -> Path:
    """A folder for the results of a command, whose name says what was done."""
    parts = {"area": settings.area, "window": settings.window}
    verb = "stimulate" if settings.action == "current" else settings.action
    named = [f"{verb}-{settings.units}", *(f"{key}-{value}" for key, value in parts.items() if value is not None)]
    clean = re.sub(r"[^\w.]+", "-", "-".join(named))[:80]
    return Path("perturbations") / f"{run.resolve().name}-{clean}"
