"""Stage 1 of CordsNet's initialisation: a feed-forward network of the same shape, and the folding of its normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cordstasks.cordsnet import architecture as arch
from cordstasks.pretraining.convolution import SmallMapConv2d, convolve


class FeedForward(nn.Module):
    """The CNN that CordsNet starts from: x_l = relu(BN2(Conv_rec(BN1(Conv_inp(u_l))))), Soo et al. 2024, section 3.

    Parameters
    ----------
    depth : int, default 8
        Number of areas (2, 4, 6 or 8).
    classes : int, default 10
        Number of classes.
    in_channels : int, default 3
        Colour channels of the images.
    """

    def __init__(self, depth: int = 8, *, classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.depth = arch.check_depth(depth)
        # float32, whatever the caller has made PyTorch's default
        convolution = partial(SmallMapConv2d, bias=False, dtype=torch.float32)
        norm = partial(nn.BatchNorm2d, dtype=torch.float32)
        self.stem = convolution(in_channels, arch.STEM_CHANNELS, 7, stride=2, padding=3)
        self.stem_bn: nn.Module = norm(arch.STEM_CHANNELS)
        self.inp_skip = convolution(64, 64, 3, padding=1)
        self.conv_inp, self.bn1 = nn.ModuleList(), nn.ModuleList()
        self.conv_rec, self.bn2 = nn.ModuleList(), nn.ModuleList()
        self.skip, self.skip_bn = nn.ModuleList(), nn.ModuleList()
        for area in range(depth):
            c_in, c_out = arch.CHANNELS_IN[area], arch.CHANNELS_OUT[area]
            self.conv_inp.append(convolution(c_in, c_out, 3, stride=arch.STRIDES[area], padding=1))
            self.conv_rec.append(convolution(c_out, c_out, 3, padding=1))
            self.bn1.append(norm(c_out))
            self.bn2.append(norm(c_out))
            if area % 2 and area > 1:
                below = arch.CHANNELS_OUT[area - 2]
                self.skip.append(convolution(below, c_in, 1, stride=2))
                self.skip_bn.append(norm(c_in))
        self.readout = nn.Linear(arch.CHANNELS_OUT[depth - 1], classes, dtype=torch.float32)

    def areas(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Inputs u_l to Conv_inp and activities x_l of every area, for images (image, channel, height, width)."""
        inp = F.avg_pool2d(self.stem_bn(self.stem(images)), 3, stride=2, padding=1)
        drive = arch.Drive(inp, self.inp_skip(inp))
        skips = [nn.Sequential(conv, bn) for conv, bn in zip(self.skip, self.skip_bn, strict=True)]
        inputs: list[Tensor] = []
        rates: list[Tensor] = []
        for area in range(self.depth):
            u = arch.area_input(area, drive, rates, skips)
            x = F.relu(self.bn2[area](self.conv_rec[area](self.bn1[area](self.conv_inp[area](u)))))
            inputs.append(u)
            rates.append(x)
        return inputs, rates

    def forward(self, images: Tensor) -> Tensor:
        """Logits (image, classes) of normalised images (image, channel, height, width)."""
        return self.logits(self.areas(images)[1])

    def logits(self, rates: list[Tensor]) -> Tensor:
        """Logits (image, classes) of the activities of the areas."""
        return self.readout((rates[-1] + rates[-2]).mean((2, 3)))


@dataclass(frozen=True)
class FoldedArea:
    """One area of the CNN with its normalisation folded in: x = relu(rec * (inp * u + a) + b)."""

    inp: Tensor  # (out, in, 3, 3)
    rec: Tensor  # (out, out, 3, 3)
    before: Tensor  # a: bias map (out, height, width) ahead of Conv_rec
    after: Tensor  # b: bias map (out, height, width) behind it


