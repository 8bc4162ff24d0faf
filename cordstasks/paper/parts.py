"""The figures and tables of the paper, and the functions that make them. This module does not need torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cordstasks.errors import unknown
from cordstasks.paper.findings import Outcome

__all__ = ["PARTS", "Part", "Workplace", "chosen"]


@dataclass(frozen=True)
class Workplace:
    """How and where parts are made.

    Attributes
    ----------
    quick : bool
        Whether to use small settings, to see the whole way; conclusions need the full ones.
    device : str
        As for `cordstasks.runs.train`.
    bank : Path or bool or None
        As for `cordstasks.runs.train`.
    images : Path or None
        Folder of CIFAR-10 (``train/CLASS/`` and ``test/CLASS/``), which some parts need.
    """

    quick: bool = False
    device: str = "auto"
    bank: Path | bool | None = None
    images: Path | None = None


Maker = Callable[[Path, Workplace], Outcome]


@dataclass(frozen=True)
class Part:
    """A figure or table of the paper.

    Attributes
    ----------
    figure : str
        Its number in the paper, such as ``"1C"``.
    title : str
        What it is about.
    function : str
        ``module:name`` of the function that makes it, given its folder and a `Workplace`.
    seconds : (float, float)
        Seconds on two cores of the processor described in `cordstasks.paper.speed`, with small and with full settings.
    needs : tuple of str
        Attributes of `Workplace` that must be given.
    """

    figure: str
    title: str
    function: str
    seconds: tuple[float, float]
    needs: tuple[str, ...] = ()

    def maker(self) -> Maker:
        """The function that makes the part, imported."""
        module, _, name = self.function.partition(":")
        made: Maker = getattr(importlib.import_module(module), name)
        return made

    def lacks(self, workplace: Workplace) -> list[str]:
        """Names of what it needs and the workplace does not have."""
        return [name for name in self.needs if getattr(workplace, name) is None]


PARTS: tuple[Part, ...] = (
    Part("1B", "Regimes of random networks", "cordstasks.paper.dynamics:regimes", (20, 180)),
    Part(
        "1C",
        "Are convolutional networks closest to fully connected ones?",
        "cordstasks.paper.architectures:comparison",
        (150, 4500),
    ),
    Part("1D", "Attractors of trained memories", "cordstasks.paper.dynamics:attractors", (60, 400)),
    Part("2C", "What an image costs", "cordstasks.paper.robustness:cost", (20, 20)),
    Part("3", "Autonomous inference and noise", "cordstasks.paper.robustness:autonomy", (60, 1500), ("images",)),
    Part("4A", "Trajectories of two classes", "cordstasks.paper.dynamics:trajectories", (30, 240), ("images",)),
    Part("4B", "Early and late answers", "cordstasks.paper.dynamics:early_and_late", (60, 1500), ("images",)),
    Part("4C", "Spectra of the areas", "cordstasks.paper.dynamics:spectra", (20, 90)),
    Part("5A", "Random-dot motion", "cordstasks.paper.tasks:random_dots", (45, 600)),
    Part("5B", "Numerosity", "cordstasks.paper.tasks:numerosity", (90, 2400)),
    Part("5C", "Cats and dogs", "cordstasks.paper.tasks:cats_and_dogs", (90, 2000)),
    Part("5D", "Memory-guided saccade", "cordstasks.paper.tasks:saccade", (90, 1800)),
)


def chosen(figures: list[str] | None) -> list[Part]:
    """The parts of some figures, in the paper's order.

    Parameters
    ----------
    figures : list of str or None
        Numbers, such as ``"1C"``, or ``"5"`` for all parts of figure 5; None for all.

    Returns
    -------
    list of Part
        Each once.

    Raises
    ------
    InputError
        If there is no such figure.
    """
    if figures is None:
        return list(PARTS)
    for figure in figures:
        if not any(part.figure.startswith(figure.upper()) for part in PARTS) or not figure:
            raise unknown("figure", figure, [part.figure for part in PARTS])
    return [part for part in PARTS if part.figure.startswith(tuple(figure.upper() for figure in figures))]
