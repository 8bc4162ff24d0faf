"""Random-dot motion discrimination (Roitman & Shadlen 2002)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError
from cordstasks.stimuli import Display, Movie, RandomDots, discs, join, random_dots
from cordstasks.tasks.registry import register_task
from cordstasks.tasks.timing import Duration, check_duration, draw_duration, timeline
from cordstasks.tasks.visual.base import Condition, Trial, VisualTask
from cordstasks.utils.arguments import plain_fields, whole

COHERENCES = (0.0, 0.032, 0.064, 0.128, 0.256, 0.512)
MOTION, MOTION_UNTIL_ANSWERED = 500.0, 1500.0  # ms, unless another duration is given


@register_task
@dataclass(frozen=True)
class RandomDotsTask(VisualTask):
    """Say in which direction a cloud of random dots moves.

    After fixation, dots move with a coherence and in one of the directions; then, when the fixation spot goes off, the
    direction is to be reported. In the reaction-time variant it may be reported at any time from motion onset on.
    Roitman & Shadlen 2002, J. Neurosci. 22: 9475-9489.

    Parameters
    ----------
    coherences : tuple of float
        Fractions of dots that move together.
    training_coherences : tuple of float
        Those of the trials that a network learns from, as animals learn from strong motion first.
    paired : bool
        Every second trial shows the dots of the one before it in reversed order, which is motion in the opposite direction
        with the same probabilities: what does not depend on the order of frames then says nothing about the answer. Needs
        two opposite directions.
    directions : tuple of float
        In deg, 0 rightward and counter-clockwise; one action each.
    fixation, motion, delay, choice : float or (float, float)
        Durations in ms, or (shortest, longest) of a uniform distribution. The experiment showed motion for up to 1000 ms;
        the default is half of it, 500 ms, since every frame of motion must be simulated. With `reaction_time` it is
        1500 ms: in the experiment motion then lasted until the answer.
    reaction_time : bool
        The answer may be given from motion onset on.
    display : Display
        The screen.
    aperture, density, speed, dot_size, sets, blur, peak :
        See `cordstasks.stimuli.RandomDots`.
    spot : float
        Diameter of the fixation spot in deg; 0 for none.
    targets : float
        Diameter of the choice targets in deg, at `target_eccentricity` deg along each direction; 0 for none.
    """

    id: ClassVar[str] = "rdm"
    stimulus: ClassVar[str] = "motion"
    stationary: ClassVar[bool] = True
    report: ClassVar[Any] = "cordstasks.reports.random_dots"
    environment: ClassVar[str | None] = "RandomDots"
    run_defaults: ClassVar[Mapping[str, Any]] = {
        "trials": 480,  # each a movie of its own, which is what takes the time
        "areas": 1,  # early areas keep place and see motion, as those do that drive MT
        "side": 8,
        "heldout": 420,
        "validation": 64,
        "steps": 1500,
        "batch": 64,  # mixed trials are new in every batch, so more batches serve better than larger ones
        "learning_rate": 4e-3,
        "tau": 50.0,  # ms; the evidence is in products of inputs 40 ms apart, which slower units blur
    }
    quick_defaults: ClassVar[Mapping[str, Any]] = {
        "trials": 160,
        "heldout": 60,
        "validation": 16,
        "steps": 300,
        "parameters": {"coherences": (0.0, 0.256, 1.0)},  # few trials, so strong motion
    }

    coherences: tuple[float, ...] = COHERENCES
    training_coherences: tuple[float, ...] = (0.512, 1.0)
    paired: bool = False
    directions: tuple[float, ...] = (0.0, 180.0)
    fixation: Duration = 300.0
    motion: Duration = None  # type: ignore[assignment]  # filled in, since it depends on reaction_time
    delay: Duration = 0.0
    choice: Duration = 100.0
    reaction_time: bool = False
    display: Display = field(default_factory=Display)
    aperture: float = 5.0
    density: float = 16.7
    speed: float = 5.0
    dot_size: float = 0.1
    sets: int = 3
    blur: float = 0.15
    peak: float | None = 1.0
    spot: float = 0.3
    targets: float = 0.6
    target_eccentricity: float = 3.3

    def __post_init__(self) -> None:
        if self.motion is None:
            object.__setattr__(self, "motion", MOTION_UNTIL_ANSWERED if self.reaction_time else MOTION)
        plain_fields(self)
        for name in ("fixation", "motion", "choice"):
            check_duration(name, getattr(self, name))
        check_duration("delay", self.delay, positive=False)
        for name in ("coherences", "training_coherences"):
            values = getattr(self, name)
            if not values or not all(0 <= c <= 1 for c in values):
                raise InputError(f"{name}={values!r}: give fractions from 0 to 1, such as 0.512 for 51.2 %")
        turned = [direction % 360 for direction in self.directions]
        if len(set(turned)) < 2 or len(set(turned)) < len(turned):
            raise InputError(f"directions={self.directions!r}: give two or more different directions in deg")
        if self.paired and not self._opposite():
            raise InputError(f"paired=True: needs two opposite directions, not {self.directions} (deg)")
        self._dots(0.0, 0.0)  # its parameters are checked now, not at the first trial
        self._background(spot=True)

    @property
    def actions(self) -> tuple[str, ...]:
        """Fixate, or choose one of the directions."""
        return ("fixate", *(f"{direction:g} deg" for direction in self.directions))

    @property
    def timing(self) -> dict[str, Duration]:
        """Durations of fixation, motion, delay and choice."""
        return {"fixation": self.fixation, "motion": self.motion, "delay": self.delay, "choice": self.choice}

    def design(self) -> list[dict[str, Condition]]:
        """Each coherence with each direction."""
        return [{"coherence": c, "direction": d} for c, d in product(self.coherences, self.directions)]

    def for_training(self) -> RandomDotsTask:
        """The same task at the coherences to train on, with paired trials if there are two opposite directions."""
        return replace(self, coherences=self.training_coherences, paired=self._opposite())

    def _opposite(self) -> bool:
        turn = (self.directions[0] - self.directions[1]) % 360
        return len(self.directions) == 2 and abs(turn - 180) < 1e-9

    def trials(self, count: int, *, seed: int, start: int = 0, **fixed: Condition) -> list[Trial]:
        """As for every task; see `paired`."""
        if not self.paired or "direction" in fixed:  # a pair holds both directions
            return super().trials(count, seed=seed, start=start, **fixed)
        start, count = whole("start", start, least=0), whole("trials", count, least=0)
        first = start // 2
        sources = super().trials((start + count + 1) // 2 - first, seed=seed, start=first, **fixed)
        both = [trial for source in sources for trial in (source, self._reversed(source))]
        return both[start - 2 * first :][:count]

    def _reversed(self, trial: Trial) -> Trial:
        """The trial with its dots in reversed order, which is motion in the opposite direction."""
        here = trial.answer - 1
        return replace(
            trial,
            movie=trial.movie.reversed(*trial.periods["motion"]),
            answer=2 - here,
            conditions={**trial.conditions, "direction": self.directions[1 - here]},
        )

    def _dots(self, coherence: float, direction: float) -> RandomDots:
        shared = {f.name: getattr(self, f.name) for f in fields(RandomDots) if f.name not in ("coherence", "direction")}
        return RandomDots(coherence=coherence, direction=direction, **shared)

    def _background(self, *, spot: bool) -> NDArray[np.uint8]:
        shown = []
        if self.targets:
            angles = np.deg2rad(self.directions)
            shown += [
                (self.target_eccentricity * np.cos(angle), self.target_eccentricity * np.sin(angle), self.targets)
                for angle in angles
            ]
        if self.spot and spot:
            shown.append((0.0, 0.0, self.spot))
        if not shown:
            return np.zeros((self.display.pixels, self.display.pixels, 1), np.uint8)
        x, y, diameter = np.array(shown).T
        return discs(self.display, x, y, diameter)

    def trial(self, conditions: Mapping[str, Condition], rng: np.random.Generator) -> Trial:
        """One trial; `conditions` are ``coherence`` (a fraction) and ``direction`` (deg, one of the task's)."""
        coherence, direction = float(conditions["coherence"]), float(conditions["direction"])
        if direction not in self.directions:
            raise InputError(f"direction={direction:g}: choose one of the task's directions {self.directions} (deg)")
        durations = {name: draw_duration(name, duration, rng) for name, duration in self.timing.items()}
        durations = {name: duration for name, duration in durations.items() if duration > 0}
        periods = timeline(durations)
        fixating, going = self._background(spot=True), self._background(spot=False)
        dots = random_dots(self._dots(coherence, direction), self.display, duration_ms=durations["motion"], rng=rng)
        # light adds up on a screen; the dots seldom meet the spot, and never the targets outside their aperture
        moving = np.maximum(dots.frames, fixating)
        parts = [
            Movie.still(fixating, durations["fixation"]),
            Movie(moving, dots.onsets_ms, duration_ms=dots.duration_ms, shown=dots.shown),
        ]
        if "delay" in durations:
            parts.append(Movie.still(fixating, durations["delay"]))
        parts.append(Movie.still(going, durations["choice"]))
        movie = join(parts)
        start, end = periods["choice"]
        return Trial(
            movie=movie,
            periods=periods,
            answer=1 + self.directions.index(direction),
            answer_window=(periods["motion"][0], end) if self.reaction_time else (start, end),
            answer_from=periods["motion"][0] if self.reaction_time else start,
            conditions={"coherence": coherence, "direction": direction},
        )