@dataclass(frozen=True)
class Folded:
    """A CNN whose convolutions carry no bias and no normalisation, and whose areas carry bias maps."""

    stem: Tensor
    inp_skip: Tensor
    skips: list[Tensor]
    areas: list[FoldedArea]
    sides: tuple[int, ...]

    def drive(self, images: Tensor) -> arch.Drive[Tensor]:
        """What normalised images (image, channel, height, width) give areas 0 and 1."""
        stem = F.avg_pool2d(F.conv2d(images, self.stem, stride=2, padding=3), 3, stride=2, padding=1)
        return arch.Drive(stem, F.conv2d(stem, self.inp_skip, padding=1))

    def input(self, area: int, drive: arch.Drive[Tensor], rates: list[Tensor]) -> Tensor:
        """What area `area` is fed, from the images' drive and the activities of the areas below."""
        skips = [partial(F.conv2d, weight=weight, stride=2) for weight in self.skips]
        return arch.area_input(area, drive, rates, skips)

    def potential(self, area: int, u: Tensor) -> Tensor:
        """What the CNN's area `area` rectifies when its input is `u`."""
        part = self.areas[area]
        before = convolve(u, part.inp, stride=arch.STRIDES[area]) + part.before
        return convolve(before, part.rec) + part.after

    def activity(self, area: int, u: Tensor) -> Tensor:
        """The CNN's activity of area `area` for its input `u`."""
        return F.relu(self.potential(area, u))


def _scale_shift(bn: nn.Module) -> tuple[Tensor, Tensor]:
    assert isinstance(bn, nn.BatchNorm2d) and bn.running_var is not None and bn.running_mean is not None
    scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)
    return scale, bn.bias - bn.running_mean * scale


@torch.no_grad()
def fold(cnn: FeedForward, image_size: int) -> Folded:
    """Fold every batch normalisation into the convolutions and into bias maps; the result computes the same activities.

    The stem's and the skips' shifts are constants that pass through a zero-padded convolution, which makes them maps:
    they are added to the bias map of the area that receives them, so that neither stem nor skip needs a bias.
    """
    sides = arch.area_sides(image_size, cnn.depth)
    stem_scale, stem_shift = _scale_shift(cnn.stem_bn)
    stem_side = arch.area_sides(image_size, 2)[0]
    # average pooling counts the padding, so the shift is smaller along the border
    conv_side = (image_size + 1) // 2
    constant = stem_shift[None, :, None, None].expand(1, -1, conv_side, conv_side)
    pooled = F.avg_pool2d(constant, 3, stride=2, padding=1)
    assert pooled.shape[-1] == stem_side
    skips, skip_shifts = [], []
    for conv, bn in zip(cnn.skip, cnn.skip_bn, strict=True):
        scale, shift = _scale_shift(bn)
        skips.append(conv.weight * scale[:, None, None, None])  # type: ignore[union-attr, operator]
        skip_shifts.append(shift)
    areas = []
    for area in range(cnn.depth):
        scale1, shift1 = _scale_shift(cnn.bn1[area])
        scale2, shift2 = _scale_shift(cnn.bn2[area])
        inp = cnn.conv_inp[area].weight * scale1[:, None, None, None]  # type: ignore[union-attr, operator]
        rec = cnn.conv_rec[area].weight * scale2[:, None, None, None]  # type: ignore[union-attr, operator]
        side, stride = sides[area], arch.STRIDES[area]
        before = shift1[:, None, None].expand(-1, side, side)
        if area == 0:
            arriving = pooled
        elif area == 1:
            arriving = F.conv2d(pooled, cnn.inp_skip.weight, padding=1)
        elif area % 2:
            below = sides[area - 1]
            arriving = skip_shifts[(area - 3) // 2][None, :, None, None].expand(1, -1, below, below)
        else:
            arriving = None
        if arriving is not None:
            before = before + F.conv2d(arriving, inp, stride=stride, padding=1)[0]
        after = shift2[:, None, None].expand(-1, side, side)
        areas.append(FoldedArea(inp, rec, before.contiguous(), after.contiguous()))
    return Folded(
        stem=cnn.stem.weight * stem_scale[:, None, None, None],
        inp_skip=cnn.inp_skip.weight.clone(),
        skips=skips,
        areas=areas,
        sides=sides,
    )
