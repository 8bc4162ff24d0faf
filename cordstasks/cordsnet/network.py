"""CordsNet: convolutional areas that are continuous-time dynamical recurrent networks (Soo et al., NeurIPS 2024)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from cordstasks.cordsnet import architecture as arch
from cordstasks.cordsnet.architecture import Drive
from cordstasks.errors import InputError, unknown
from cordstasks.utils.arguments import number, whole

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["BLANK_STEPS", "IMAGE_STEPS", "CordsNet", "Preprocessing"]

BLANK_STEPS = 100  # from zero to the spontaneous state
IMAGE_STEPS = 100
SLOPES = {"relu": 0.0, "linear": 1.0}


@dataclass(frozen=True)
class Preprocessing:
    """How images become a network's input: resize, centre crop, subtract the mean, divide by the standard deviation.

    Images that have the network's size already are not resampled.

    Attributes
    ----------
    mean, std : tuple of float
        Of each channel, for values from 0 to 1.
    resize : int or None
        Length in px of the shorter side before the centre crop; None resizes straight to the network's square, whatever
        the image's shape.
    """

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    resize: int | None = None


class CordsNet(nn.Module):
    """A CordsNet of 2, 4, 6 or 8 areas; parameters and their names are those of the published checkpoints.

    Each area l follows ``tau dr_l/dt = -r_l + f(Conv_rec(r_l) + b_l + Conv_inp(h_l))`` in Euler steps of
    ``alpha = dt / tau``. All areas step synchronously: each reads the others' activity of the step before. `step` is this
    equation; `record`, `forward` and the tests of the frozen simulator use it.

    Parameters
    ----------
    depth : int
        Number of areas: 2, 4, 6 or 8.
    classes : int
        Number of classes of the read-out.
    in_channels : int
        Channels of the input image.
    image_size : int
        Side of the input image in px, 32 to 512. The bias maps have one value per unit, so they follow it.
    dt : float
        Euler step in ms, at most `tau`.
    tau : float
        Time constant in ms. The paper uses steps of 2 ms and a time constant of 10 ms.
    activation : str or float
        ``"relu"``, ``"linear"``, or the slope in [0, 1] of a PReLU below zero (the stages of training).
    noise : float
        Standard deviation of white noise, redrawn at each step, inside the activation of every unit.
    preprocessing : Preprocessing, optional
        How `preprocess` normalises images.

    Attributes
    ----------
    dt, tau : float
        As given, in ms.
    depth, classes, in_channels, image_size : int
        As given.
    sides : tuple of int
        Height (and width) in units of each area's map.
    card : dict
        What is known of the weights.

    Raises
    ------
    InputError
        If an argument is outside these ranges.

    References
    ----------
    Soo, Battista, Radmard & Wang 2024, "Recurrent neural network dynamical systems for biological vision", NeurIPS 37,
    section 2.
    """

    def __init__(
        self,
        depth: int = 8,
        *,
        classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 224,
        dt: float = 2.0,
        tau: float = 10.0,
        activation: str | float = "relu",
        noise: float = 0.0,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        super().__init__()
        self.depth = depth = arch.check_depth(depth)
        self.image_size = image_size = arch.check_image_size(image_size)
        self.classes = classes = whole("classes", classes, asked="must be at least 1, and whole")
        self.in_channels = in_channels = whole("in_channels", in_channels, asked="must be at least 1, and whole")
        self.tau = number("tau", tau, "a time constant must be a finite number above 0 (ms); the paper uses 10", above=0)
        asked = f"an Euler step must be above 0 and at most the time constant tau={self.tau!r} (ms); the paper uses 2"
        self.dt = number("dt", dt, asked, above=0, most=self.tau)
        self.noise = number("noise", noise, "a standard deviation cannot be negative, and is finite", least=0)
        self.negative_slope = _slope(activation)
        self.preprocessing = preprocessing or _default_preprocessing(in_channels)
        self.card: dict[str, Any] = {}
        self.sides = arch.area_sides(image_size, depth)

        # float32, whatever the caller has made PyTorch's default
        convolution = partial(nn.Conv2d, bias=False, dtype=torch.float32)
        self.inp_conv = weight_norm(convolution(in_channels, arch.STEM_CHANNELS, 7, stride=2, padding=3))
        self.inp_skip = weight_norm(convolution(64, 64, 3, padding=1))
        self.area_conv, self.area_area = nn.ModuleList(), nn.ModuleList()
        self.conv_bias, self.skip_area = nn.ParameterList(), nn.ModuleList()
        for area in range(depth):
            c_in, c_out, side = arch.CHANNELS_IN[area], arch.CHANNELS_OUT[area], self.sides[area]
            self.area_conv.append(weight_norm(convolution(c_out, c_out, 3, padding=1)))
            stride = arch.STRIDES[area]
            self.area_area.append(weight_norm(convolution(c_in, c_out, 3, stride=stride, padding=1)))
            self.conv_bias.append(nn.Parameter(torch.zeros(c_out, side, side, dtype=torch.float32)))
            if area % 2 and area > 1:
                below = arch.CHANNELS_OUT[area - 2]
                self.skip_area.append(weight_norm(convolution(below, c_in, 1, stride=2)))
        self.out_fc = weight_norm(nn.Linear(arch.CHANNELS_OUT[depth - 1], classes, dtype=torch.float32))

    @property
    def alpha(self) -> float:
        """The Euler step as a fraction of the time constant, ``dt / tau``."""
        return self.dt / self.tau

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.conv_bias[0].device

    def preprocess(self, images: npt.ArrayLike | Tensor) -> Tensor:
        """Resize and normalise images as these weights expect.

        Parameters
        ----------
        images : array or Tensor (image, height, width, channel)
            uint8, of any size, with 1 or 3 channels.

        Returns
        -------
        Tensor (image, in_channels, image_size, image_size)
            float32, on the network's device.

        Raises
        ------
        InputError
            If they are no such images.
        """
        pixels = images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))  # a copy: may be read-only
        if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[-1] not in (1, 3):
            raise InputError(
                f"images of type {pixels.dtype} and shape {tuple(pixels.shape)}: "
                "expected uint8 (image, height, width, 1 or 3)"
            )
        x = pixels.to(self.device).permute(0, 3, 1, 2).float() / 255
        if x.shape[1] == 1 and self.in_channels == 3:
            x = x.expand(-1, 3, -1, -1)
        elif x.shape[1] == 3 and self.in_channels == 1:
            x = (x * x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)  # Rec. 601 luma
        elif x.shape[1] != self.in_channels:
            raise InputError(f"images with {x.shape[1]} channels: this network takes {self.in_channels}")
        if x.shape[-2:] != (self.image_size, self.image_size):
            x = self._resized(x)
        mean = x.new_tensor(self.preprocessing.mean)[:, None, None]
        std = x.new_tensor(self.preprocessing.std)[:, None, None]
        return (x - mean) / std

    def _resized(self, x: Tensor) -> Tensor:
        from torchvision.transforms.v2 import functional as vision

        size, shorter = self.image_size, self.preprocessing.resize
        if shorter is None:
            return vision.resize(x, [size, size], antialias=True)
        return vision.center_crop(vision.resize(x, [shorter], antialias=True), [size, size])

    def _input(self, images: npt.ArrayLike | Tensor) -> Tensor:
        if not isinstance(images, Tensor) or images.dtype == torch.uint8:
            images = self.preprocess(images)
        expected = (self.in_channels, self.image_size, self.image_size)
        if images.ndim != 4 or tuple(images.shape[1:]) != expected:
            raise InputError(
                f"images of shape {tuple(images.shape)}: this network takes (image, {', '.join(map(str, expected))}); "
                "pass uint8 images (image, height, width, channel) to have them resized"
            )
        return images.to(self.conv_bias[0].dtype)

    def zero_state(self, images: int) -> list[Tensor]:
        """Zero activity of every area: a list of (image, channel, height, width).

        Returns
        -------
        list of Tensor
            By area.
        """
        return [b.new_zeros((images, *b.shape)) for b in self.conv_bias]

    def stem(self, x: Tensor) -> Tensor:
        """The stem's output (image, 64, H, W) for normalised images (image, in_channels, image_size, image_size).

        Returns
        -------
        Tensor of shape (image, 64, height, width)
            Of a quarter of the image's size.
        """
        return F.avg_pool2d(self.inp_conv(x), 3, stride=2, padding=1)

    def drive(self, images: npt.ArrayLike | Tensor | None) -> Drive[Tensor]:
        """What an image gives the areas at every step in which it is shown, for `step`.

        Parameters
        ----------
        images : array or Tensor, or None
            uint8 (image, height, width, channel), or float as `preprocess` returns them. None is the blank, a zero tensor:
            one image, which does for any number of states.

        Returns
        -------
        Drive
        """
        if images is None:
            size = self.image_size
            x = self.conv_bias[0].new_zeros((1, self.in_channels, size, size))
        else:
            x = self._input(images)
        stem = self.stem(x)
        return Drive(stem, self.inp_skip(stem))

    def step(
        self, rates: Sequence[Tensor], drive: Drive[Tensor], *, generator: torch.Generator | None = None
    ) -> list[Tensor]:
        """One synchronous Euler step of all areas: the network's equation.

        ``r_l <- (1 - alpha) r_l + alpha f(Conv_rec(r_l) + b_l + Conv_inp(h_l) + noise)``, where h_l is what the areas below
        and the image send to area l (`cordstasks.cordsnet.architecture.area_input`). Of rates that may be negative, which
        those of a relu network are not, areas send each other the positive part.

        Parameters
        ----------
        rates : sequence of Tensor (image, channel, height, width)
            Activity of every area; not modified.
        drive : Drive
            Of the image shown; `drive(images)`, or `drive(None)` for none.
        generator : torch.Generator, optional
            Where the noise is drawn from, if the network has noise.

        Returns
        -------
        list of Tensor (image, channel, height, width)
            The activity of every area `dt` ms later.

        Raises
        ------
        InputError
            If there is not one tensor for each area.
        """
        if len(rates) != self.depth:
            raise InputError(f"rates of {len(rates)} areas: this network has {self.depth}; give the activity of each")
        # relu dynamics keep every rate >= 0, so that only the other activations need rectified messages
        sent = [F.relu(r) for r in rates] if self.negative_slope else rates
        skips = list(self.skip_area)
        new = []
        for area, r in enumerate(rates):
            u = arch.area_input(area, drive, sent, skips)
            total = self.area_conv[area](r) + self.conv_bias[area] + self.area_area[area](u)
            if self.noise:
                white = torch.randn(total.shape, generator=generator, device=total.device, dtype=total.dtype)
                total = total + self.noise * white
            new.append((1 - self.alpha) * r + self.alpha * F.leaky_relu(total, self.negative_slope))
        return new

    def run(
        self, rates: Sequence[Tensor], drive: Drive[Tensor], steps: int, *, generator: torch.Generator | None = None
    ) -> Iterable[list[Tensor]]:
        """Yield the state after each of so many steps with the same drive; see `step` for the parameters."""
        # the normalised weights are computed once for the whole run instead of at every use
        with parametrize.cached():
            for _ in range(steps):
                rates = self.step(rates, drive, generator=generator)
                yield list(rates)

    @torch.no_grad()
    def record(
        self,
        images: npt.ArrayLike | Tensor,
        *,
        blank_steps: int = BLANK_STEPS,
        image_steps: int = IMAGE_STEPS,
        after_steps: int = 0,
        areas: Iterable[int] | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[int, Tensor]:
        """Activity while nothing, then the image, then nothing again is shown, starting from zero activity.

        Parameters
        ----------
        images : array or Tensor
            uint8 (image, height, width, channel), or float as `preprocess` returns them.
        blank_steps, image_steps, after_steps : int
            Steps of `dt` ms without an image (a zero tensor), with it, and without it again.
        areas : iterable of int, optional
            Which areas to return (default all).
        generator : torch.Generator, optional
            Where the noise is drawn from, if the network has noise.

        Returns
        -------
        dict of int to Tensor (step, image, channel, height, width)
            By area, each with blank, image and after in order. No gradient is recorded.

        Raises
        ------
        InputError
            If the images or steps do not fit, or an area does not exist.
        """
        x = self._input(images)
        blank_steps, image_steps, after_steps = (
            whole(name, steps, least=0)
            for name, steps in (("blank_steps", blank_steps), ("image_steps", image_steps), ("after_steps", after_steps))
        )
        wanted = range(self.depth) if areas is None else [self._area(area) for area in areas]
        kept: dict[int, list[Tensor]] = {area: [] for area in wanted}
        rates = self.zero_state(len(x))
        blank, shown = self.drive(None), self.drive(x)
        for drive, steps in ((blank, blank_steps), (shown, image_steps), (blank, after_steps)):
            for rates in self.run(rates, drive, steps, generator=generator):
                for area, states in kept.items():
                    states.append(rates[area])
        return {area: torch.stack(states) if states else x.new_empty(0) for area, states in kept.items()}

    def _area(self, area: int) -> int:
        if not isinstance(area, Integral) or not 0 <= area < self.depth:
            raise InputError(f"area {area!r}: this network has areas 0 to {self.depth - 1}")
        return int(area)

    def readout(self, last: Tensor, previous: Tensor) -> Tensor:
        """Logits (image, classes) from the activity (image, channel, height, width) of the two last areas.

        Returns
        -------
        Tensor of shape (image, class)
            Before the softmax.
        """
        if self.negative_slope:
            last, previous = F.relu(last), F.relu(previous)
        return self.out_fc((last + previous).mean((2, 3)))

    def forward(self, images: npt.ArrayLike | Tensor) -> Tensor:
        """Logits (image, classes) after 100 blank steps (without gradient, as in training) and 100 image steps.

        Returns
        -------
        Tensor of shape (image, class)
            Before the softmax.
        """
        x = self._input(images)
        rates = self.zero_state(len(x))
        with torch.no_grad():
            for rates in self.run(rates, self.drive(None), BLANK_STEPS):
                pass
        for rates in self.run(rates, self.drive(x), IMAGE_STEPS):
            pass
        return self.readout(rates[-1], rates[-2])


def norm_of(weight: Tensor) -> Tensor:
    """Norm of each output channel of a weight, with the shape in which weight norm keeps it."""
    return torch.linalg.vector_norm(weight.flatten(1), dim=1).view(-1, *(1,) * (weight.ndim - 1))


def norm_and_direction(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A weight as weight norm keeps it. A channel of zeros gets some direction, since 0 / 0 would be its weight."""
    norm = norm_of(weight)
    return norm, torch.where(norm > 0, weight, torch.ones_like(weight))


@torch.no_grad()
def set_weight(module: nn.Module, weight: Tensor) -> None:
    """Give a weight-normalised convolution or linear layer of a CordsNet this effective weight, in place."""
    pair: Any = module.parametrizations["weight"]  # type: ignore[index]
    for own, value in zip((pair.original0, pair.original1), norm_and_direction(weight), strict=True):
        own.copy_(value)


def _slope(activation: str | float) -> float:
    if isinstance(activation, str):
        if activation not in SLOPES:
            raise unknown("activation", activation, SLOPES)
        return SLOPES[activation]
    return number("activation", activation, "a PReLU's slope below zero must lie in [0, 1]", least=0, most=1)


def _default_preprocessing(in_channels: int) -> Preprocessing:
    if in_channels == 3:
        return Preprocessing()
    return Preprocessing(mean=(0.5,) * in_channels, std=(0.5,) * in_channels)
