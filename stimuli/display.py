"""The screen: how degrees and hertz become pixels and frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cordstasks.stimuli._checks import positive, whole


@dataclass(frozen=True)
class Display:
    """A square screen.

    Stimulus parameters are in degrees, ms and Hz; only the renderers see pixels.

    Parameters
    ----------
    pixels : int
        Pixels along each side.
    field_of_view : float
        Full width and height of the screen, in deg.
    refresh : float
        Frames per second, in Hz.

    Raises
    ------
    InputError
        If `pixels` is not a whole number of at least 1, or another value is not a finite number above 0.
    """

    pixels: int = 64
    field_of_view: float = 8.0
    refresh: float = 75.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "pixels", whole("pixels", self.pixels))
        object.__setattr__(self, "field_of_view", positive("field_of_view", self.field_of_view, "deg"))
        object.__setattr__(self, "refresh", positive("refresh", self.refresh, "Hz"))

    @property
    def pixels_per_degree(self) -> float:
        """Pixels per degree."""
        return self.pixels / self.field_of_view

    @property
    def frame_ms(self) -> float:
        """Duration of one frame, in ms."""
        return 1000.0 / self.refresh

    def pixel_centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Locations of the pixels' centres, in deg from the screen's centre.

        Returns
        -------
        x : float64 (column,)
            Horizontal, rightward positive: rises with the column.
        y : float64 (row,)
            Vertical, upward positive: falls with the row, because row 0 is the top of an image.
        """
        x = (np.arange(self.pixels, dtype=np.float64) + 0.5 - self.pixels / 2) / self.pixels_per_degree
        return x, -x

    def columns(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Horizontal position in pixels of `x` in deg: 0 is the screen's left edge, `pixels` its right edge.

        Returns
        -------
        ndarray of float64
            Of the shape of `x`.
        """
        return x * self.pixels_per_degree + self.pixels / 2

    def rows(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Vertical position in pixels of `y` in deg: 0 is the screen's top edge, `pixels` its bottom edge.

        Returns
        -------
        ndarray of float64
            Of the shape of `y`.
        """
        return self.pixels / 2 - y * self.pixels_per_degree
