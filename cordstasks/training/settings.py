"""The settings of visual and abstract runs, which determine the trained networks, and their flags.

This module needs no torch, so that commands can check arguments at once. ``config.json`` of a run holds every setting, so
that this file alone repeats the run, even after a default has changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

from cordstasks import tasks
from cordstasks.errors import InputError, unknown
from cordstasks.tasks.timing import check_step
from cordstasks.utils.effects import check_effects
from cordstasks.utils.settings import (
    Settings,
    choice,
    fraction,
    mapping,
    not_negative,
    number,
    optional,
    positive,
    setting,
    several,
    text,
    truth,
    whole,
)

__all__ = ["AbstractSettings", "NetworkSettings", "VisualSettings", "first_repeated", "maps_for", "seeds_of_text"]

CONNECTIVITIES = ("full", "lowrank", "sparse", "conv")
ACTIVATIONS = ("relu", "tanh", "softplus")
FORMS = ("rate", "current")
# settings that only one connectivity has
ONLY_FOR = {"rank": "lowrank", "density": "sparse", "shape": "conv"}
MOST_SEEDS = 100_000  # networks of one stack; a longer range is a mistake and would only fill the memory

NET, SIZE, HOW, TEACHING, FRONT = "the network", "how much", "how it learns", "teacher and mixing", "the front-end"
REACTING = "reaction times, of tasks that may be answered while the evidence is shown"


def maps_for(units: int) -> tuple[int, int, int]:
    """Channels, height and width of square maps that hold `units`: of 5 x 5 locations, or the nearest to it.

    Returns
    -------
    channels, height, width : int
        Their product is `units`.

    Raises
    ------
    InputError
        If no square maps of at least 3 x 3 locations hold so many units.
    """
    sides = [side for side in range(3, math.isqrt(max(units, 0)) + 1) if units % side**2 == 0]
    if not sides:
        raise InputError(
            f"units={units!r}: no square maps of at least 3 x 3 hold them; choose a multiple of 9, 16 or 25, or give a "
            "shape, such as 4x5x5"
        )
    side = min(sides, key=lambda side: abs(side - 5))
    return units // side**2, side, side


def first_repeated(values: Sequence[Any]) -> int | None:
    """The index of the first value that also occurs earlier in `values`; None if all differ.

    Returns
    -------
    int or None
    """
    return next((place for place, value in enumerate(values) if value in values[:place]), None)


def seeds_of_text(text: str) -> tuple[int, ...]:
    """Seeds from ``"0:32"`` (0 to 31), ``"3"`` or ``"0,2,5"``, for a flag.

    Returns
    -------
    tuple of int
        In the order of the text.

    Raises
    ------
    InputError
        If the text is written in another way, or names too many seeds.
    """
    try:
        if ":" in text:
            first, last = (int(part) for part in text.split(":"))
            if last - first > MOST_SEEDS:  # checked before the numbers fill the memory
                raise InputError(f"--seeds {text}: are {last - first} networks; give at most {MOST_SEEDS}")
            if last <= first:
                raise ValueError
            return tuple(range(first, last))
        return tuple(int(part) for part in text.split(","))
    except InputError:
        raise
    except ValueError:
        raise InputError(f"--seeds {text}: write 0:32 for 0 to 31, or 3, or 0,2,5") from None


def shape_of_text(text: str) -> tuple[int, int, int]:
    """Channels, height and width from ``"4x5x5"``, for a flag."""
    try:
        channels, height, width = map(int, text.split("x"))
    except ValueError:  # not three, or not numbers
        raise InputError(f"--shape {text}: write channels, height and width as 4x5x5") from None
    return channels, height, width


@dataclass(frozen=True)
class NetworkSettings(Settings):
    """A task and the recurrent network that learns it; see `cordstasks.rnn.RNN` for what the network's settings mean."""

    task: str = setting(text(), "the task", group="")
    _: KW_ONLY
    parameters: Mapping[str, Any] = setting(
        mapping("names and values, such as {'delay': 500}"), "parameters of the task", default=None, group=""
    )
    units: int = setting(whole(), "recurrent units", default=100, group=NET)
    connectivity: str = setting(choice(*CONNECTIVITIES), ", ".join(CONNECTIVITIES), default="full", group=NET)
    rank: int = setting(whole(), "of low-rank networks", default=2, group=NET)
    density: float = setting(
        number("a number above 0 and at most 1", above=0, most=1), "of sparse networks", default=0.2, group=NET
    )
    shape: tuple[int, int, int] | None = setting(
        optional(several(whole(), "channels, height and width, such as 4x5x5", length=3)),
        "channels, height and width of convolutional networks, such as 4x5x5 (default: by units)",
        default=None,
        group=NET,
        parse=shape_of_text,
    )
    activation: str = setting(choice(*ACTIVATIONS), ", ".join(ACTIVATIONS), default="relu", group=NET)
    form: str = setting(choice(*FORMS), ", ".join(FORMS), default="rate", group=NET)
    noise: float = setting(not_negative(), "standard deviation of the units' private noise", default=0.05, group=NET)
    gain: float = setting(not_negative(), "spectral radius of the initial recurrent weights", default=0.9, group=NET)
    excitatory: float | None = setting(
        optional(number("a fraction above 0 and below 1", above=0, below=1)),
        "obey Dale's law with this fraction of excitatory units",
        default=None,
        group=NET,
        metavar="FRACTION",
    )
    train_inputs: bool = setting(truth(), "do not train the input weights", default=True, group=NET, flag="--fixed-inputs")
    train_outputs: bool = setting(
        truth(), "do not train the output weights", default=True, group=NET, flag="--fixed-outputs"
    )
    dt: float = setting(positive(), "the recurrent network's step in ms", default=20.0, group=NET)
    tau: float = setting(positive(), "its time constant in ms", default=100.0, group=NET)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_task()
        if self.dt > self.tau:
            raise InputError(f"dt={self.dt:g}: must be at most the time constant tau={self.tau:g} (ms)")
        if self.connectivity == "lowrank" and self.rank > self.units:
            raise InputError(f"rank={self.rank!r}: must be from 1 to the number of units, {self.units}")
        if self.connectivity == "conv" and self.shape is None:
            object.__setattr__(self, "shape", maps_for(self.units))
        if self.connectivity == "conv" and self.shape is not None and math.prod(self.shape) != self.units:
            raise InputError(
                f"shape={'x'.join(map(str, self.shape))}: channels x height x width must be the number of units, "
                f"{self.units}"
            )
        if self.excitatory is not None:
            if self.activation == "tanh":
                raise InputError("activation='tanh': Dale's law (excitatory) needs rates of at least 0; choose relu")
            # the types are those of channels if weights are shared, otherwise of units
            kinds = self.shape[0] if self.connectivity == "conv" and self.shape is not None else self.units
            if not 0 < round(self.excitatory * kinds) < kinds:
                raise InputError(
                    f"excitatory={self.excitatory!r}: leaves one kind without any of {kinds}; choose another fraction"
                )

    def _check_task(self) -> None:
        """Raise an InputError unless the task exists and can have the parameters."""

    @staticmethod
    def check_used(given: Mapping[str, Any]) -> None:
        """Raise an InputError if a setting is given that the given connectivity does not have.

        The default will do, so that all settings of a run can be given again.

        Parameters
        ----------
        given : mapping
            Settings that a caller chose.

        Raises
        ------
        InputError
            If a setting matters to another connectivity only, and is not its default.
        """
        defaults = {each.name: each.default for each in dataclasses.fields(NetworkSettings)}
        for each, connectivity in ONLY_FOR.items():
            chosen = given.get(each)
            if chosen is None or given.get("connectivity", "full") == connectivity:
                continue
            chosen = NetworkSettings.checked(each, chosen)
            if defaults[each] is None or chosen != defaults[each]:
                value = "x".join(map(str, chosen)) if each == "shape" else chosen
                raise InputError(
                    f"{each}={value}: matters to {connectivity} networks only; leave it out, or give "
                    f"connectivity={connectivity}"
                )


