"""Delayed match to category (Freedman, Riesenhuber, Poggio & Miller 2001)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError, unknown
from cordstasks.stimuli import Display, ImageFolder
from cordstasks.tasks.registry import register_task
from cordstasks.tasks.timing import Duration
from cordstasks.tasks.visual.base import Condition, Trial
from cordstasks.tasks.visual.delayed_match import DelayedMatchTask, different_numbers, whether
from cordstasks.tasks.visual.morphs import (
    ALL_LINES,
    Picture,
    drawn_image,
    drawn_pictures,
    file_image,
    file_pictures,
    open_folder,
)

PARTS = ("all", "training", "heldout")


@register_task
@dataclass(frozen=True)
class CatDogTask(DelayedMatchTask):
    """Say whether a test animal is of the sample's category: both cats, or both dogs.

    The animals are blends of three cats and three dogs, along nine morph lines between the categories and six within;
    what is less than half dog is a cat. On a match the lever is to be released; otherwise it is to be held through the
    test and released at the second test, after a second delay, which always matches. The pictures of a trial never show
    the same blend, so that what matches is the category. Freedman, Riesenhuber, Poggio & Miller 2001, Science 291: 312-316.

    Parameters
    ----------
    lines : tuple of str, optional
        Names of the morph lines that pictures are from, such as ``"tabby-hound"``; None for all.
    heldout_lines : tuple of str, optional
        Those that a network is not trained on.
    levels : tuple of float
        Fractions of a line's second animal.
    boundary : float
        The fraction of dog from which on a blend is a dog. No level may lie on it.
    pictures : int
        Different pictures of each blend, which differ in place and size. Trials of one seed share them.
    size, size_jitter : float
        Side of a picture in deg, and by which fraction it varies.
    location_jitter : float
        How far from the centre pictures are, at most, in deg along each axis.
    colour : bool
        Show the animals in colour.
    stimuli_dir : str, optional
        A folder of pictures of your own instead, see `cordstasks.stimuli.ImageFolder`: shown as they are, `size` deg large,
        and read again once their files have changed. A relative path is made absolute. Lines and levels are then those of
        its table; without lines in it, all are of one line, ``"all"``.
    part : str
        Which of your own pictures to show: ``"all"``, or for ``"training"`` four of five, or the ``"heldout"`` rest.
    pool : int
        Names the pool that pictures are from. Sampling sets it to the seed, so two seeds share no picture.
    fixation, sample_time, delay, test, second_delay, second_test, second_tests, two_choices, spot, display :
        See `cordstasks.tasks.visual.delayed_match.DelayedMatchTask`.
    """

    id: ClassVar[str] = "catdog"
    report: ClassVar[Any] = "cordstasks.reports.catdog"
    environment: ClassVar[str | None] = "CatDog"
    also: ClassVar[Mapping[str, type]] = {"test_line": str, "test_morph": float}
    decided_by: ClassVar[tuple[str, ...]] = ("test_line", "test_morph")
    run_defaults: ClassVar[Mapping[str, Any]] = {**DelayedMatchTask.run_defaults, "steps": 400, "areas": 3, "side": 4}

    lines: tuple[str, ...] | None = None
    heldout_lines: tuple[str, ...] | None = None
    levels: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    boundary: float = 0.5
    pictures: int = 8
    size: float = 4.2
    size_jitter: float = 0.08
    location_jitter: float = 0.25
    colour: bool = True
    stimuli_dir: str | None = None
    part: str = "all"
    pool: int = 0
    sample_time: Duration = 600.0
    test: Duration = 600.0
    second_delay: Duration = 600.0
    second_test: Duration = 600.0
    display: Display = field(default_factory=lambda: Display(field_of_view=6.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heldout_lines is None:
            object.__setattr__(self, "heldout_lines", () if self.stimuli_dir else _HELD_OUT)
        if self.stimuli_dir is not None:
            object.__setattr__(self, "stimuli_dir", str(self._folder.folder))
            # what photographs show is known to late areas only; the animals drawn here differ in shapes that early ones see
            object.__setattr__(self, "run_defaults", {**self.run_defaults, "areas": None, "side": None})
        different_numbers("levels", self.levels)
        if not all(0 <= level <= 1 and level != self.boundary for level in self.levels) or not 0 < self.boundary < 1:
            raise InputError(
                f"levels={self.levels!r}, boundary={self.boundary!r}: give levels from 0 to 1 that are not the boundary"
            )
        if self.pictures < 1:
            raise InputError(f"pictures={self.pictures!r}: give a whole number of at least 1")
        if not 0 <= self.size_jitter < 1 or not self.location_jitter >= 0:
            raise InputError(
                f"size_jitter={self.size_jitter!r}, location_jitter={self.location_jitter!r}: give a fraction and deg, both "
                "at least 0"
            )
        if self.part not in PARTS:
            raise unknown("part", self.part, PARTS)
        for name in ("lines", "heldout_lines"):
            self._known(name, getattr(self, name))
        self._check_pictures()

    def _known(self, name: str, lines: tuple[str, ...] | None) -> None:
        if lines is None:
            return
        for line in lines:
            if line not in self.all_lines():
                raise unknown(f"line in {name}", line, self.all_lines())

    def _check_pictures(self) -> None:
        """Raise an InputError unless there are three pictures of each category to make trials of, and they can be shown."""
        for category in (0, 1):
            different = {picture.stimulus for picture in self._pictures() if picture.category == category}
            if len(different) < 3:
                where = f"stimuli_dir {self.stimuli_dir} (part {self.part})" if self.stimuli_dir else "lines and levels"
                raise InputError(
                    f"{where}: {len(different)} different pictures of category {category + 1}; a trial needs 3 of each"
                )
        largest = self.size * (1 + self.size_jitter) / 2 + self.location_jitter if not self.stimuli_dir else self.size / 2
        if not 0 < 2 * largest <= self.display.field_of_view + 1e-9:
            raise InputError(
                f"size={self.size:g}: with its jitter a picture takes {2 * largest:.3g} deg, and the screen has "
                f"{self.display.field_of_view:g} deg; give a smaller size, or a Display with a wider field_of_view"
            )

    @cached_property
    def _folder(self) -> ImageFolder:
        """Your own pictures, as the folder was when the task was made; `pooled` makes it anew for each sample."""
        return open_folder(str(self.stimuli_dir))

    def all_lines(self) -> tuple[str, ...]:
        """Names of every morph line there is.

        Returns
        -------
        tuple of str
            Each once.
        """
        if self.stimuli_dir is None:
            return ALL_LINES
        return tuple(dict.fromkeys(picture.line for picture in file_pictures(self._folder, "all")))

    def between(self, line: str) -> bool:
        """Whether a line leads from one category to the other.

        Returns
        -------
        bool
            False for a line within a category.
        """
        return len({picture.category for picture in self._every() if picture.line == line}) == 2

    def _every(self) -> tuple[Picture, ...]:
        if self.stimuli_dir is not None:
            return file_pictures(self._folder, self.part)
        return drawn_pictures(self.levels, self.boundary)

    def _pictures(self) -> list[Picture]:
        return [picture for picture in self._every() if self.lines is None or picture.line in self.lines]

    def design(self) -> list[dict[str, Condition]]:
        """Match or not, each line, and each level of it as sample."""
        blends = dict.fromkeys((picture.line, picture.morph) for picture in self._pictures())
        return [{"match": match, "morph": morph, "line": line} for match, (line, morph) in product((1.0, 0.0), blends)]

    def for_training(self) -> CatDogTask:
        """The same task without the held-out lines, and without the held-out pictures if they are your own."""
        held_out = self.heldout_lines or ()
        lines = tuple(line for line in self.lines or self.all_lines() if line not in held_out)
        return replace(self, lines=lines, part="training" if self.stimuli_dir else self.part)

    def for_testing(self) -> CatDogTask:
        """The same task; of your own pictures, those that it was not trained on."""
        return replace(self, part="heldout") if self.stimuli_dir else self

    def pooled(self, seed: int) -> CatDogTask:
        """The task with the pool of pictures that `seed` names."""
        return replace(self, pool=int(seed))

    def trial(self, conditions: Mapping[str, Condition], rng: np.random.Generator) -> Trial:
        """One trial.

        `conditions` are ``match`` (1 or 0), ``line`` and ``morph`` (fraction of the line's second animal) of the sample,
        and, where they are not to be drawn, ``test_line`` and ``test_morph`` of the test.
        """
        match = whether(conditions)
        known = self._pictures()
        samples = [p for p in known if p.line == conditions["line"] and p.morph == conditions["morph"]]
        if not samples:
            raise InputError(
                f"line={conditions['line']!r}, morph={conditions['morph']!r}: there is no such picture; "
                "choose a line and a level of the task"
            )
        sample = samples[rng.integers(len(samples))]
        others = [p for p in known if p.stimulus != sample.stimulus]
        tests = [
            p
            for p in others
            if conditions.get("test_line", p.line) == p.line
            and conditions.get("test_morph", p.morph) == p.morph
            and match in (None, p.category == sample.category)
        ]
        if not tests:
            raise InputError(
                f"test_line={conditions.get('test_line')!r}, test_morph={conditions.get('test_morph')!r}: there is no such "
                "picture for this sample; choose others, or leave out match"
            )
        test = tests[rng.integers(len(tests))]
        seconds = [p for p in others if p.category == sample.category and p.stimulus != test.stimulus]
        second = seconds[rng.integers(len(seconds))]
        chosen = {"sample": sample, "test": test, "second_test": second}
        pictures = {name: self._image(picture, int(rng.integers(self.pictures))) for name, picture in chosen.items()}
        shown: dict[str, Condition] = {
            "match": float(sample.category == test.category),
            "morph": sample.morph,
            "line": sample.line,
            "fraction": sample.fraction,
            "test_morph": test.morph,
            "test_line": test.line,
            "test_fraction": test.fraction,
        }
        return self._assembled(pictures, {name: picture.category for name, picture in chosen.items()}, shown, rng)

    def _image(self, picture: Picture, index: int) -> NDArray[np.uint8]:
        if self.stimuli_dir is not None:
            return file_image(self._folder, picture.stimulus, self.display, self.size)
        return drawn_image(
            picture.stimulus,
            self.display,
            size=self.size,
            size_jitter=self.size_jitter,
            location_jitter=self.location_jitter,
            colour=self.colour,
            pool=self.pool,
            index=index,
        )


_HELD_OUT = ("tabby-hound", "siamese-retriever", "persian-spaniel", "tabby-siamese", "hound-retriever")
