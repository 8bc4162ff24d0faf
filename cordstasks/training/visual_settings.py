"""The settings of runs of visual tasks, which determine the trained model, and their flags.

This module needs no torch, so that commands can check arguments at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from cordstasks import tasks
from cordstasks.errors import InputError
from cordstasks.training.network_settings import HOW, NET, SIZE, NetworkSettings
from cordstasks.utils.effects import check_effects
from cordstasks.utils.settings import (
    fraction,
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

__all__ = ["INPUTS", "INPUTS_TAUGHT", "VisualSettings"]

TEACHING, FRONT = "teacher and mixing", "the front-end"
REACTING = "reaction times, of tasks that may be answered while the evidence is shown"


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
        default=240,
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
        if given.get("readout", "flatten") != "flatten":
            usual["side"] = None  # whole maps are pooled
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
