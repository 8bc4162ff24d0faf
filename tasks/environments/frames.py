"""Frames: the observations of a trial, rendered when they are requested."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cordstasks.stimuli import Movie


class Frames:
    """The observations of one trial, uint8 (time, height, width, 3): an array of which only what is requested is made.

    Parameters
    ----------
    movie : Movie
        What the screen shows.
    dt : float
        Duration of a time step in ms; step i shows the frame at ``i * dt``.
    steps : int
        Number of time steps.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, movie: Movie, dt: float, steps: int) -> None:
        _, height, width, _ = movie.frames.shape
        self.movie, self.dt = movie, dt
        self.shape = (steps, height, width, 3)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        """The frames at steps `key`, whatever indexes the first axis of an array; always a new array."""
        steps = np.arange(len(self))[key]
        frames = self.movie.rgb(np.atleast_1d(steps) * self.dt)
        return frames[0] if np.ndim(steps) == 0 else frames

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """All frames; never without a copy."""
        if copy is False:
            raise ValueError("frames are rendered when they are requested; give copy=None or copy=True")
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)
