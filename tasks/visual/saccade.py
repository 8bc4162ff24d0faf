"""Memory-guided saccades (Funahashi, Bruce & Goldman-Rakic 1989)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError
from cordstasks.stimuli import Display, Movie, join, saccade_display
from cordstasks.tasks.registry import register_task
from cordstasks.tasks.timing import Duration, check_duration, draw_duration, timeline
from cordstasks.tasks.visual.base import Condition, Trial, VisualTask
from cordstasks.utils.arguments import plain_fields

_CONCENTRATION = 2.0  # of the soft targets around the location: half as probable 49 deg away


@register_task
@dataclass(frozen=True)
class MemorySaccadeTask(VisualTask):
    """Look at where a cue was.

    During fixation a cue appears for a moment at one of several locations around; after a delay the fixation spot goes off,
    and the location is to be reported. Funahashi, Bruce & Goldman-Rakic 1989, J. Neurophysiol. 61: 331-349. The location is
    also a number: `cordstasks.analysis.population_angle` reads it from the network, in deg.

    Parameters
    ----------
    locations : tuple of float
        Polar angles of the locations in deg, 0 rightward and counter-clockwise; one action each.
    delays : tuple of float
        In ms; each is tested equally often.
    training_delays : tuple of float
        Those that a network is trained on; many, so that when to answer cannot be foreseen.
    fixation, cue, response : float or (float, float)
        Durations in ms, or (shortest, longest) of a uniform distribution.
    eccentricity : float
        Of the locations, in deg.
    cue_size, spot : float
        Diameters of the cue and of the fixation spot, in deg.
    display : Display
        The screen.
    """

    id: ClassVar[str] = "saccade"
    stimulus: ClassVar[str] = "cue"
    report: ClassVar[Any] = "cordstasks.reports.saccade"
    environment: ClassVar[str | None] = "MemorySaccade"
    run_defaults: ClassVar[Mapping[str, Any]] = {
        **VisualTask.run_defaults,
        **{"trials": 2000, "steps": 400, "areas": 3, "side": 4},
    }

    locations: tuple[float, ...] = (0.0, 45.0, 90.0, 135.0, 180.0, 225.0, 270.0, 315.0)
    delays: tuple[float, ...] = (1500.0, 3000.0, 6000.0)
    training_delays: tuple[float, ...] = tuple(float(delay) for delay in range(500, 3001, 100))
    fixation: Duration = 750.0
    cue: Duration = 500.0
    response: Duration = 500.0
    eccentricity: float = 13.0
    cue_size: float = 1.0
    spot: float = 1.0
    display: Display = field(default_factory=lambda: Display(field_of_view=32.0))

    def __post_init__(self) -> None:
        asked = "durations in ms, such as (1500.0, 3000.0)"
        angles = "angles in deg, such as (0.0, 120.0, 240.0)"
        plain_fields(self, locations=angles, delays=asked, training_delays=asked)
        for name in ("fixation", "cue", "response"):
            check_duration(name, getattr(self, name))
        for name in ("delays", "training_delays"):
            delays = getattr(self, name)
            if not delays:
                raise InputError(f"{name}={delays!r}: give durations in ms, such as (1500.0, 3000.0)")
            for delay in delays:
                check_duration(name, delay)
        turned = [location % 360 for location in self.locations]
        if len(set(turned)) < 2 or len(set(turned)) < len(turned):
            raise InputError(f"locations={self.locations!r}: give two or more different angles in deg")
        for location in self.locations:
            self._cued(location)

    @property
    def actions(self) -> tuple[str, ...]:
        """Fixate, or look at one of the locations."""
        return ("fixate", *(f"{location:g} deg" for location in self.locations))

    @property
    def soft_targets(self) -> dict[str, NDArray[np.float64]]:
        """Locations around the right one are nearly right, as a von Mises function of the angle between them says."""
        apart = np.deg2rad(np.subtract.outer(self.locations, self.locations))
        weight = np.exp(_CONCENTRATION * (np.cos(apart) - 1))
        return {"location": weight / weight.sum(1, keepdims=True)}

    @property
    def timing(self) -> dict[str, Duration]:
        """Durations of fixation, cue, delay and response; of several delays, the shortest and the longest."""
        shortest, longest = min(self.delays), max(self.delays)
        delay = shortest if shortest == longest else (shortest, longest)
        return {"fixation": self.fixation, "cue": self.cue, "delay": delay, "response": self.response}

    def design(self) -> list[dict[str, Condition]]:
        """Each location with each delay."""
        return [{"location": location, "delay": delay} for location, delay in product(self.locations, self.delays)]

    def for_training(self) -> MemorySaccadeTask:
        """The same task with the delays to train on."""
        return replace(self, delays=self.training_delays)

    def _cued(self, location: float) -> NDArray[np.uint8]:
        return saccade_display(
            self.display, angle=location, eccentricity=self.eccentricity, cue=self.cue_size, spot=self.spot
        )

    def trial(self, conditions: Mapping[str, Condition], rng: np.random.Generator) -> Trial:
        """One trial; `conditions` are ``location`` (deg, one of the task's) and ``delay`` (ms)."""
        location, delay = float(conditions["location"]), float(conditions["delay"])
        if location not in self.locations:
            raise InputError(f"location={location:g}: choose one of the task's locations {self.locations} (deg)")
        check_duration("delay", delay)
        durations = {name: draw_duration(name, duration, rng) for name, duration in self.timing.items()}
        periods = timeline({**durations, "delay": delay})
        fixating = saccade_display(self.display, spot=self.spot)
        movie = join(
            [
                Movie.still(fixating, durations["fixation"]),
                Movie.still(self._cued(location), durations["cue"]),
                Movie.still(fixating, delay),
                Movie.still(saccade_display(self.display, spot=0), durations["response"]),
            ]
        )
        return Trial(
            movie=movie,
            periods=periods,
            answer=1 + self.locations.index(location),
            answer_window=periods["response"],
            answer_from=periods["response"][0],
            conditions={"location": location, "delay": delay},
            auxiliary=(("location", periods["cue"][0], periods["response"][1], self.locations.index(location)),),
        )