@dataclass(frozen=True, kw_only=True)
class AbstractSettings(NetworkSettings):
    """Networks trained on an abstract task: Adam, clipped gradients, each network stopped by itself."""

    FAMILY: ClassVar[str] = "abstract"

    seeds: tuple[int, ...] = setting(
        several(whole(least=0), "one or more different seeds, such as 0:32", different=True),
        "one per network: 0:32 for 0 to 31, or 3, or 0,2,5; weights, trials and noise follow from it (default 0:5)",
        default=(0, 1, 2, 3, 4),
        group=SIZE,
        parse=seeds_of_text,
    )
    steps: int = setting(whole(), "largest number of batches", default=3000, group=SIZE)
    batch: int = setting(whole(), "trials per batch", default=32, group=SIZE)
    validation: int = setting(whole(), "fresh trials of each evaluation", default=256, group=SIZE)
    heldout: int = setting(whole(), "fresh trials of the test of a trained network", default=1000, group=SIZE)
    learning_rate: float = setting(positive(), "Adam's", default=2e-3, group=HOW)
    clip: float = setting(positive(), "largest norm of a network's gradient", default=1.0, group=HOW)
    evaluate_every: int = setting(whole(), "batches between evaluations", default=50, group=HOW)
    goal: float | None = setting(
        optional(number("a score of at most 1", most=1.0)),
        "score at which a network stops, or goes on to the next stage of its curriculum (default: by task)",
        default=None,
        group=HOW,
    )

    def _check_task(self) -> None:
        if not tasks.is_abstract(self.task):
            raise unknown("task", self.task, tasks.abstract_names())
        task = self.abstract_task()
        check_step(self.dt, task)
        for each in ("validation", "heldout"):
            if task.measure == "R2" and getattr(self, each) < 2:
                raise InputError(
                    f"{each}={getattr(self, each)}: R2, by which task {task.id} is scored, needs at least 2 trials"
                )

    def abstract_task(self) -> tasks.AbstractTask:
        """The task with its parameters.

        Returns
        -------
        AbstractTask
        """
        task: tasks.AbstractTask = tasks.get(self.task, **dict(self.parameters))
        return task

    @classmethod
    def new(cls, task: str, *, quick: bool = False, **given: Any) -> AbstractSettings:
        """The settings of a new run.

        Parameters
        ----------
        task : str
            Name of an abstract task.
        quick : bool
            Whether to begin from the settings of a small run instead of the defaults.
        **given
            Settings to choose instead.

        Returns
        -------
        AbstractSettings
        """
        cls.check_used(given)
        return cls(task, **{**(ABSTRACT_QUICK if quick else {}), **given})


