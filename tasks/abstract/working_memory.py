"""Working memory of abstract items: two frequencies, two symbols, an angle.

Dubreuil, Valente, Beiran, Mastrogiuseppe & Ostojic 2022, Nature Neuroscience 25: 783-794, and for the angle Yang, Joglekar,
Song, Newsome & Wang 2019, Nature Neuroscience 22: 297-306.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError
from cordstasks.tasks.abstract.base import AbstractBatch, AbstractTask, Schedule, Values, one_of
from cordstasks.tasks.batch import FIXATE
from cordstasks.tasks.registry import register_task
from cordstasks.tasks.timing import Duration
from cordstasks.utils.arguments import plain_fields

HIGHEST = 10_000  # Hz; a frequency beyond is a slip


@register_task
@dataclass(frozen=True)
class ParametricWorkingMemoryTask(AbstractTask):
    """Compare two frequencies that a delay separates; the output should be their scaled difference.

    The pair is drawn uniformly from all pairs of whole numbers from `lowest` to `highest` whose difference is one of
    `differences` in either direction. Dubreuil et al. 2022, Nature Neuroscience 25: 783-794; the task is that of
    Romo et al. 1999, Nature 399: 470-473.

    Parameters
    ----------
    fixation, first, delay, second, decision : float or (float, float)
        Durations in ms, or (shortest, longest).
    lowest, highest : int
        Frequencies in Hz.
    differences : tuple of int
        Absolute differences in Hz.
    noise, catch : float
        See `cordstasks.tasks.AbstractTask`.
    """

    id: ClassVar[str] = "parametric-wm"
    environment: ClassVar[str | None] = "ParametricWorkingMemory"
    channels: ClassVar[tuple[str, ...]] = ("frequency",)
    sensory: ClassVar[int] = 1
    measure: ClassVar[str] = "R2"
    criterion: ClassVar[float] = 0.9

    noise: float = 0.01
    fixation: Duration = 100.0
    first: Duration = 100.0
    delay: Duration = (500.0, 1000.0)
    second: Duration = 100.0
    decision: Duration = 100.0
    lowest: int = 10
    highest: int = 34
    differences: tuple[int, ...] = (8, 16, 24)

    def __post_init__(self) -> None:
        asked = f"a whole number of Hz, from 0 to {HIGHEST}"
        plain_fields(self, lowest=asked, highest=asked)
        super().__post_init__()
        self._check_levels("differences")
        for name in ("lowest", "highest"):
            if not 0 <= getattr(self, name) <= HIGHEST:
                raise InputError(f"{name}={getattr(self, name)!r}: give {asked}")
        if not self.lowest < self.highest:
            raise InputError(f"lowest={self.lowest!r}: must be below highest={self.highest!r}")
        if not len(self._pairs()):
            raise InputError(f"differences={self.differences!r}: none fits between {self.lowest} and {self.highest} Hz")

    @property
    def timing(self) -> dict[str, Duration]:
        """Durations of fixation, first frequency, delay, second frequency and decision."""
        return {name: getattr(self, name) for name in ("fixation", "first", "delay", "second", "decision")}

    def _pairs(self) -> NDArray[np.float64]:
        """All pairs of frequencies (pair, 2)."""
        apart = sorted({sign * int(step) for step in self.differences for sign in (-1, 1) if step == int(step)})
        first = range(self.lowest, self.highest + 1)
        pairs = [(a, a + step) for a in first for step in apart if self.lowest <= a + step <= self.highest]
        return np.array(pairs, float).reshape(-1, 2)

    def draw(self, trials: int, rng: np.random.Generator) -> dict[str, Values]:
        """``f1`` and ``f2`` in Hz."""
        f1, f2 = self._pairs()[rng.integers(0, len(self._pairs()), trials)].T.copy()
        return {"f1": f1, "f2": f2}

    def design(self) -> list[dict[str, float]]:
        """Each pair."""
        return [{"f1": float(f1), "f2": float(f2)} for f1, f2 in self._pairs()]

    def show(self, inputs: NDArray[np.float32], conditions: Mapping[str, Values], schedule: Schedule) -> None:
        """Each frequency in its period, centred and scaled to within one half of zero."""
        middle, span = (self.lowest + self.highest) / 2, self.highest - self.lowest
        for name, period in (("f1", "first"), ("f2", "second")):
            schedule.add(inputs[..., 0], schedule.between(period), (conditions[name] - middle) / span)

    def target_outputs(self, conditions: Mapping[str, Values]) -> NDArray[np.float32]:
        """The difference of the frequencies over their span."""
        difference = (conditions["f1"] - conditions["f2"]) / (self.highest - self.lowest)
        return difference.astype(np.float32)[:, None]


@register_task
@dataclass(frozen=True)
class DelayedMatchToSampleTask(AbstractTask):
    """Say whether the second of two symbols is the same as the first: positive if so, negative if not.

    Dubreuil et al. 2022, Nature Neuroscience 25: 783-794.

    Parameters
    ----------
    fixation, first, delay, second, decision : float or (float, float)
        Durations in ms, or (shortest, longest).
    strength : float
        Input of the channel whose symbol is shown.
    noise, catch : float
        See `cordstasks.tasks.AbstractTask`.
    """

    id: ClassVar[str] = "dms"
    environment: ClassVar[str | None] = "DelayedMatchToSample"
    channels: ClassVar[tuple[str, ...]] = ("A", "B")
    sensory: ClassVar[int] = 2

    noise: float = 0.03
    fixation: Duration = 100.0
    first: Duration = 500.0
    delay: Duration = (500.0, 3000.0)
    second: Duration = 500.0
    decision: Duration = 1000.0
    strength: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_least(strength=0)

    @property
    def timing(self) -> dict[str, Duration]:
        """Durations of fixation, first symbol, delay, second symbol and decision."""
        return {name: getattr(self, name) for name in ("fixation", "first", "delay", "second", "decision")}

    def draw(self, trials: int, rng: np.random.Generator) -> dict[str, Values]:
        """``sample`` and ``test``: 0 is A and 1 is B."""
        return {"sample": rng.integers(0, 2, trials), "test": rng.integers(0, 2, trials)}

    def design(self) -> list[dict[str, float]]:
        """Each pair of symbols."""
        return [{"sample": s, "test": t} for s, t in product((0.0, 1.0), (0.0, 1.0))]

    def show(self, inputs: NDArray[np.float32], conditions: Mapping[str, Values], schedule: Schedule) -> None:
        """Each symbol in its period, in its channel."""
        for name, period in (("sample", "first"), ("test", "second")):
            when = schedule.between(period)
            for channel in (0, 1):
                schedule.add(inputs[..., channel], when, self.strength * (conditions[name] == channel))

    def target_outputs(self, conditions: Mapping[str, Values]) -> NDArray[np.float32]:
        """1 for the same, -1 for different symbols."""
        return np.where(conditions["sample"] == conditions["test"], 1, -1).astype(np.float32)[:, None]

    def check(self, conditions: Mapping[str, Values]) -> None:
        """Symbols are 0 and 1."""
        one_of(conditions, "sample", (0, 1))
        one_of(conditions, "test", (0, 1))

    def curriculum(self) -> tuple[AbstractTask, ...]:
        """Delays that grow: networks that cannot yet hold a symbol learn nothing from long ones."""
        return self.with_delays((100.0, 300.0), (300.0, 1000.0))


@register_task
@dataclass(frozen=True)
class MemoryProTask(AbstractTask):
    """Remember an angle and report it when the fixation input goes off.

    The angle comes as its cosine and sine, and so it is to be reported; until then both outputs should be zero, at a tenth
    of the weight. After the delayed-response task of Yang et al. 2019, Nature Neuroscience 22: 297-306.

    Parameters
    ----------
    fixation, stimulus, delay, response : float or (float, float)
        Durations in ms, or (shortest, longest).
    locations : int
        Number of equally spaced angles; 0 for any angle on the circle.
    strength : float
        Length of the stimulus vector.
    noise, catch : float
        See `cordstasks.tasks.AbstractTask`. The noise is on cosine and sine.
    """

    id: ClassVar[str] = "memory-pro"
    environment: ClassVar[str | None] = "MemoryPro"
    channels: ClassVar[tuple[str, ...]] = ("cosine", "sine", "fixation")
    sensory: ClassVar[int] = 2
    outputs: ClassVar[int] = 2
    measure: ClassVar[str] = "R2"
    criterion: ClassVar[float] = 0.9
    fixation_weight: ClassVar[float] = 0.1
    sectors: ClassVar[int] = 8  # that actions tell apart where the angle is continuous

    noise: float = 0.05
    fixation: Duration = 300.0
    stimulus: Duration = 500.0
    delay: Duration = (500.0, 2000.0)
    response: Duration = 500.0
    locations: int = 0
    strength: float = 1.0

    def __post_init__(self) -> None:
        asked = "0 for any angle, or a number of at least 2"
        plain_fields(self, locations=asked)
        super().__post_init__()
        self._check_least(strength=0)
        if self.locations < 0 or self.locations == 1:
            raise InputError(f"locations={self.locations!r}: give {asked}")

    @property
    def timing(self) -> dict[str, Duration]:
        """Durations of fixation, stimulus, delay and response."""
        return {name: getattr(self, name) for name in ("fixation", "stimulus", "delay", "response")}

    @property
    def actions(self) -> tuple[str, ...]:
        """Fixate, or look to one of the locations (for continuous angles, the nearest of eight)."""
        number = self.locations or self.sectors
        return ("fixate", *(f"{360 * location / number:g} deg" for location in range(number)))

    def draw(self, trials: int, rng: np.random.Generator) -> dict[str, Values]:
        """``angle`` in deg."""
        if self.locations:
            return {"angle": 360 / self.locations * rng.integers(0, self.locations, trials)}
        return {"angle": 360 * rng.random(trials)}

    def design(self) -> list[dict[str, float]]:
        """Each location, or eight of them."""
        number = self.locations or self.sectors
        return [{"angle": 360 * location / number} for location in range(number)]

    def show(self, inputs: NDArray[np.float32], conditions: Mapping[str, Values], schedule: Schedule) -> None:
        """The angle during the stimulus, and the fixation input until the response."""
        vector = self.target_outputs(conditions)
        stimulus = schedule.between("stimulus")
        for channel in (0, 1):
            schedule.add(inputs[..., channel], stimulus, self.strength * vector[:, channel])
        schedule.add(inputs[..., 2], schedule.between("fixation", "delay"), 1)

    def target_outputs(self, conditions: Mapping[str, Values]) -> NDArray[np.float32]:
        """Cosine and sine of the angle."""
        angle = np.deg2rad(conditions["angle"])
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)

    def check(self, conditions: Mapping[str, Values]) -> None:
        """Any finite angle will do, unless there are locations: then one of those."""
        if self.locations and "angle" in conditions:
            location = conditions["angle"] * self.locations / 360
            if not np.allclose(location, np.round(location), atol=1e-9):
                wrong = conditions["angle"][~np.isclose(location, np.round(location), atol=1e-9)][0]
                raise InputError(
                    f"angle={wrong:g}: choose a multiple of {360 / self.locations:g} deg, as locations={self.locations}"
                )

    def answers(self, conditions: Mapping[str, Values]) -> NDArray[np.int64]:
        """The location, or the nearest of eight."""
        number = self.locations or self.sectors
        return FIXATE + 1 + np.round(conditions["angle"] * number / 360).astype(np.int64) % number

    def angular_errors(self, outputs: NDArray[Any], batch: AbstractBatch) -> NDArray[np.float64]:
        """Angle between reported and right direction in deg, from 0 to 180, (trial,).

        Returns
        -------
        ndarray of shape (trial,), float64
            In deg, without catch trials.
        """
        given, right = (vectors[:, 0] + 1j * vectors[:, 1] for vectors in self.responses(outputs, batch))
        return np.rad2deg(np.abs(np.angle(given * right.conj())))

    def curriculum(self) -> tuple[AbstractTask, ...]:
        """Delays that grow."""
        return self.with_delays((100.0, 300.0), (300.0, 1000.0))
