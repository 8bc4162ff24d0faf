"""Settings of ``python -m cordstasks.predict``. This module does not need torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cordstasks.utils.settings import (
    Settings,
    choice,
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

__all__ = ["PredictSettings"]

RECORDING, MODEL, REGRESSION, TIME = "recording", "model", "regression", "time"


@dataclass(frozen=True)
class PredictSettings(Settings):
    """Everything that determines how much of a recording a model predicts."""

    FAMILY: ClassVar[str] = "predict"

    recording: str = setting(text(), help="", group="")
    stimuli: str = setting(text(), help="", group="")
    region: str | None = setting(
        optional(text()), default=None, help="use the units of this region alone (default: all)", group=RECORDING
    )
    from_ms: float | None = setting(
        optional(number("a finite number")),
        default=None,
        help="use bins that begin at this time or later, in ms",
        group=RECORDING,
    )
    to_ms: float | None = setting(
        optional(number("a finite number")),
        default=None,
        help="use bins that end at this time or earlier, in ms",
        group=RECORDING,
    )
    halves: int = setting(
        whole(), default=10, help="random splits of presentations in halves, for the ceiling", group=RECORDING
    )
    least_reliability: float = setting(
        fraction(),
        default=0.1,
        help="units below this reliability are left out of scores relative to the ceiling",
        group=RECORDING,
    )
    weights: str = setting(text(), default="cordsnet-r8", help="a registry name or a file of weights", group=MODEL)
    areas: tuple[int, ...] | None = setting(
        optional(several(whole(least=0), "areas, numbered from 0, each once", different=True, in_order=True)),
        default=None,
        help="areas, numbered from 0 (default: all)",
        group=MODEL,
    )
    side: int | None = setting(
        optional(whole()),
        default=None,
        help="average each map to at most this many locations a side (default: every unit)",
        group=MODEL,
    )
    image_ms: float | None = setting(
        optional(positive()),
        default=None,
        help="how long the model sees an image, in ms (default: to the last bin)",
        group=MODEL,
    )
    projection: int = setting(
        whole(),
        default=4096,
        help="project areas with more features at random to this number, which bounds memory",
        group=MODEL,
    )
    method: str = setting(choice("pls", "ridge"), default="pls", help="regression: pls or ridge", group=REGRESSION)
    components: int = setting(whole(), default=25, help="of partial least squares", group=REGRESSION)
    splits: int = setting(whole(), default=10, help="random splits of the stimuli", group=REGRESSION)
    held_out: float = setting(
        number("a number between 0 and 1", above=0.0, below=1.0),
        default=0.1,
        help="fraction of stimuli to predict",
        group=REGRESSION,
    )
    stratify: bool = setting(
        truth(), default=True, help="--no-stratify: draw splits without regard to the stimuli's objects", group=REGRESSION,
        flag="--no-stratify",
    )  # fmt: skip
    dimensions: int = setting(
        whole(),
        default=500,
        help="principal components of features from which regressions spanning time start",
        group=REGRESSION,
    )
    lag_ms: float = setting(
        not_negative(), default=100.0, help="largest lag of the recording after the model that is tried, in ms", group=TIME
    )
    permutations: int = setting(whole(), default=20, help="shuffles of time bins for the null", group=TIME)
    time_map: str = setting(
        choice("ridge", "pls", "none"),
        default="ridge",
        help="regression for the map of every moment on every moment",
        group=TIME,
    )
    seed: int = setting(whole(least=0), default=0, help="of splits, projections, shuffles and intervals", group=REGRESSION)