ABSTRACT_QUICK = {"steps": 300, "heldout": 200, "validation": 100}  # what --quick changes, unless it is given


@dataclass(frozen=True, kw_only=True)
class VisualSettings(NetworkSettings):
    """A multi-area model trained on a visual task: AdamW, masked cross-entropy, the best of its evaluations kept.

    `new` fills in the defaults of the task. If trials have auxiliary targets, linear auxiliary heads on the recurrent units
    learn these too. The heads are not part of the trained model.
    """

    FAMILY: ClassVar[str] = "visual"

    frontend: str = setting(text(), "registry name or file of a CordsNet", default="cordsnet-r8", group=FRONT)
    areas: tuple[int, ...] | None = setting(
        optional(several(whole(least=0), "a list of areas, numbered from 0", different=True, in_order=True)),
        "the front-end's areas that are read, from 0; those above are not simulated",
        default=None,
        group=FRONT,
        metavar="AREA",
        by_task=True,
    )
    side: int | None = setting(
        optional(whole()), "average the maps that are read to at most SIDE x SIDE", default=None, group=FRONT, by_task=True
    )
    readout: str = setting(
        text(), "flatten (keeps locations) or pool whole maps, as --side 1", default="flatten", group=FRONT
    )
    precision: str | None = setting(
        optional(text()), "of the front-end's products: float32, tf32, bfloat16", default=None, group=FRONT
    )
    tolerance: float = setting(
        number("a relative error of at least 0 (simulate everything) and below 0.1", least=0.0, below=0.1),
        "error allowed to a settled state of the front-end, relative to the norm of its activity",
        default=1e-3,
        group=FRONT,
    )

    inputs: int | None = setting(
        optional(whole()),
        "directions in feature space that the recurrent network is given",
        default=None,
        group=NET,
        by_task=True,
    )
    whiten: bool = setting(
        truth(), "scale each principal component of the features to unit variance", default=False, group=NET, by_task=True
    )
    units: int = setting(whole(), "recurrent units", default=512, group=NET)
    noise: float = setting(not_negative(), "standard deviation of the units' private noise", default=0.01, group=NET)
    tau: float = setting(positive(), "their time constant in ms", default=100.0, group=NET, by_task=True)

    trials: int = setting(whole(), "training trials", default=4000, group=SIZE, by_task=True)
    validation: int = setting(whole(), "trials to choose the best weights by", default=100, group=SIZE, by_task=True)
    heldout: int = setting(whole(), "trials to test on, never trained on", default=420, group=SIZE, by_task=True)
    steps: int = setting(whole(), "largest number of batches", default=1000, group=SIZE, by_task=True)
    batch: int = setting(whole(), "trials per batch", default=64, group=SIZE, by_task=True)

    seed: int = setting(whole(least=0), "of initial weights, of the order of trials and of all noise", default=0, group=HOW)
    trials_seed: int | None = setting(
        optional(whole(least=0)), "of the movies, if they are not to follow from --seed", default=None, group=HOW
    )
    learning_rate: float = setting(
        positive(), "AdamW's, falling to a twentieth along a cosine", default=1e-3, group=HOW, by_task=True
    )
    weight_decay: float = setting(not_negative(), "decoupled, on all weights", default=1e-4, group=HOW)
    clip: float = setting(positive(), "largest norm of the gradient", default=1.0, group=HOW)
    average: float = setting(
        number("a number of at least 0 and below 1", least=0.0, below=1.0),
        "evaluate and keep a running average of the weights, in which a step's weights fade by this factor per step; 0 for "
        "the weights as they are",
        default=0.98,
        group=HOW,
    )
    evaluate_every: int = setting(whole(), "batches between evaluations on validation trials", default=25, group=HOW)
    patience: int = setting(whole(), "evaluations without a better one after which training stops", default=20, group=HOW)
    input_noise: float = setting(
        not_negative(),
        "standard deviation of the noise on inputs, for trials that are not mixed",
        default=0.1,
        group=HOW,
    )
    labels_only: bool = setting(
        truth(),
        "train on the right actions alone: no teacher, auxiliary targets or recombined trials (see the docs)",
        default=False,
        group=HOW,
    )
    auxiliary: float = setting(
        not_negative(),
        "weight in the loss of the mean cross-entropy of auxiliary targets; 0 for none",
        default=1.0,
        group=HOW,
    )
    recombine: float = setting(
        fraction(),
        "fraction of the batches whose trials get the test pictures of other trials",
        default=0.75,
        group=HOW,
    )

    teacher: bool = setting(
        truth(),
        "learn to reproduce the running evidence of a quadratic decoder, where a task has a stationary stream of evidence "
        "for two answers",
        default=False,
        group=TEACHING,
        by_task=True,
    )
    lags_ms: tuple[float, ...] = setting(
        several(positive(), "one or more times above 0 (ms)", different=True, in_order=True),
        "lags in ms at which the decoder compares features",
        default=(40.0,),  # after which each of the three interleaved sets of dots comes back displaced
        group=TEACHING,
        metavar="MS",
    )
    components: int = setting(
        whole(least=2), "most whitened principal components in which it compares them", default=500, group=TEACHING
    )
    components_per_trial: float = setting(
        positive(), "components per training trial, where trials are few", default=0.55, group=TEACHING
    )
    odds_gain: float = setting(
        positive(), "standard deviation of its final log odds over training trials", default=7.0, group=TEACHING
    )
    odds_typical: float = setting(
        positive(),
        "log odds up to which deviations from it count quadratically, and linearly beyond",
        default=3.0,
        group=TEACHING,
    )
    mix: bool = setting(
        truth(), "train on mixed trials (see cordstasks.training.mixing)", default=False, group=TEACHING, by_task=True
    )
    mix_sizes: tuple[int, ...] = setting(
        several(whole(), "one or more sizes of at least 1"),
        "trials in a mixed trial, in turn",
        default=(1, 2, 4, 8, 16),
        group=TEACHING,
        metavar="TRIALS",
    )
    mix_fewest: int = setting(
        whole(), "trials of equal timing from which their mean is estimated; fewer are not mixed", default=8, group=TEACHING
    )

    bound: float | None = setting(
        optional(positive()),
        "log odds of an answer against all others at which the model decides (default: of the largest reward rate)",
        default=None,
        group=REACTING,
        added=True,
    )
    bound_trials: int = setting(
        whole(),
        "trials, neither trained on nor tested on, by which the bound is chosen",
        default=120,
        group=REACTING,
        added=True,
    )
    non_decision: float = setting(
        not_negative(), "time in ms that is added to each decision time", default=300.0, group=REACTING, added=True
    )
    inter_trial: float = setting(
        not_negative(), "time in ms between trials, for the reward rate", default=1000.0, group=REACTING, added=True
    )
    time_out: float = setting(
        not_negative(),
        "time in ms by which an error, or a trial without a decision, delays the next trial, for the reward rate",
        default=1000.0,
        group=REACTING,
        added=True,
    )
    reward_from: float = setting(
        not_negative(),
        "time in ms from when an answer is allowed, before which a right answer is not rewarded, for the reward rate",
        default=1000.0,
        group=REACTING,
        added=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.non_decision + self.inter_trial == 0:
            raise InputError("inter_trial=0: without non-decision time, too, trials may last 0 ms; give a time above 0")

    @property
    def seed_of_trials(self) -> int:
        """The seed from which the movies are drawn."""
        return self.seed if self.trials_seed is None else self.trials_seed

    @classmethod
    def new(cls, task: str, *, quick: bool = False, **given: Any) -> VisualSettings:
        """The settings of a new run, with the defaults of the task.

        Parameters
        ----------
        task : str
            Name of a visual task, or the path of a file that registers one.
        quick : bool
            Whether to begin from the settings of a small run.
        **given
            Settings to choose instead.

        Returns
        -------
        VisualSettings

        Raises
        ------
        InputError
            If there is no such task, it is an abstract one, or a setting is not possible.
        """
        cls.check_used(given)
        chosen = tasks.get(task)
        if not isinstance(chosen, tasks.VisualTask):
            raise InputError(
                f"task={task}: is an abstract task; this needs one that shows movies: {', '.join(tasks.names())}"
            )
        small = dict(chosen.quick_defaults) if quick else {}
        parameters = {**small.pop("parameters", {}), **(given.pop("parameters", None) or {})}
        with contextlib.suppress(InputError):  # an error in the parameters is reported where they are used
            chosen = tasks.get(task, **parameters)
        labels_only = cls.checked("labels_only", given.get("labels_only", False))
        rules = {"whiten": chosen.stationary, "mix": chosen.stationary}
        rules["teacher"] = chosen.stationary and len(chosen.actions) == 3 and not labels_only
        if labels_only:
            rules |= {"auxiliary": 0.0, "recombine": 0.0}
        usual = {**rules, **chosen.run_defaults, **small}
        made = cls(task, **{**usual, **given, "parameters": parameters})
        usual = {**{each.name: each.default for each in dataclasses.fields(cls)}, **usual}
        check_effects(made, given, usual, NEEDS)
        if chosen.compared is None and made.recombine not in (0.0, usual["recombine"]):
            raise InputError(
                f"recombine={made.recombine:g}: matters to tasks that compare two pictures, not to {chosen.id}; leave it out"
            )
        return made

    def with_inputs(self, features: int, *, chosen: bool) -> VisualSettings:
        """These settings with a number of inputs that a front-end with this number of features can give.

        Parameters
        ----------
        features : int
            Features of the front-end.
        chosen : bool
            Whether the number of inputs was chosen by the caller, and so must not be changed.

        Returns
        -------
        VisualSettings
            A copy, with at most `features` inputs.

        Raises
        ------
        InputError
            If more inputs were chosen than there are features.
        """
        inputs = self.inputs or (INPUTS_TAUGHT if self.teacher else INPUTS)
        if chosen and self.inputs is not None and inputs > features:
            raise InputError(f"inputs={inputs}: the front-end has {features} features; give at most as many")
        return dataclasses.replace(self, inputs=min(inputs, features))


# settings that are used only if another one has a certain value
NEEDS: dict[str, tuple[str, Any]] = {
    **dict.fromkeys(("lags_ms", "components", "components_per_trial", "odds_gain", "odds_typical"), ("teacher", True)),
    **dict.fromkeys(("mix_sizes", "mix_fewest"), ("mix", True)),
    **dict.fromkeys(("input_noise", "recombine"), ("mix", False)),
    "whiten": ("teacher", False),  # a teacher whitens by itself
    "side": ("readout", "flatten"),
}
INPUTS_TAUGHT = 48  # directions in feature space that are the recurrent network's inputs, selected by a teacher
INPUTS = 300  # or as many principal components
