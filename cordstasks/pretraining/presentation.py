"""How training and test images become a network's input: resizing, normalisation, augmentation and mixing, on any device."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from cordstasks.errors import unknown
from cordstasks.pretraining.data import normalise


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes to a training image; each is drawn anew for each image.

    Attributes
    ----------
    shift : float
        Largest shift, as a fraction of the side.
    flip : float
        Probability of the mirror image.
    rotation : float
        Largest rotation in degrees.
    zoom, stretch : float
        Largest change of the size and of the aspect ratio, as a natural logarithm.
    shear : float
        Largest shear.
    elastic : float
        Standard deviation of a smooth displacement, as a fraction of the side.
    colour : float
        Largest change of brightness (in standard deviations), of contrast and of saturation (as a logarithm).
    operations : int
        Number of operations of RandAugment (Cubuk et al. 2020) on each image, of torchvision's default magnitude.
    mixing : float
        Fraction of the batches in which every image is mixed with another one, by MixUp (Zhang et al. 2018) or CutMix
        (Yun et al. 2019), half of them each.
    clean : float
        Last fraction of a training without mixed images, so that it ends on images as they are.
    border : bool
        Whether what comes into view from beyond the border is the border's colour rather than the mean colour.
    """

    shift: float = 0.125
    flip: float = 0.5
    rotation: float = 0.0
    zoom: float = 0.0
    stretch: float = 0.0
    shear: float = 0.0
    elastic: float = 0.0
    colour: float = 0.0
    operations: int = 0
    mixing: float = 0.0
    clean: float = 0.1
    border: bool = False


AUGMENTATIONS = {
    "none": Augmentation(shift=0.0, flip=0.0),
    "light": Augmentation(),
    "moderate": Augmentation(rotation=8.0, zoom=0.1, stretch=0.05, shear=0.05, colour=0.2, mixing=0.5),
    "strong": Augmentation(rotation=12.0, zoom=0.15, stretch=0.1, shear=0.1, colour=0.3, mixing=0.5),
    # those of Soo et al. 2024, appendix; what they leave open is a modest choice of ours
    "mnist": Augmentation(shift=0.05, flip=0.0, rotation=5.0, colour=0.2, elastic=0.02, border=True),
    "fashion-mnist": Augmentation(shift=0.05, rotation=5.0, colour=0.2, mixing=1.0, border=True),
    "cifar": Augmentation(shift=0.0, operations=2, mixing=1.0),
    "imagenet": Augmentation(shift=0.0, operations=2),
}
OF_DATASET = {"mnist": "mnist", "fashion-mnist": "fashion-mnist", "imagenet": "imagenet", "folder": "light"}


def augmentation_of(name: str | None, dataset: str = "folder") -> Augmentation:
    """The named augmentation, or a data set's own.

    Parameters
    ----------
    name : str or None
        One of `AUGMENTATIONS`; None for the data set's own, which is the paper's.
    dataset : str
        Of handwritten digits no augmentation makes mirror images.

    Raises
    ------
    InputError
        If the name is not known.
    """
    name = OF_DATASET.get(dataset, "cifar") if name is None else name
    if name not in AUGMENTATIONS:
        raise unknown("augmentation", name, AUGMENTATIONS)
    return replace(AUGMENTATIONS[name], flip=0.0) if dataset == "mnist" else AUGMENTATIONS[name]


