"""What delayed match-to-sample tasks share: a sample, a delay, a test that matches or not, and if not a second that does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError
from cordstasks.stimuli import Display, Movie, discs, join
from cordstasks.tasks.batch import FIXATE
from cordstasks.tasks.timing import Duration, check_duration, draw_duration, timeline
from cordstasks.tasks.visual.base import Condition, Trial, VisualTask
from cordstasks.utils.arguments import plain_fields

RELEASE = 1  # the lever, on a match


@dataclass(frozen=True)
class DelayedMatchTask(VisualTask):
    """A sample, a delay, and a test: release a lever if the test matches the sample.

    If it does not, hold the lever through the test and release it at the second test, which always matches.

    Parameters
    ----------
    fixation, sample_time, delay, test, second_delay, second_test : float or (float, float)
        Durations in ms, or (shortest, longest) of a uniform distribution. Without a second test (0 ms) a trial that does not
        match ends when it has been held through the test.
    second_tests : float
        Fraction of the trials that do not match which go on to the second test; the others end with the test.
    two_choices : bool
        Answer in the test with one of two actions, match or nonmatch, and have no second test.
    spot : float
        Diameter of the fixation spot in deg, shown whenever no picture is; 0 for none.
    display : Display
        The screen.
    """

    stimulus: ClassVar[str] = "sample"
    compared: ClassVar[str | None] = "test"
    optional: ClassVar[tuple[str, ...]] = ("second_delay", "second_test")
    decided_by: ClassVar[tuple[str, ...]] = ()
    """Conditions that settle whether the test matches."""

    fixation: Duration = 500.0
    sample_time: Duration = 800.0
    delay: Duration = 1000.0
    test: Duration = 1200.0
    second_delay: Duration = 0.0
    second_test: Duration = 1200.0
    second_tests: float = 1.0
    two_choices: bool = False
    spot: float = 0.3
    display: Display = field(default_factory=Display)

    def __post_init__(self) -> None:
        plain_fields(self)
        for name, duration in self._durations().items():
            check_duration(name, duration, positive=name in ("fixation", "sample", "test"))
        if not 0 <= self.second_tests <= 1:
            raise InputError(f"second_tests={self.second_tests!r}: give a fraction from 0 to 1")
        self._rest()

    @property
    def actions(self) -> tuple[str, ...]:
        """Fixate with the lever held, or release it; or one of two answers."""
        return ("fixate", "match", "nonmatch") if self.two_choices else ("fixate", "release")

    @property
    def options(self) -> tuple[int, ...]:
        """Hold or release; or match and nonmatch."""
        return (1, 2) if self.two_choices else (FIXATE, RELEASE)

    @property
    def timing(self) -> dict[str, Duration]:
        """Durations of the periods; only trials that do not match have the second ones."""
        return {
            name: duration for name, duration in self._durations().items() if name not in self.optional or self._has_second()
        }

    def _durations(self) -> dict[str, Duration]:
        return {
            "fixation": self.fixation,
            "sample": self.sample_time,
            "delay": self.delay,
            "test": self.test,
            "second_delay": self.second_delay,
            "second_test": self.second_test,
        }

    def _has_second(self) -> bool:
        return not self.two_choices and self.second_test != 0

    def complete(self, given: Mapping[str, Condition], drawn: Mapping[str, Condition]) -> dict[str, Condition]:
        """As for every task; where the test is given, whether it matches follows from it, unless that is given too."""
        completed = super().complete(given, drawn)
        if "match" not in given and set(given) & set(self.decided_by):
            del completed["match"]
        return completed

    def _rest(self) -> NDArray[np.uint8]:
        """What the screen shows between pictures."""
        if not self.spot:
            return np.zeros((self.display.pixels, self.display.pixels, 1), np.uint8)
        return discs(self.display, 0, 0, self.spot)

    def _assembled(
        self,
        pictures: Mapping[str, NDArray[np.uint8]],
        kinds: Mapping[str, int],
        conditions: dict[str, Condition],
        rng: np.random.Generator,
    ) -> Trial:
        """The trial that shows ``pictures["sample"]``, ``"test"`` and, if need be, ``"second_test"``.

        `kinds` are the classes of these pictures: those of the same class match.
        """
        match = bool(conditions["match"])
        drawn = {name: draw_duration(name, duration, rng) for name, duration in self.timing.items()}
        ends = match or rng.random() >= self.second_tests
        durations = {
            name: duration for name, duration in drawn.items() if duration > 0 and not (ends and name in self.optional)
        }
        periods = timeline(durations)
        rest = self._rest()
        movie = join([Movie.still(pictures.get(name, rest), duration) for name, duration in durations.items()])
        window = periods["test"]
        if self.two_choices:
            answer, targets = (1 if match else 2), None
        elif match:
            answer, targets = RELEASE, None
        else:
            answer = FIXATE
            targets = ((*periods["second_test"], RELEASE),) if "second_test" in periods else ()
        shown = [("shown", *periods[name], kind) for name, kind in kinds.items() if name in periods]
        return Trial(
            movie=movie,
            periods=periods,
            answer=answer,
            answer_window=window,
            answer_from=window[0],
            conditions=conditions,
            targets=targets,
            auxiliary=(("sample", periods["sample"][0], movie.duration_ms, kinds["sample"]), *shown),
        )


def whether(conditions: Mapping[str, Condition]) -> bool | None:
    """Whether the test is to match; None where the conditions leave it to the test.

    Returns
    -------
    bool or None
        See above.

    Raises
    ------
    InputError
        If ``match`` is neither 0 nor 1.
    """
    match = conditions.get("match")
    if match not in (None, 0, 1):
        raise InputError(f"match={match!r}: give 1 for a test that matches, or 0")
    return None if match is None else bool(match)


def different_numbers(name: str, values: tuple[float, ...]) -> tuple[float, ...]:
    """`values` as floats, or an InputError when they are not one or more different numbers.

    Returns
    -------
    tuple of float
        In their order.

    Raises
    ------
    InputError
        If they are not; the message names the parameter.
    """
    if not values:
        raise InputError(f"{name}={values!r}: give a tuple of numbers")
    if len(set(values)) < len(values):
        raise InputError(f"{name}={values!r}: give different values")
    return tuple(float(value) for value in values)
