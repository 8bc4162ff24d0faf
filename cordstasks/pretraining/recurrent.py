"""A discrete-time recurrent CNN with the convolutions of CordsNet's areas, trained to answer at one step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cordstasks.cordsnet import architecture as arch
from cordstasks.pretraining.feedforward import FeedForward
from cordstasks.utils.arguments import whole

__all__ = ["RecurrentCNN"]

GROUPS = 32  # of channels, as CORnet-RT normalises them


class RecurrentCNN(FeedForward):
    """A recurrent CNN in discrete time: x_l(t + 1) = relu(N2(Conv_rec(relu(N1(Conv_inp(u_l(t)))) + x_l(t)))).

    This is the circuit of an area of CORnet-RT, with the convolutions and the connections between areas of CordsNet. It has
    as many parameters as `FeedForward`. All areas step together, and each reads the other areas of the step before. The
    normalisations N are over groups of channels of one image, so that they need no statistics of the step. Classes are read
    out at one step, which is the only one that training looks at.

    Parameters
    ----------
    depth, classes, in_channels
        As for `FeedForward`.
    steps : int, default 5
        Steps from zero activity to the answer. The image reaches two more areas with each step.

    References
    ----------
    Kubilius, Schrimpf, Nayebi, Bear, Yamins & DiCarlo 2018, "CORnet: modeling the neural mechanisms of core object
    recognition", bioRxiv 408385 (CORnet-RT).
    """

    def __init__(self, depth: int = 8, *, classes: int = 10, in_channels: int = 3, steps: int = 5) -> None:
        super().__init__(depth, classes=classes, in_channels=in_channels)
        self.steps = whole("steps", steps)
        self.stem_bn = _grouped(self.stem_bn)
        for norms in (self.bn1, self.bn2, self.skip_bn):
            for place, norm in enumerate(norms):
                norms[place] = _grouped(norm)

    def zero_state(self, images: Tensor) -> list[Tensor]:
        """Zero activity (image, channel, height, width) of every area, for images (image, channel, height, width).

        Returns
        -------
        list of Tensor of shape (image, channel, height, width)
            One an area.
        """
        sides = arch.area_sides(images.shape[-1], self.depth)
        return [images.new_zeros((len(images), c, side, side)) for c, side in zip(arch.CHANNELS_OUT, sides, strict=False)]

    def drive(self, images: Tensor) -> arch.Drive[Tensor]:
        """What normalised images give areas 0 and 1 at every step in which they are shown.

        Returns
        -------
        Drive
            Two tensors of shape (image, channel, height, width).
        """
        stem = F.avg_pool2d(self.stem_bn(self.stem(images)), 3, stride=2, padding=1)
        return arch.Drive(stem, self.inp_skip(stem))

    def step(self, rates: Sequence[Tensor], drive: arch.Drive[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Inputs u_l and the activities of every area one step later; `rates` are not modified.

        Returns
        -------
        inputs, rates : list of Tensor of shape (image, channel, height, width)
            One an area.
        """
        skips = [nn.Sequential(conv, norm) for conv, norm in zip(self.skip, self.skip_bn, strict=True)]
        inputs, new = [], []
        for area, x in enumerate(rates):
            u = arch.area_input(area, drive, rates, skips)
            arriving = F.relu(self.bn1[area](self.conv_inp[area](u))) + x
            inputs.append(u)
            new.append(F.relu(self.bn2[area](self.conv_rec[area](arriving))))
        return inputs, new

    def areas(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Inputs u_l and activities x_l of every area at the step of the answer, from zero activity.

        Returns
        -------
        inputs, rates : list of Tensor of shape (image, channel, height, width)
            One an area.
        """
        drive, inputs, rates = self.drive(images), list[Tensor](), self.zero_state(images)
        for _ in range(self.steps):
            inputs, rates = self.step(rates, drive)
        return inputs, rates


def _grouped(norm: nn.Module) -> nn.GroupNorm:
    assert isinstance(norm, nn.BatchNorm2d)
    return nn.GroupNorm(min(GROUPS, norm.num_features), norm.num_features, dtype=torch.float32)
