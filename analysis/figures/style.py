"""The style of all figures: sizes, colours that are safe for colour-blind readers, axes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from threading import RLock
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.text import Text

# Okabe & Ito's palette
BLACK, BLUE, ORANGE, GREEN, GREY = "#000000", "#0072B2", "#D55E00", "#009E73", "#8A8A8A"
TEXT, TITLE = 12.0, 13.0  # points: still legible when a 150 dpi figure is shown at half its size
DPI = 150
_SETTINGS = RLock()


@contextlib.contextmanager
def matplotlib_settings(settings: Mapping[str, Any]) -> Iterator[None]:
    """Draw with other Matplotlib settings. These are common to all threads, so only one thread at a time may enter."""
    with _SETTINGS, rc_context(dict(settings)):
        yield


class PlainFigure(Figure):
    """A figure whose texts Matplotlib sets by itself.

    A user's ``text.usetex`` would send them to LaTeX, which may not be there, and to which "%" and "_" mean something else.
    """

    def draw(self, renderer: RendererBase) -> None:
        """Draw the figure, with a user's ``text.usetex`` put aside for as long."""
        for text in self.findobj(Text):
            text.set_usetex(False)
        if not rcParams["text.usetex"]:
            super().draw(renderer)
            return
        # Ticks are made while drawing, by the settings of that moment.
        with matplotlib_settings({"text.usetex": False}):
            super().draw(renderer)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty white figure, of a size in inches, that keeps its texts apart."""
    return PlainFigure(figsize=(width, height), layout="constrained", facecolor="white")


def dress(axis: Axes, title: str, x: str, y: str, *, size: float = TITLE) -> None:
    """Label an axis and strip it of what carries no information."""
    axis.set_title(title, fontsize=size, loc="left")
    axis.set_xlabel(x, fontsize=TEXT)
    axis.set_ylabel(y, fontsize=TEXT)
    axis.tick_params(labelsize=TEXT)
    axis.spines[["top", "right"]].set_visible(False)


def shared_legend(figure: Figure, axis: Axes, *, above: bool = False) -> None:
    """Write the legend of one axis for all, in one line above or below the axes."""
    handles, labels = axis.get_legend_handles_labels()
    where = "outside upper center" if above else "outside lower center"
    figure.legend(handles, labels, loc=where, ncols=max(len(labels), 1), fontsize=TEXT, frameon=False)


def legend_beside(axis: Axes, *, size: float = TEXT - 1, title: str | None = None) -> None:
    """Write the legend of an axis to its right, where it hides nothing."""
    axis.legend(title=title, fontsize=size, title_fontsize=size, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def percent(fraction: float) -> str:
    """Return a fraction as a percentage without needless digits: 0.032 is '3.2'."""
    return f"{100 * fraction:.3g}"


def coherence_colours(levels: Sequence[float]) -> list[tuple[float, float, float, float]]:
    """Return one colour for each coherence, darker for stronger motion; the palest stays visible on white."""
    return [colormaps["viridis"](place) for place in np.linspace(0.88, 0.0, len(levels))]
