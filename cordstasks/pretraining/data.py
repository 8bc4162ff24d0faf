"""Image folders (one folder a class) held in memory, and the augmentation of their batches."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cordstasks.errors import InputError
from cordstasks.stimuli.pictures import SUFFIXES, picture_files, read_picture, visible


@dataclass(frozen=True)
class ImageSet:
    """Labelled images of one size.

    Attributes
    ----------
    images : Tensor of shape (image, height, width, channel), uint8
        The images.
    labels : Tensor of shape (image,), int64
        An index into `classes`.
    classes : tuple of str
        Folder names in alphabetical order.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> ImageSet:
        """The same on another device."""
        return ImageSet(self.images.to(device), self.labels.to(device), self.classes)

    def subset(self, limit: int | None) -> ImageSet:
        """At most `limit` images, taken evenly from the whole."""
        if limit is None or limit >= len(self):
            return self
        pick = torch.linspace(0, len(self) - 1, limit, dtype=torch.float32).long()
        return ImageSet(self.images[pick], self.labels[pick], self.classes)


def read_folder(folder: Path) -> ImageSet:
    """Read `folder`/<class>/<image> into memory; hidden files and folders are ignored.

    Raises
    ------
    InputError
        If there are no class folders, a class has no images, images differ in size, or one is damaged (the message names
        it).
    """
    classes = [path for path in visible(folder) if path.is_dir()] if folder.is_dir() else []
    if not classes:
        raise InputError(f"{folder}: expected one folder of images per class; found none")
    paths: list[tuple[Path, int]] = []
    for label, place in enumerate(classes):
        own = picture_files(place)
        if not own:
            raise InputError(f"{place}: this class folder holds no images ({', '.join(SUFFIXES)}); fill or remove it")
        paths += [(path, label) for path in own]
    with ThreadPoolExecutor() as pool:
        arrays = list(pool.map(read_picture, (path for path, _ in paths)))
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise InputError(f"{folder}: images of several sizes {sorted(shapes)[:3]}; resize them to one size first")
    names = tuple(place.name for place in classes)
    return ImageSet(torch.from_numpy(np.stack(arrays)), torch.tensor([label for _, label in paths]), names)


def normalise(images: Tensor, image_size: int, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 (image, H, W, channel) -> float32 (image, channel, S, S): bilinear resize, /255, minus mean, over std."""
    x = images.permute(0, 3, 1, 2).float()
    if x.shape[-2:] != (image_size, image_size):
        shrinks = x.shape[-2] > image_size or x.shape[-1] > image_size
        x = F.interpolate(x, size=(image_size, image_size), mode="bilinear", align_corners=False, antialias=shrinks)
    return (x / 255 - mean[:, None, None]) / std[:, None, None]
