"""Labelled images, in memory or read from disk batch by batch, and their normalisation."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cordstasks.errors import InputError, Note
from cordstasks.stimuli.pictures import read_picture

__all__ = ["ImageFiles", "ImageSet", "Images", "ahead", "evenly", "kept_out", "normalise", "random_crop"]

SHORTER_SIDE = 256 / 224  # of an image's shorter side to the centre crop that is tested, as ImageNet is


class Images(Protocol):
    """Labelled images, wherever they are."""

    def __len__(self) -> int: ...

    @property
    def labels(self) -> Tensor:
        """int64 (image,), an index into `classes`."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for coloured ones."""

    def batch(self, pick: Tensor, *, seed: int | None = None) -> tuple[Tensor, Tensor]:
        """Some of the images with their labels, see `ImageFiles.batch`."""

    def take(self, pick: Tensor) -> Images:
        """The images with these indices."""

    def subset(self, limit: int | None) -> Images:
        """At most so many images, taken evenly from the whole."""


def evenly(count: int, limit: int | None) -> Tensor | None:
    """Indices of `limit` of `count` images, taken evenly from the whole; None for all of them."""
    if limit is None or limit >= count:
        return None
    return torch.linspace(0, count - 1, limit, dtype=torch.float64).long()


def kept_out(images: Images, count: int) -> tuple[Images, Images]:
    """All images but some, and these, which are taken evenly from the whole.

    Parameters
    ----------
    images : Images
    count : int
        Images to keep out.

    Raises
    ------
    InputError
        If none would remain.
    """
    if count >= len(images):
        raise InputError(f"validation_images={count}: there are {len(images)} training images; keep fewer out")
    pick = evenly(len(images), count)
    assert pick is not None
    rest = torch.ones(len(images), dtype=torch.bool)
    rest[pick] = False
    return images.take(rest.nonzero()[:, 0]), images.take(pick)


@dataclass(frozen=True)
class ImageSet:
    """Labelled images of one size, in memory.

    Attributes
    ----------
    images : Tensor (image, height, width, channel)
        uint8.
    labels : Tensor (image,)
        int64, an index into `classes`.
    classes : tuple of str
        Names of the classes.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for coloured ones."""
        return self.images.shape[-1]

    def batch(self, pick: Tensor, *, seed: int | None = None) -> tuple[Tensor, Tensor]:
        """Some of the images, uint8 (image, height, width, channel), and their labels; `seed` is not used."""
        return self.images[pick], self.labels[pick]

    def to(self, device: torch.device) -> ImageSet:
        """The same on another device."""
        return ImageSet(self.images.to(device), self.labels.to(device), self.classes)

    def take(self, pick: Tensor) -> ImageSet:
        """The images with these indices."""
        return ImageSet(self.images[pick], self.labels[pick], self.classes)

    def subset(self, limit: int | None) -> ImageSet:
        """At most `limit` images, taken evenly from the whole."""
        pick = evenly(len(self), limit)
        return self if pick is None else self.take(pick)


