"""The figures and tables of the paper, and the functions that make them. This module does not need torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cordstasks.errors import InputError, unknown
from cordstasks.paper.findings import Outcome

__all__ = ["OUTCOME", "PARTS", "Part", "Workplace", "chosen"]

OUTCOME = "outcome.json"  # what a part found, in its folder


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
    mnist : Path or None
        Folder of MNIST, as torchvision reads it.
    recordings : Path or None
        Folder of recordings with their pictures.

    Raises
    ------
    InputError
        If a folder of data does not exist.
    """

    quick: bool = False
    device: str = "auto"
    bank: Path | bool | None = None
    images: Path | None = None
    mnist: Path | None = None
    recordings: Path | None = None

    def __post_init__(self) -> None:
        for name in ("images", "mnist", "recordings"):
            value = getattr(self, name)
            if value is not None and not Path(value).is_dir():  # not after the hours of the parts that do not need it
                raise InputError(f"{name}={value}: there is no such folder; correct the path, or leave it out")


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
        Seconds on one core of the machine of `cordstasks.paper.speed.REFERENCE`, with small and with full settings.
    needs : tuple of str
        Attributes of `Workplace` that must be given.
    takes : tuple of str
        Attributes of `Workplace` that add something if they are given.
    given : tuple of str
        What the function is given beside folder and workplace.
    uses : tuple of str
        Figures whose runs it uses, which are made first. The seconds are without theirs.
    """

    figure: str
    title: str
    function: str
    seconds: tuple[float, float]
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()

    def maker(self) -> Callable[..., Outcome]:
        """The function that makes the part, imported."""
        module, _, name = self.function.partition(":")
        made: Callable[..., Outcome] = getattr(importlib.import_module(module), name)
        return made

    def make(self, folder: Path, workplace: Workplace) -> Outcome:
        """Make the part.

        Parameters
        ----------
        folder : Path
            Where its runs and figures go.
        workplace : Workplace
            How to make it.

        Returns
        -------
        Outcome
            What it found.
        """
        return self.maker()(folder, workplace, *self.given)

    def lacks(self, workplace: Workplace) -> list[str]:
        """Names of what it needs and the workplace does not have."""
        return [name for name in self.needs if getattr(workplace, name) is None]


VISUAL = "cordstasks.paper.tasks:visual_task"
PARTS: tuple[Part, ...] = (
    Part("1B", "Regimes of random networks", "cordstasks.paper.dynamics:regimes", (10, 180)),
    Part(
        "1C",
        "Are convolutional networks closest to fully connected ones?",
        "cordstasks.paper.architectures:comparison",
        (150, 3300),
    ),
    Part("1D", "Attractors of trained memories", "cordstasks.paper.dynamics:attractors", (20, 60)),
    Part("2C", "What an image costs", "cordstasks.paper.robustness:cost", (40, 40)),
    Part("2D", "Test accuracies (table 1)", "cordstasks.paper.accuracy:table1", (120, 1500), ("images",), ("mnist",)),
    Part("3", "Autonomous inference and noise", "cordstasks.paper.robustness:autonomy", (60, 1200), ("images",)),
    Part("4A", "Trajectories of two classes", "cordstasks.paper.dynamics:trajectories", (30, 300), ("images",)),
    Part("4B", "Early and late answers", "cordstasks.paper.dynamics:early_and_late", (60, 2000), ("images",)),
    Part("4C", "Spectra of the areas", "cordstasks.paper.dynamics:spectra", (5, 20)),
    Part("5A", "Random-dot motion", VISUAL, (45, 1230), given=("rdm",)),
    Part("5B", "Numerosity", VISUAL, (90, 2400), given=("numerosity",)),
    Part("5C", "Cats and dogs", VISUAL, (90, 1800), given=("catdog",)),
    Part("5D", "Memory-guided saccade", VISUAL, (90, 1200), given=("saccade",)),
    Part("6B", "Temporal predictivity where the answer is known", "cordstasks.paper.recordings:known", (60, 90)),
    # with the runs of 5A, which area LIP is compared with
    Part("6C", "Temporal predictivity of recordings", "cordstasks.paper.recordings:recorded", (300, 1350), ("recordings",)),
    Part(
        "B.2",
        "Dimension and autocorrelation of random networks",
        "cordstasks.paper.appendix:dimensions",
        (1, 1),
        uses=("1B",),
    ),
    Part("B.3", "The comparison of 1C, task by task", "cordstasks.paper.architectures:by_task", (10, 10), uses=("1C",)),
    Part("B.4", "Fixed points of trained memories", "cordstasks.paper.appendix:stability", (1, 1), uses=("1D",)),
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
