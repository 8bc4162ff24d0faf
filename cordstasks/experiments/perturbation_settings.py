"""The settings of a perturbation, and their flags; this module needs no torch, so that commands check arguments at once."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from cordstasks.errors import InputError
from cordstasks.utils.settings import Settings, choice, number, optional, setting, text, truth, whole

__all__ = ["PerturbationSettings"]

WHAT, MEASURE = "what is done", "how its effect is measured"


@dataclass(frozen=True)
class PerturbationSettings(Settings):
    """What is done to which units of a trained model, when, and how its effect is measured."""

    FAMILY = "perturbation"

    action: str = setting(
        choice("silence", "lesion", "clamp", "current"), "silence, lesion, clamp, or add a current", group=""
    )
    units: str = setting(text(), "the rule by which units are chosen", group="")
    _: KW_ONLY
    window: str | None = setting(
        optional(text()),
        "when: a period such as delay, or START:END in ms from the start of the trial (default: the whole trial)",
        default=None,
        group=WHAT,
        metavar="WINDOW",
    )
    strength: float = setting(
        number("a finite number"),
        "size of a current, or value of a clamp, in standard deviations of the units' rates in the window",
        default=1.0,
        group=WHAT,
    )
    fraction: float | None = setting(
        optional(number("a fraction above 0 and at most 1", above=0, most=1)),
        "most units, as a fraction of all (default: 0.05; with prefer=VALUE all that fit)",
        default=None,
        group=WHAT,
    )
    area: int | None = setting(
        optional(whole(least=0)),
        "an area of the front-end that the run reads, instead of the recurrent network",
        default=None,
        group=WHAT,
    )
    condition: str | None = setting(
        optional(text()),
        "the condition that units are selective for (default: direction, location or number, else the answer)",
        default=None,
        group=WHAT,
        metavar="NAME",
    )
    random_sets: int = setting(whole(), "random sets of the same size, beside", default=10, group=MEASURE)
    trials: int | None = setting(
        optional(whole(least=2)), "held-out trials to test on (default: all)", default=None, group=MEASURE
    )
    noise: bool = setting(
        truth(),
        "draw the units' private noise, the same with and without the perturbation; else trials of one movie are the same",
        default=False,
        group=MEASURE,
    )
    seed: int = setting(whole(least=0), "of random sets, noise and the bootstrap", default=0, group=MEASURE)
    bootstrap: int = setting(
        whole(), "resamples of the trials for intervals of shifts and contrasts", default=200, group=MEASURE
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.action == "lesion" and self.window is not None:
            raise InputError(f"window={self.window}: a lesion lasts; leave it out, or silence the units in a window")
