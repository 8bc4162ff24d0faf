"""Image folders (one folder a class) held in memory, and the augmentation of their batches."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

from cordstasks.errors import InputError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


@dataclass(frozen=True)
class ImageSet:
    """Labelled images of one size.

    Attributes
    ----------
    images : uint8 (image, height, width, channel).
    labels : int64 (image,), an index into `classes`.
    classes : folder names in alphabetical order.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, limit: int | None) -> ImageSet:
        """At most `limit` images, taken evenly from the whole."""
        if limit is None or limit >= len(self):
            return self
        pick = torch.linspace(0, len(self) - 1, limit, dtype=torch.float32).long()
        return ImageSet(self.images[pick], self.labels[pick], self.classes)


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{path}: not a readable image ({error}); replace or remove the file") from error


def read_folder(folder: Path) -> ImageSet:
    """Read `folder`/<class>/<image> into memory.

    Raises
    ------
    InputError : no class folders, no images, images of several sizes, or a damaged image (which is named).
    """
    classes = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir())) if folder.is_dir() else ()
    if not classes:
        raise InputError(f"{folder}: expected one folder of images per class; found none")
    paths = [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((folder / name).iterdir())
        if path.suffix.lower() in SUFFIXES
    ]
    if not paths:
        raise InputError(f"{folder}: its class folders hold no images ({', '.join(sorted(SUFFIXES))})")
    with ThreadPoolExecutor() as pool:
        arrays = list(pool.map(_read, (path for path, _ in paths)))
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise InputError(f"{folder}: images of several sizes {sorted(shapes)[:3]}; resize them to one size first")
    return ImageSet(torch.from_numpy(np.stack(arrays)), torch.tensor([label for _, label in paths]), classes)


def augment(images: Tensor, generator: torch.Generator, *, shift: int = 4) -> Tensor:
    """Random horizontal flips and shifts of up to `shift` px (zero padding) of uint8 images (image, H, W, channel)."""
    count, height, width, _ = images.shape
    padded = F.pad(images, (0, 0, shift, shift, shift, shift))
    top, left = torch.randint(0, 2 * shift + 1, (2, count), generator=generator)
    rows = top[:, None] + torch.arange(height)
    columns = left[:, None] + torch.arange(width)
    flipped = torch.rand(count, generator=generator, dtype=torch.float32) < 0.5
    columns = torch.where(flipped[:, None], columns.flip(1), columns)
    index = torch.arange(count)[:, None, None]
    return padded[index, rows[:, :, None], columns[:, None, :]]


def normalise(images: Tensor, image_size: int, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 (image, H, W, channel) -> float32 (image, channel, S, S): bilinear resize, /255, minus mean, over std."""
    x = images.permute(0, 3, 1, 2).float()
    if x.shape[-2:] != (image_size, image_size):
        shrinks = x.shape[-2] > image_size or x.shape[-1] > image_size
        x = F.interpolate(x, size=(image_size, image_size), mode="bilinear", align_corners=False, antialias=shrinks)
    return (x / 255 - mean[:, None, None]) / std[:, None, None]
