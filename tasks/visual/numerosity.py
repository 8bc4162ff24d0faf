"""Delayed match to numerosity (Nieder, Freedman & Miller 2002)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError, unknown
from cordstasks.stimuli import CONTROLS, Display, Numerosity, numerosity
from cordstasks.tasks.registry import register_task
from cordstasks.tasks.visual.base import Condition, Trial
from cordstasks.tasks.visual.delayed_match import DelayedMatchTask, different_numbers, whether
from cordstasks.utils.arguments import plain, plain_fields

# What costs most to simulate: second tests, each of which follows another picture, and what follows samples. A third of the
# pictures serve as samples in training, since any test can follow a sample.
_SECOND_TESTS, _SAMPLED = 0.2, 1 / 3
_PICTURE = 3  # stream of a pool's seed
_HELD_OUT = ("equal_area", "low_density", "high_density")


@register_task
@dataclass(frozen=True)
class NumerosityTask(DelayedMatchTask):
    """Say whether a test display holds as many dots as the sample did.

    A sample of 1-5 dots, a delay, and a test with the same number of dots in half of the trials. On a match the lever is
    to be released; otherwise it is to be held through the test and released at the second test, which always matches.
    No two displays of a trial are the same picture. Nieder, Freedman & Miller 2002, Science 297: 1708-1711.

    Parameters
    ----------
    numbers : tuple of int
        Numbers of dots, of sample and test.
    controls : tuple of str
        Kinds of display, see `cordstasks.stimuli.Numerosity`.
    training_controls : tuple of str
        Those that a network is trained on. Those of equal area and of density are left out: on these it is to show that it
        counts.
    mixed_controls : bool
        The test is of any of the kinds, rather than of the sample's. In training it is, so that the number is all that two
        displays that match have in common.
    pictures : int
        Different pictures of each number and kind. Trials of one seed share them.
    pool : int
        Names the pool that pictures are from. Sampling sets it to the seed, so two seeds share no picture.
    training_pictures : int
        As many for a network to be trained on.
    sampled : float
        Fraction of the pictures that samples are of; tests are of all.
    fixation, sample_time, delay, test, second_delay, second_test, second_tests, two_choices, spot, display :
        See `cordstasks.tasks.visual.delayed_match.DelayedMatchTask`.
    disc, diameters, gap, total_area, total_circumference, spacings, luminance :
        See `cordstasks.stimuli.Numerosity`.
    """

    id: ClassVar[str] = "numerosity"
    report: ClassVar[Any] = "cordstasks.reports.numerosity"
    environment: ClassVar[str | None] = "Numerosity"
    also: ClassVar[Mapping[str, type]] = {"test": float, "test_control": str}
    decided_by: ClassVar[tuple[str, ...]] = ("test",)
    run_defaults: ClassVar[Mapping[str, Any]] = {
        **DelayedMatchTask.run_defaults,
        "trials": 2000,
        "heldout": 280,
        "steps": 600,
        "areas": 3,  # sees number as well as the last area, and takes half the time
        "side": 4,
    }

    numbers: tuple[int, ...] = (1, 2, 3, 4, 5)
    controls: tuple[str, ...] = CONTROLS
    training_controls: tuple[str, ...] = tuple(control for control in CONTROLS if control not in _HELD_OUT)
    mixed_controls: bool = False
    pictures: int = 25
    training_pictures: int = 120
    sampled: float = 1.0
    pool: int = 0
    disc: float = 6.0
    diameters: tuple[float, float] = (0.5, 0.9)
    gap: float = 0.2
    total_area: float = 1.2
    total_circumference: float = 6.0
    spacings: tuple[float, float] = (2.1, 1.2)
    luminance: tuple[float, float] = (0.5, 0.0)

    def __post_init__(self) -> None:
        if isinstance(plain(self.numbers), tuple):
            plain_fields(self, numbers="two or more whole numbers of at least 1")
        super().__post_init__()
        values = different_numbers("numbers", self.numbers)
        if len(values) < 2 or not all(value >= 1 and value == int(value) for value in values):
            raise InputError(f"numbers={self.numbers!r}: give two or more whole numbers of at least 1")
        object.__setattr__(self, "numbers", tuple(int(value) for value in values))
        for name in ("controls", "training_controls"):
            chosen = getattr(self, name)
            if not chosen:
                raise InputError(f"{name}={chosen!r}: give a tuple of names from {', '.join(CONTROLS)}")
            for control in chosen:
                if control not in CONTROLS:
                    raise unknown("control", control, CONTROLS)
        for name in ("pictures", "training_pictures"):
            value = getattr(self, name)
            if value < 2:
                raise InputError(f"{name}={value!r}: give a whole number of at least 2, for samples and tests differ")
        if not 0 < self.sampled <= 1:
            raise InputError(f"sampled={self.sampled!r}: give a fraction above 0, at most 1")
        for number, control in product({min(self.numbers), max(self.numbers)}, self.controls):
            _picture(self._display(number, control), self.display, 0, 0)  # tried now, not at the first trial

    @property
    def soft_targets(self) -> dict[str, NDArray[np.float64]]:
        """Numbers around the right one are nearly right, by a factor of e less for each dot of difference."""
        weight = np.exp(-np.abs(np.subtract.outer(self.numbers, self.numbers)).astype(float))
        table = weight / weight.sum(1, keepdims=True)
        return {"sample": table, "shown": table}

    def design(self) -> list[dict[str, Condition]]:
        """Match or not, each number as sample, and each kind of display."""
        return [
            {"match": match, "number": float(number), "control": control}
            for match, number, control in product((1.0, 0.0), self.numbers, self.controls)
        ]

    def for_training(self) -> NumerosityTask:
        """The same task with the kinds of display to train on, which sample and test need not have in common.

        It has more pictures, and fewer second tests.
        """
        return replace(
            self,
            controls=self.training_controls,
            mixed_controls=True,
            pictures=self.training_pictures,
            second_tests=_SECOND_TESTS,
            sampled=_SAMPLED,
        )

    def pooled(self, seed: int) -> NumerosityTask:
        """The task with the pool of pictures that `seed` names."""
        return replace(self, pool=int(seed))

    def _display(self, number: int, control: str) -> Numerosity:
        own = {f.name: getattr(self, f.name) for f in fields(Numerosity) if f.name not in ("number", "control")}
        return Numerosity(number, control, **own)

    def _picture(self, number: int, control: str, index: int) -> NDArray[np.uint8]:
        return _picture(self._display(number, control), self.display, self.pool, index)

    def trial(self, conditions: Mapping[str, Condition], rng: np.random.Generator) -> Trial:
        """One trial.

        `conditions` are ``match`` (1 or 0), ``number`` and ``control`` of the sample, and, where they are not to be drawn,
        ``test`` and ``test_control`` of the test.
        """
        match, number = whether(conditions), self._number("number", conditions["number"])
        control = self._control("control", conditions["control"])
        others = [other for other in self.numbers if other != number]
        other = others[rng.integers(len(others))]
        kinds = self.controls if self.mixed_controls else (control,)
        kind = kinds[rng.integers(len(kinds))]
        test_control = self._control("test_control", conditions.get("test_control", kind))
        test = self._number("test", conditions.get("test", number if match else other))
        if match is not None and match != (test == number):
            raise InputError(f"match={int(match)}, number={number}, test={test}: they contradict each other; leave one out")
        index = int(rng.integers(max(1, round(self.sampled * self.pictures))))
        pictures = {
            "sample": self._picture(number, control, index),
            "test": self._picture(test, test_control, self._another(index, rng)),
            "second_test": self._picture(number, test_control, self._another(index, rng)),
        }
        shown: dict[str, Condition] = {
            "match": float(test == number),
            "number": float(number),
            "control": control,
            "test": float(test),
            "test_control": test_control,
        }
        classes = {"sample": self.numbers.index(number), "test": self.numbers.index(test)}
        return self._assembled(pictures, {**classes, "second_test": classes["sample"]}, shown, rng)

    def _another(self, index: int, rng: np.random.Generator) -> int:
        """The number of a picture other than that."""
        return int((index + 1 + rng.integers(self.pictures - 1)) % self.pictures)

    def _number(self, name: str, value: Condition) -> int:
        if value not in self.numbers:
            raise InputError(f"{name}={value!r}: choose one of the task's numbers {self.numbers}")
        return int(value)

    def _control(self, name: str, value: Condition) -> str:
        if value not in self.controls:
            raise unknown(f"{name} of this task", value, self.controls)
        return str(value)


@lru_cache(maxsize=2048)
def _picture(what: Numerosity, display: Display, pool: int, index: int) -> NDArray[np.uint8]:
    """Picture number `index` of a kind in the pool of that name."""
    rng = np.random.default_rng([pool, _PICTURE, index, what.number, CONTROLS.index(what.control)])
    return numerosity(what, display, rng=rng)
