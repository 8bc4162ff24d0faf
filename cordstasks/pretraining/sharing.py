"""Reading image files with several processes: each decodes its part of every batch, and all have the whole batch."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from cordstasks.pretraining.data import ImageFiles, Images
from cordstasks.pretraining.processes import Processes

__all__ = ["Reading", "SharedReading", "reading"]


class Reading:
    """Batches as one process alone reads them, and as all do of images in memory.

    Parameters
    ----------
    images : Images
        What to read from.
    """

    def __init__(self, images: Images) -> None:
        self.images = images

    def read(self, pick: Tensor, *, seed: int) -> tuple[Tensor, ...]:
        """What this process reads of a batch, see `ImageFiles.batch`; another thread may do it ahead."""
        return self.images.batch(pick, seed=seed)

    def together(self, own: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Images and labels of the whole batch, of what this process has read of it. All processes meet here."""
        images, labels = own
        return images, labels


class SharedReading(Reading):
    """Batches of image files, of which each process decodes its part, and gets the parts of the others.

    All have the same images in the same order as one alone would have, so that what is random in a batch, such as which
    images are mixed, stays the same.

    Parameters
    ----------
    files : ImageFiles
    processes : Processes
    """

    def __init__(self, files: ImageFiles, processes: Processes) -> None:
        super().__init__(files)
        self.files, self.processes = files, processes

    def read(self, pick: Tensor, *, seed: int) -> tuple[Tensor, ...]:
        """Images, labels, and indices of broken images, of this process's part."""
        return self.files.readable(self.processes.part(pick), seed=seed)

    def together(self, own: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """See `Reading.together`; that too many images are broken is found by all processes at once."""
        images, labels, broken = (self.processes.join(tensor) for tensor in own)
        self.files.leave_out(broken.tolist(), remain=len(labels))
        return images, labels


def reading(images: Images, processes: Processes) -> Reading:
    """How to read batches of these images: shared among processes, if there are several and the images are on disk."""
    files: Any = images
    return SharedReading(files, processes) if processes.count > 1 and isinstance(images, ImageFiles) else Reading(images)