@dataclass(frozen=True)
class ImageFiles:
    """Labelled image files of any sizes, read from disk when they are needed.

    Attributes
    ----------
    paths : tuple of Path
        One for each image.
    labels : Tensor (image,)
        int64, an index into `classes`.
    classes : tuple of str
        Names of the classes.
    channels : int
        1 for grey images, 3 for coloured ones.
    side : int
        Height and width in px that images are resized and cropped to.
    crops : bool
        Whether training shows random parts of images, as it does of ImageNet, rather than the centre.
    most_broken : float
        Largest fraction of files that may turn out to be broken when they are read.
    broken : set of Path
        Those that have, so far.
    """

    paths: tuple[Path, ...]
    labels: Tensor
    classes: tuple[str, ...]
    channels: int
    side: int
    crops: bool = False
    most_broken: float = 0.01
    broken: set[Path] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, pick: Tensor, *, seed: int | None = None) -> tuple[Tensor, Tensor]:
        """Some of the images with their labels; broken ones are named in a note and left out.

        Parameters
        ----------
        pick : Tensor (image,)
            Indices.
        seed : int, optional
            Show random crops drawn with this seed, if these images have random crops; without it, centre crops.

        Returns
        -------
        Tensor (image, side, side, channel)
            uint8.
        Tensor (image,)
            int64.

        Raises
        ------
        InputError
            If too many are broken, or none of these can be read.
        """
        images, labels, broken = self.readable(pick, seed=seed)
        self.leave_out(broken.tolist(), remain=len(labels))
        return images, labels

    def readable(self, pick: Tensor, *, seed: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The same without a word on broken images: images and labels of those that can be read, and indices of the others.

        Several processes that each read a part of a batch (which may be empty) then agree on what is broken by `leave_out`.
        """
        rows = pick.tolist()
        seeds = [None if seed is None or not self.crops else (seed, row) for row in rows]
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(self._image, rows, seeds))
        whole = [(row, image) for row, image in zip(rows, found, strict=True) if isinstance(image, Tensor)]
        broken = [row for row, image in zip(rows, found, strict=True) if isinstance(image, InputError)]
        nothing = torch.empty((0, self.side, self.side, self.channels), dtype=torch.uint8)
        images = torch.stack([image for _, image in whole]) if whole else nothing
        good, bad = (torch.tensor(part, dtype=torch.int64) for part in ([row for row, _ in whole], broken))
        return images, self.labels[good], bad

    def leave_out(self, rows: Sequence[int], *, remain: int) -> None:
        """Count images of a batch as broken, and name those that were not known to be.

        Parameters
        ----------
        rows : sequence of int
            Their indices.
        remain : int
            How many images of the batch are not broken.

        Raises
        ------
        InputError
            If too many of all are broken, or none remains.
        """
        if not rows:
            return
        new = {self.paths[row] for row in rows} - self.broken
        self.broken.update(new)
        if len(self.broken) > self.most_broken * len(self) or not remain:
            raise InputError(f"{self._image(rows[0], None)} ({len(self.broken)} broken of {len(self)} so far)")
        for path in sorted(new):
            warnings.warn(f"{path}: is broken and left out", Note, stacklevel=3)

    def _image(self, row: int, seed: tuple[int, int] | None) -> Tensor | InputError:
        try:
            pixels = read_picture(self.paths[row])[..., : self.channels]
        except InputError as error:
            return error
        x = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)
        x = centre_crop(x, self.side) if seed is None else random_crop(x, self.side, np.random.default_rng(seed))
        return x.permute(1, 2, 0).contiguous()

    def take(self, pick: Tensor) -> ImageFiles:
        """The images with these indices."""
        paths = tuple(self.paths[row] for row in pick.tolist())
        return replace(self, paths=paths, labels=self.labels[pick], broken=set())

    def subset(self, limit: int | None) -> ImageFiles:
        """At most `limit` images, taken evenly from the whole."""
        pick = evenly(len(self), limit)
        return self if pick is None else self.take(pick)


def centre_crop(x: Tensor, side: int) -> Tensor:
    """An image uint8 (channel, height, width) of any size as (channel, side, side): resized, then the centre."""
    from torchvision.transforms.v2 import functional as vision

    if tuple(x.shape[1:]) == (side, side):
        return x
    return vision.center_crop(vision.resize(x, [round(side * SHORTER_SIDE)], antialias=True), [side, side])


def random_crop(x: Tensor, side: int, rng: np.random.Generator) -> Tensor:
    """A random part of an image, as ImageNet is trained with, resized.

    Parameters
    ----------
    x : Tensor (channel, height, width)
        uint8.
    side : int
        Of the result, in px.
    rng : numpy.random.Generator
        Where the part is drawn from: 8 to 100 % of the area, with an aspect ratio from 3/4 to 4/3; where ten draws do not
        fit, it is the largest central square.

    Returns
    -------
    Tensor (channel, side, side)
        uint8.
    """
    from torchvision.transforms.v2 import functional as vision

    height, width = x.shape[1:]
    for _ in range(10):
        area, ratio = height * width * rng.uniform(0.08, 1), np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        h, w = round(float(np.sqrt(area / ratio))), round(float(np.sqrt(area * ratio)))
        if 0 < h <= height and 0 < w <= width:
            top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            break
    else:
        h = w = min(height, width)
        top, left = (height - h) // 2, (width - w) // 2
    return vision.resized_crop(x, top, left, h, w, [side, side], antialias=True)


def normalise(images: Tensor, image_size: int, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 (image, H, W, channel) -> float32 (image, channel, S, S): bilinear resize, /255, minus mean, over std."""
    x = images.permute(0, 3, 1, 2).float()
    if x.shape[-2:] != (image_size, image_size):
        shrinks = x.shape[-2] > image_size or x.shape[-1] > image_size
        x = F.interpolate(x, size=(image_size, image_size), mode="bilinear", align_corners=False, antialias=shrinks)
    return (x / 255 - mean[:, None, None]) / std[:, None, None]


def ahead(calls: Iterable[Any], function: Any) -> Iterator[Any]:
    """What `function` makes of each call's arguments, in order; the next one is being made while one is used.

    Parameters
    ----------
    calls : iterable of tuple
        Arguments.
    function : callable
        Called in another thread.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting: Future[Any] | None = None
        for arguments in calls:
            coming = pool.submit(function, *arguments)
            if waiting is not None:
                yield waiting.result()
            waiting = coming
        if waiting is not None:
            yield waiting.result()
