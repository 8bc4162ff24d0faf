"""The pictures of the cat/dog task: drawn blends of animals, or a user's files."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError
from cordstasks.stimuli import CATS, LINES, Display, ImageFolder, Pose, animal, morph
from cordstasks.utils.files import FileStamp, absolute, file_stamp

ALL_LINES = tuple("-".join(line) for line in LINES)
_PICTURE = 4  # stream of a pool's seed
_HELD_OUT_EVERY = 5  # of a user's pictures


@dataclass(frozen=True)
class Picture:
    """A blend, or a file, that can be shown.

    Attributes
    ----------
    line : str
        The morph line.
    morph : float
        The fraction of its second animal.
    category : int
        0 or 1.
    fraction : float
        The fraction of the second category.
    stimulus : str
        What it shows; equal where two lines meet in one animal.
    """

    line: str
    morph: float
    category: int
    fraction: float
    stimulus: str


@lru_cache(maxsize=32)
def drawn_pictures(levels: tuple[float, ...], boundary: float) -> tuple[Picture, ...]:
    """Every level of every line between the animals of `cordstasks.stimuli`."""
    pictures = []
    for name, (first, second) in zip(ALL_LINES, LINES, strict=True):
        ends = [float(animal not in CATS) for animal in (first, second)]
        for level in levels:
            fraction = (1 - level) * ends[0] + level * ends[1]
            whole = {0.0: first, 1.0: second}.get(level)
            stimulus = f"{name}@{level:g}" if whole is None else whole
            pictures.append(Picture(name, float(level), int(fraction > boundary), fraction, stimulus))
    return tuple(pictures)


@lru_cache(maxsize=2048)
def drawn_image(
    stimulus: str,
    display: Display,
    *,
    size: float,
    size_jitter: float,
    location_jitter: float,
    colour: bool,
    pool: int,
    index: int,
) -> NDArray[np.uint8]:
    """Picture number `index` of a blend in a pool: the animal in a place and of a size of its own."""
    line, _, level = stimulus.partition("@")
    first, _, second = line.partition("-")
    features = morph(first, second, float(level)) if level else morph(line, line, 0.0)
    # a number for the name that is the same in every process, unlike hash()
    rng = np.random.default_rng([pool, _PICTURE, index, zlib.crc32(stimulus.encode())])
    x, y = rng.uniform(-location_jitter, location_jitter, 2)
    scale = 1 + size_jitter * rng.uniform(-1, 1)
    return animal(features, display, pose=Pose(size * scale, x, y), colour=colour)


def open_folder(path: str) -> ImageFolder:
    """A user's folder of pictures as it is now; one that has not changed is read once."""
    place = absolute(path)
    if not os.path.isdir(place):
        raise InputError(f"stimuli_dir {path}: there is no such folder")  # named as it was given
    return _opened(place, tuple(sorted((file, file_stamp(file)) for file in _files_in(place))))


def _files_in(folder: str) -> Iterator[str]:
    """Every file below a folder; links to folders are followed, each folder once."""
    seen = set()
    for place, below, names in os.walk(folder, followlinks=True):
        if os.path.realpath(place) in seen:
            below.clear()
            continue
        seen.add(os.path.realpath(place))
        yield from (os.path.join(place, name) for name in names)


@lru_cache(maxsize=8)
def _opened(path: str, listing: tuple[tuple[str, FileStamp | None], ...]) -> ImageFolder:
    return ImageFolder(path)


@lru_cache(maxsize=32)
def file_pictures(folder: ImageFolder, part: str) -> tuple[Picture, ...]:
    """The pictures of a user's folder: all, four of five, or the rest."""
    pictures = []
    seen = [0, 0]
    for number, file in enumerate(folder.pictures):
        held_out = seen[file.category] % _HELD_OUT_EVERY == _HELD_OUT_EVERY - 1
        seen[file.category] += 1
        if part == "all" or (part == "heldout") == held_out:
            pictures.append(Picture(file.line or "all", file.morph, file.category, file.morph, str(number)))
    return tuple(pictures)


def file_image(folder: ImageFolder, stimulus: str, display: Display, size: float) -> NDArray[np.uint8]:
    """A file of a user's folder on the screen, as the file is now."""
    number = int(stimulus)
    return _shown(folder, number, display, size, file_stamp(folder.pictures[number].file))


@lru_cache(maxsize=2048)
def _shown(folder: ImageFolder, number: int, display: Display, size: float, stamp: FileStamp | None) -> NDArray[np.uint8]:
    return folder.image(number, display, size=size)
