"""Movie: distinct frames and the onset of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.errors import InputError
from cordstasks.stimuli._checks import positive

# A time that is a step index times dt and an onset that is a frame index times 1000 / refresh may be equal and still
# differ by rounding, so a presentation is assumed to begin this much earlier (ms).
_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False, init=False)
class Movie:
    """The images on the screen over time: distinct images, and when each of them is shown.

    A presentation is one image from its onset until the next onset, or until the movie's end. There is never one image
    per time step. The arrays are read-only; methods return new movies that refer to the same images.

    Parameters
    ----------
    frames : uint8 (frame, height, width, channel)
        The distinct images, with 1 (grey) or 3 channels.
    onsets_ms : float (presentation,)
        When each presentation begins, in ms: 0 first, strictly increasing.
    duration_ms : float
        When the last presentation ends, in ms.
    shown : int (presentation,), optional
        Index into `frames` of each presentation; by default each frame once, in order.

    Raises
    ------
    InputError
        If an array has the wrong type, shape or range.
    """

    frames: NDArray[np.uint8]
    onsets_ms: NDArray[np.float64]
    shown: NDArray[np.int64]
    duration_ms: float

    def __init__(
        self,
        frames: NDArray[np.uint8],
        onsets_ms: ArrayLike,
        *,
        duration_ms: float,
        shown: ArrayLike | None = None,
    ) -> None:
        images = np.asarray(frames)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or not images.size:
            raise InputError(
                f"frames is {images.dtype} {images.shape}; "
                "give a non-empty uint8 array (frame, height, width, channel) with 1 or 3 channels"
            )
        onsets = np.array(onsets_ms, dtype=np.float64)
        if onsets.ndim != 1 or not onsets.size or onsets[0] != 0 or not (np.diff(onsets) > 0).all():
            raise InputError(f"onsets_ms is {_brief(onsets)}; give times (ms) that start at 0 and strictly increase")
        duration = positive("duration_ms", duration_ms, "ms")
        if onsets[-1] >= duration:
            raise InputError(f"onsets_ms ends at {onsets[-1]:g}; give onsets before duration_ms ({duration:g} ms)")
        index = np.arange(len(images)) if shown is None else np.array(shown)
        if index.shape != onsets.shape:
            raise InputError(
                f"shown has {index.size} presentations and onsets_ms {onsets.size}; give one frame index for each onset"
            )
        if index.dtype.kind not in "iu" or index.min() < 0 or index.max() >= len(images):
            raise InputError(
                f"shown is {_brief(index)}; give whole numbers from 0 to {len(images) - 1}, indices into frames"
            )
        for name, value in (("frames", images), ("onsets_ms", onsets), ("shown", index.astype(np.int64))):
            view = value.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)
        object.__setattr__(self, "duration_ms", duration)

    @classmethod
    def still(cls, image: NDArray[np.uint8], duration_ms: float) -> Movie:
        """One image, uint8 (height, width, channel), for `duration_ms` (ms).

        Returns
        -------
        Movie
            Of one frame.
        """
        return cls(np.asarray(image)[None], [0.0], duration_ms=duration_ms)

    def at(self, times_ms: ArrayLike) -> NDArray[np.int64]:
        """The index of the frame that is on the screen.

        A frame lasts over [onset, next onset), with a tolerance of 1e-6 ms for rounding.

        Parameters
        ----------
        times_ms : float (...)
            Times in ms, from 0 up to but not including `duration_ms`.

        Returns
        -------
        int64 (...)
            Indices into `frames`.

        Raises
        ------
        InputError
            If a time is not finite or outside the movie.
        """
        times = np.asarray(times_ms, dtype=np.float64)
        inside = (times >= -_TOLERANCE) & (times < self.duration_ms)
        if not inside.all():
            worst = times[~inside].flat[0]
            raise InputError(f"times_ms has {worst:g}; give times from 0 up to, not including, {self.duration_ms:g} ms")
        presentation = np.searchsorted(self.onsets_ms, times + _TOLERANCE, side="right") - 1
        index: NDArray[np.int64] = self.shown[np.maximum(presentation, 0)]
        return index

    def rgb(self, times_ms: ArrayLike) -> NDArray[np.uint8]:
        """The images on the screen at `times_ms` (time,) in ms, as uint8 (time, height, width, 3).

        Returns
        -------
        ndarray of shape (time, height, width, 3), uint8
            Grey images have three equal channels.
        """
        images = self.frames[self.at(times_ms)]
        return images if images.shape[-1] == 3 else np.repeat(images, 3, axis=-1)

    def shuffled(self, rng: np.random.Generator, start_ms: float = 0.0, end_ms: float | None = None) -> Movie:
        """The same frames at the same onsets, with the presentations of a period in random order.

        This is a control: it keeps every image and destroys the order in time.

        Parameters
        ----------
        rng : numpy.random.Generator
            Draws the permutation.
        start_ms, end_ms : float
            The period in ms, [start, end): presentations with their onset inside it are permuted. By default the
            whole movie.

        Returns
        -------
        Movie
            With the same frames.

        Raises
        ------
        InputError
            If no presentation begins in the period.
        """
        inside = self._inside(start_ms, end_ms)
        return self._rearranged(inside, rng.permutation(inside))

    def reversed(self, start_ms: float = 0.0, end_ms: float | None = None) -> Movie:
        """The same frames at the same onsets, with the presentations of a period in reversed order.

        This is a control: motion goes in the opposite direction. Arguments and errors are those of `shuffled`.

        Returns
        -------
        Movie
            With the same frames.
        """
        inside = self._inside(start_ms, end_ms)
        return self._rearranged(inside, inside[::-1])

    def _inside(self, start_ms: float, end_ms: float | None) -> NDArray[np.intp]:
        end = self.duration_ms if end_ms is None else end_ms
        inside = np.flatnonzero((self.onsets_ms >= start_ms - _TOLERANCE) & (self.onsets_ms < end - _TOLERANCE))
        if not inside.size:
            raise InputError(
                f"start_ms is {start_ms!r} and end_ms {end!r}: no frame begins in that period; "
                f"give a period within 0 to {self.duration_ms:g} ms"
            )
        return inside

    def _rearranged(self, places: NDArray[np.intp], sources: NDArray[np.intp]) -> Movie:
        shown = self.shown.copy()
        shown[places] = self.shown[sources]
        return Movie(self.frames, self.onsets_ms, duration_ms=self.duration_ms, shown=shown)


def join(parts: Sequence[Movie]) -> Movie:
    """Movies one after another.

    Frames that are equal byte for byte are stored once. If one part has colour, grey parts get three channels.

    Parameters
    ----------
    parts : sequence of Movie
        Of one height and width.

    Returns
    -------
    Movie

    Raises
    ------
    InputError
        If there are no parts, or their images differ in size.
    """
    if not parts:
        raise InputError("parts is empty; give at least one Movie")
    sizes = sorted({part.frames.shape[1:3] for part in parts})
    if len(sizes) > 1:
        raise InputError(f"parts have images of different sizes (height, width): {sizes}; render them on one Display")
    channels = max(part.frames.shape[3] for part in parts)
    known: dict[bytes, int] = {}
    images: list[NDArray[np.uint8]] = []
    onsets: list[NDArray[np.float64]] = []
    shown: list[NDArray[np.int64]] = []
    for number, part in enumerate(parts):
        index = np.empty(len(part.frames), np.int64)
        for old, frame in enumerate(part.frames):
            image = np.broadcast_to(frame, (*sizes[0], channels))
            index[old] = known.setdefault(image.tobytes(), len(images))
            if index[old] == len(images):
                images.append(image)
        onsets.append(part.onsets_ms + math.fsum(earlier.duration_ms for earlier in parts[:number]))
        shown.append(index[part.shown])
    duration = math.fsum(part.duration_ms for part in parts)
    return Movie(np.stack(images), np.concatenate(onsets), duration_ms=duration, shown=np.concatenate(shown))


def _brief(values: NDArray[np.float64] | NDArray[np.int64]) -> str:
    return np.array2string(values, threshold=6, edgeitems=2, separator=", ")