class Presentation:
    """Images as a network sees them.

    Random numbers are drawn on the CPU whatever the device, so that the same seed shows the same images everywhere.

    Parameters
    ----------
    image_size : int
        Side in px of the network's input.
    mean, std : sequence of float
        Of each colour channel, for values from 0 to 1.
    classes : int
        Number of classes.
    device : torch.device
        Where inputs are made.
    augmentation : Augmentation
        Of training images.
    """

    def __init__(
        self,
        image_size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        *,
        classes: int,
        device: torch.device,
        augmentation: Augmentation = AUGMENTATIONS["light"],
    ) -> None:
        self.image_size, self.classes, self.device, self.augmentation = image_size, classes, device, augmentation
        self.mean, self.std = (torch.tensor(values, device=device, dtype=torch.float32) for values in (mean, std))

    def test(self, images: Tensor) -> Tensor:
        """Normalised images (image, channel, S, S) of uint8 images (image, height, width, channel)."""
        x = normalise(images.to(self.device), self.image_size, self.mean, self.std)
        return x.contiguous(memory_format=torch.channels_last)

    def training(
        self, images: Tensor, labels: Tensor, generator: torch.Generator, *, progress: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Augmented and possibly mixed images with their targets.

        Parameters
        ----------
        images : uint8 (image, height, width, channel)
        labels : int64 (image,)
        generator : torch.Generator
            Of the CPU.
        progress : float
            Fraction of the training that is done: images are not mixed in its last part, see `Augmentation.clean`.

        Returns
        -------
        x : float32 (image, channel, S, S)
        targets : float32 (image, class)
            Probabilities.
        """
        x = self.augmented(images, generator)
        targets = F.one_hot(labels.to(self.device), self.classes).float()
        draw = torch.rand(2, generator=generator, dtype=torch.float32)
        if progress < 1 - self.augmentation.clean and float(draw[0]) < self.augmentation.mixing:
            mix = mixed_up if float(draw[1]) < 0.5 else cut_and_mixed
            x, targets = mix(x, targets, generator)
        return x.contiguous(memory_format=torch.channels_last), targets

    def augmented(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Normalised images, each changed within the ranges of the augmentation."""
        change = self.augmentation
        if change.operations:
            images = operated(images, change.operations, generator)
        count, height, width, channels = images.shape
        native = height == width <= self.image_size  # else resampling by the map alone would alias or distort
        x = normalise(images.to(self.device), height, self.mean, self.std) if native else self.test(images)
        theta = transforms(count, change, generator).to(self.device)
        grid = F.affine_grid(theta, [count, channels, self.image_size, self.image_size], align_corners=False)
        if change.elastic:
            grid = grid + displacements(count, self.image_size, change.elastic, generator).to(self.device)
        padding = "border" if change.border else "zeros"
        x = F.grid_sample(x, grid, mode="bilinear", padding_mode=padding, align_corners=False)
        return recoloured(x, change.colour, generator) if change.colour else x


def operated(images: Tensor, operations: int, generator: torch.Generator) -> Tensor:
    """Images uint8 (image, height, width, channel), each after so many random operations of RandAugment."""
    from torchvision.transforms.v2 import RandAugment

    change = RandAugment(num_ops=operations)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    with torch.random.fork_rng(devices=[]):  # torchvision draws from the global generator
        torch.manual_seed(seed)
        return torch.stack([change(image.permute(2, 0, 1)).permute(1, 2, 0) for image in images])


def displacements(count: int, side: int, size: float, generator: torch.Generator) -> Tensor:
    """Smooth random displacements (image, side, side, 2) of input coordinates, in which a side runs from -1 to 1."""
    coarse = torch.randn(count, 2, 5, 5, generator=generator, dtype=torch.float32)
    fine = F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True)
    return 2 * size * fine.permute(0, 2, 3, 1)


def transforms(count: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Random affine maps (image, 2, 3) from output to input coordinates, in which a side runs from -1 to 1."""

    def spread(largest: float) -> Tensor:
        return largest * (2 * torch.rand(count, generator=generator, dtype=torch.float32) - 1)

    flip = torch.where(torch.rand(count, generator=generator, dtype=torch.float32) < augmentation.flip, -1.0, 1.0).float()
    angle = spread(math.radians(augmentation.rotation))
    zoom, stretch, shear = spread(augmentation.zoom).exp(), spread(augmentation.stretch).exp(), spread(augmentation.shear)
    x_shift, y_shift = spread(2 * augmentation.shift), spread(2 * augmentation.shift)
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(count, 2, 2)
    scaled = torch.stack([flip * zoom * stretch, shear, torch.zeros(count, dtype=torch.float32), zoom / stretch], 1).view(
        count, 2, 2
    )
    return torch.cat([rotation @ scaled, torch.stack([x_shift, y_shift], 1)[:, :, None]], 2)


def recoloured(x: Tensor, colour: float, generator: torch.Generator) -> Tensor:
    """Normalised images (image, channel, height, width) with another brightness, contrast and saturation each."""
    change = (colour * (2 * torch.rand(3, len(x), 1, 1, 1, generator=generator, dtype=torch.float32) - 1)).to(x.device)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * change[0].exp()
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * change[1].exp() + change[2]


def mixed_up(x: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Weighted means of each image, and of its target, with another one's."""
    weight = float(torch.rand(1, generator=generator, dtype=torch.float32))
    order = torch.randperm(len(x), generator=generator).to(x.device)
    return torch.lerp(x[order], x, weight), torch.lerp(targets[order], targets, weight)


def cut_and_mixed(x: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Each image with a rectangle of another one, and targets weighted by area."""
    height, width = x.shape[-2:]
    side = math.sqrt(float(torch.rand(1, generator=generator, dtype=torch.float32)))
    y, x_place = (torch.rand(2, generator=generator, dtype=torch.float32) * torch.tensor([height, width])).int().tolist()
    rows = slice(max(0, round(y - side * height / 2)), round(y + side * height / 2))
    columns = slice(max(0, round(x_place - side * width / 2)), round(x_place + side * width / 2))
    order = torch.randperm(len(x), generator=generator).to(x.device)
    x = x.clone()
    x[..., rows, columns] = x[order][..., rows, columns]
    cut = x[0, 0, rows, columns].numel() / (height * width)
    return x, torch.lerp(targets, targets[order], cut)
