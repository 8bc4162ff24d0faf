"""A task in one file: is a grating tilted to the left or to the right of vertical?

python -m cordstasks.tasks preview examples/orientation_discrimination.py --out previews
python -m cordstasks.train --task examples/orientation_discrimination.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import ClassVar

import numpy as np

from cordstasks.stimuli import Display, Movie, discs, join
from cordstasks.tasks import Trial, VisualTask, register_task
from cordstasks.tasks.timing import Duration, draw_duration, timeline
from cordstasks.tasks.visual.base import Condition


def grating(display: Display, tilt: float, phase: float) -> np.ndarray:
    """A Gabor patch on grey: 2 cycles a deg, its bars turned by `tilt` deg to the right of vertical."""
    x, y = np.meshgrid(*display.pixel_centres())
    across = x * np.cos(np.deg2rad(tilt)) - y * np.sin(np.deg2rad(tilt))
    wave = np.cos(2 * np.pi * 2.0 * across + phase) * np.exp(-(x**2 + y**2) / (2 * 1.0**2))
    return np.rint(127.5 + 127.5 * wave).astype(np.uint8)[:, :, None]


@register_task
@dataclass(frozen=True)
class OrientationTask(VisualTask):
    """Say whether a grating is tilted to the left or to the right."""

    id: ClassVar[str] = "orientation"
    stimulus: ClassVar[str] = "grating"

    tilts: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)  # deg from vertical
    fixation: Duration = 300.0  # ms
    grating: Duration = 400.0
    choice: Duration = 200.0
    display: Display = field(default_factory=Display)

    @property
    def actions(self) -> tuple[str, ...]:
        """Fixate, or one of the two answers."""
        return ("fixate", "left", "right")

    @property
    def timing(self) -> dict[str, Duration]:
        """A spot to fixate, the grating, and a blank in which to answer."""
        return {"fixation": self.fixation, "grating": self.grating, "choice": self.choice}

    def design(self) -> list[dict[str, Condition]]:
        """Each tilt to each side; a balanced block holds every row once."""
        return [{"tilt": tilt, "side": side} for tilt, side in product(self.tilts, (-1.0, 1.0))]

    def for_training(self) -> OrientationTask:
        """Easy tilts only, so that the hard ones are a test."""
        return replace(self, tilts=tuple(tilt for tilt in self.tilts if tilt >= 4))

    def trial(self, conditions: Mapping[str, Condition], rng: np.random.Generator) -> Trial:
        """One trial of a tilt (deg) to a side (-1 left, 1 right); the grating's phase is drawn."""
        tilt, side = float(conditions["tilt"]), float(conditions["side"])
        durations = {name: draw_duration(name, duration, rng) for name, duration in self.timing.items()}
        periods = timeline(durations)
        grey = np.full((self.display.pixels, self.display.pixels, 1), 128, np.uint8)
        spot = discs(self.display, 0, 0, 0.3, background=128 / 255)
        patch = grating(self.display, side * tilt, rng.uniform(0, 2 * np.pi))
        shown = {"fixation": spot, "grating": patch, "choice": grey}
        return Trial(
            movie=join([Movie.still(image, durations[name]) for name, image in shown.items()]),
            periods=periods,
            answer=1 if side < 0 else 2,
            answer_window=periods["choice"],
            answer_from=periods["choice"][0],
            conditions={"tilt": tilt, "side": side},
        )
