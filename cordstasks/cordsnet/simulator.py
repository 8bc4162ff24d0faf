"""A CordsNet compiled for inference: the same numbers as `CordsNet.record`, with nothing computed twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from cordstasks.cordsnet import architecture as arch
from cordstasks.cordsnet.engines import Portable, Weights, engine_for
from cordstasks.cordsnet.engines.portable import SMALLEST, Convolution
from cordstasks.cordsnet.network import BLANK_STEPS, IMAGE_STEPS, CordsNet
from cordstasks.errors import InputError

__all__ = ["Simulator", "multiply_accumulates"]


@dataclass(frozen=True, eq=False)
class _Step:
    """One step through the engine's convolutions.

    It knows nothing of the simulator that it belongs to: with a reference back, neither would be freed when the last user
    of the simulator is gone, and there are hundreds of megabytes of weights.
    """

    recurrent: Sequence[Convolution]
    forward: Sequence[Convolution]
    skips: Sequence[Convolution]
    areas: tuple[int, ...]
    alpha: float
    on_cpu: bool

    def __call__(self, rates_and_totals: list[Tensor], drives: list[Tensor]) -> None:
        """Advance the rates in place, and add them to the sums of `areas` if these follow them."""
        depth = len(self.recurrent)
        rates, totals = rates_and_totals[:depth], rates_and_totals[depth:]
        for area in reversed(range(depth)):
            drive = drives[area]
            if area == 1:
                drive = self.forward[1](rates[0], drive)
            elif area > 1 and area % 2 == 0:
                drive = self.forward[area](rates[area - 1] + rates[area - 2], drive)
            elif area > 1:
                drive = self.forward[area](self.skips[(area - 3) // 2](rates[area - 2], rates[area - 1]), drive)
            rates[area].lerp_(self.recurrent[area](rates[area], drive, relu=True), self.alpha)
            if self.on_cpu:
                torch.threshold_(rates[area], SMALLEST, 0.0)
        for total, area in zip(totals, self.areas, strict=False):
            total += rates[area]


class Simulator:
    """A frozen, noise-free relu CordsNet that runs faster than its definition and agrees with it (relative error < 1e-5).

    Weight norms are folded once. What depends on the image alone is computed once per image: the stem, `inp_skip`, and
    what they drive in areas 0 and 1. The spontaneous state is computed once and kept. No relu is applied to rates, which
    are never negative. Areas are updated in place from the last to the first, which is the same as a synchronous step,
    because an area is read by itself and by the areas above it only. For the same reason areas above the highest one of
    interest are left out, without any change to the others.

    Parameters
    ----------
    network : CordsNet
        The network; its weights are copied.
    areas : int or iterable of int, optional
        The areas of interest, which `step_summed` sums, numbered from 0 (default: the last). Areas above the highest of them
        are not simulated.
    device : str or torch.device, optional
        Where to simulate (default: the network's device).
    precision : str, optional
        Precision of the products: ``"float32"``, ``"bfloat16"``, or on CUDA ``"tf32"`` (its default). The state is float32.
    engine : Portable, optional
        The convolutions to use (default: the fastest for the device); see `cordstasks.cordsnet.engines`.

    Attributes
    ----------
    areas : tuple of int
        The areas of interest, in increasing order.
    depth : int
        Number of areas that are simulated, from area 0 up.

    Raises
    ------
    InputError
        If the network has another activation or has noise, or if areas or the precision are unknown.
    """

    @torch.no_grad()
    def __init__(
        self,
        network: CordsNet,
        *,
        areas: int | Iterable[int] | None = None,
        device: str | torch.device | None = None,
        precision: str | None = None,
        engine: Portable | None = None,
    ) -> None:
        if network.negative_slope or network.noise:
            raise InputError("network: the frozen simulator is for relu networks without noise; use CordsNet.record")
        self.network = network
        self.device = torch.device(device or network.device)
        self.areas = arch.check_areas(areas, network.depth)
        self.depth, self.alpha = self.areas[-1] + 1, network.alpha
        self.engine = engine or engine_for(self.device, precision)
        convolution = self.engine.convolution

        def copied(tensor: Tensor) -> Tensor:
            return tensor.detach().to(self.device, torch.float32, copy=True)  # the caller may go on to change theirs

        def frozen(module: torch.nn.Module) -> Tensor:
            return copied(module.weight)  # type: ignore[arg-type]

        self._stem = convolution(frozen(network.inp_conv), 2)
        self._inp_skip = convolution(frozen(network.inp_skip), 1)
        recurrent = [convolution(frozen(module), 1) for module in network.area_conv[: self.depth]]
        self._inp = [
            convolution(frozen(module), stride)
            for module, stride in zip(network.area_area[: self.depth], arch.STRIDES, strict=False)
        ]
        skips = max(0, self.depth // 2 - 1)
        skipping = [convolution(frozen(module), 2) for module in network.skip_area[:skips]]
        self._bias = [copied(b)[None].contiguous(memory_format=torch.channels_last) for b in network.conv_bias[: self.depth]]
        self._readout = frozen(network.out_fc), copied(network.out_fc.bias)
        weights = Weights(
            recurrent=[frozen(module) for module in network.area_conv[: self.depth]],
            forward=[frozen(module) for module in network.area_area[: self.depth]],
            skips=[frozen(module) for module in network.skip_area[:skips]],
            alpha=self.alpha,
        )
        step = _Step(recurrent, self._inp, skipping, self.areas, self.alpha, on_cpu=self.device.type == "cpu")
        self._whole = self.engine.network(weights, self.areas, step)
        self._repeat = self._whole or self.engine.repeat(step)
        self._spontaneous: dict[int, list[Tensor]] = {}

    @torch.no_grad()
    def drives(self, x: Tensor) -> list[Tensor]:
        """What an image adds to areas 0 and 1 at every step, and the other areas' biases, for `step`.

        `x` is the normalised image (image, channel, height, width).

        Returns
        -------
        list of Tensor of shape (image, channel, height, width)
            One an area, to be read only.
        """
        x = x.to(self.device).contiguous(memory_format=torch.channels_last)
        inp = F.avg_pool2d(self._stem(x), 3, stride=2, padding=1).contiguous(memory_format=torch.channels_last)
        drives = [self._inp[0](inp) + self._bias[0]]
        if self.depth > 1:
            drives.append(self._inp[1](self._inp_skip(inp)) + self._bias[1])
        for bias in self._bias[2:]:
            same = bias.expand(len(x), -1, -1, -1)
            # an engine that takes whole steps reads what all images share once
            drives.append(same if self._whole else same.contiguous(memory_format=torch.channels_last))
        return drives

    @torch.no_grad()
    def step(self, rates: list[Tensor], drives: list[Tensor], steps: int = 1) -> None:
        """Advance `rates` (one tensor (image, channel, H, W) an area, channels last) by `steps` steps, in place."""
        self._repeat(rates, drives, steps)

    @torch.no_grad()
    def step_summed(self, rates: list[Tensor], drives: list[Tensor], totals: list[Tensor], steps: int) -> None:
        """As `step`, adding the activity of each of `areas` after each step to its tensor of `totals`, in place."""
        self._repeat([*rates, *totals], drives, steps)

    def zero_state(self, images: int) -> list[Tensor]:
        """Zero activity of every simulated area.

        Returns
        -------
        list of Tensor of shape (image, channel, height, width)
            One an area, float32.
        """
        return [b.new_zeros((images, *b.shape[1:])).contiguous(memory_format=torch.channels_last) for b in self._bias]

    @torch.no_grad()
    def spontaneous(self, images: int = 1, *, steps: int = BLANK_STEPS) -> list[Tensor]:
        """A fresh copy, for each image, of the state `steps` steps after zero activity without an image.

        Returns
        -------
        list of Tensor of shape (image, channel, height, width)
            One an area; `step` may change them.
        """
        if steps not in self._spontaneous:
            rates = self.zero_state(1)
            size = self.network.image_size
            blank = torch.zeros((1, self.network.in_channels, size, size), device=self.device, dtype=torch.float32)
            self.step(rates, self.drives(blank), steps)
            self._spontaneous[steps] = rates
        return [r.repeat(images, 1, 1, 1).contiguous(memory_format=torch.channels_last) for r in self._spontaneous[steps]]

    @torch.no_grad()
    def record(
        self,
        x: Tensor,
        *,
        blank_steps: int = BLANK_STEPS,
        image_steps: int = IMAGE_STEPS,
        after_steps: int = 0,
        areas: Iterable[int] | None = None,
    ) -> dict[int, Tensor]:
        """As `CordsNet.record`, except that the blank is simulated for one image only; `x` is normalised.

        `areas` are some of those that are simulated (default: all of them).

        Returns
        -------
        dict of int to Tensor of shape (step, image, channel, height, width)
            By area, each with blank, image and after in order; empty if there are no steps.
        """
        wanted = list(range(self.depth) if areas is None else arch.check_areas(areas, self.depth))
        kept: dict[int, list[Tensor]] = {area: [] for area in wanted}
        shape = [len(x), -1, -1, -1]

        def run(rates: list[Tensor], drives: list[Tensor], steps: int) -> None:
            for _ in range(steps):
                self.step(rates, drives)
                for area in wanted:
                    # a copy, since the step is in place; a blank state is a view for all images
                    kept[area].append(rates[area].clone().expand(shape))

        blank = self.drives(torch.zeros_like(x[:1]))
        rates = self.zero_state(1)
        run(rates, blank, blank_steps)
        rates = [r.repeat(len(x), 1, 1, 1).contiguous(memory_format=torch.channels_last) for r in rates]
        run(rates, self.drives(x), image_steps)
        run(rates, self.drives(torch.zeros_like(x)), after_steps)
        return {area: torch.stack(states) if states else x.new_empty(0) for area, states in kept.items()}

    @torch.no_grad()
    def settle(self, x: Tensor, *, steps: int = IMAGE_STEPS) -> list[Tensor]:
        """The state of every simulated area after `steps` steps of the normalised image `x`, from the spontaneous state.

        Returns
        -------
        list of Tensor of shape (image, channel, height, width)
            One an area.
        """
        rates = self.spontaneous(len(x))
        self.step(rates, self.drives(x), steps)
        return rates

    @torch.no_grad()
    def logits(self, x: Tensor, *, steps: int = IMAGE_STEPS) -> Tensor:
        """Logits (image, classes) after `steps` steps of the normalised image `x`, from the spontaneous state.

        Returns
        -------
        Tensor of shape (image, class)
            Float32.

        Raises
        ------
        InputError
            If not all areas are simulated.
        """
        if self.depth < self.network.depth:
            raise InputError(f"areas={self.areas}: classes are read out of the last two areas; simulate the whole network")
        rates = self.settle(x, steps=steps)
        return F.linear((rates[-1] + rates[-2]).mean((2, 3)), *self._readout)


def multiply_accumulates(depth: int = 8, *, image_size: int = 224, in_channels: int = 3) -> dict[str, float]:
    """Multiply-accumulates of one image in the first `depth` areas, by direct convolution.

    Parameters
    ----------
    depth : int, default 8
        Number of areas that are simulated, from 1 to 8.
    image_size : int, default 224
        Side of the images in px.
    in_channels : int, default 3
        Number of their channels.

    Returns
    -------
    dict of str to float
        ``"step"``: what a step of the simulator costs; ``"image"``: what it computes once per image; ``"published"``: a step
        that recomputes the stem for each area, and `inp_skip`, as the published code does.
    """
    sides = arch.area_sides(image_size, depth)
    half = (image_size + 1) // 2
    stem = half**2 * arch.STEM_CHANNELS * in_channels * 49
    inp_skip = sides[0] ** 2 * 64 * 64 * 9 if depth > 1 else 0  # what it feeds is area 1
    recurrent = forward = skips = first = 0
    for area, side in enumerate(sides):
        c_in, c_out = arch.CHANNELS_IN[area], arch.CHANNELS_OUT[area]
        recurrent += side**2 * c_out**2 * 9
        forward += side**2 * c_in * c_out * 9
        if area == 0:
            first = forward
        if area % 2 and area > 1:
            skips += side**2 * arch.CHANNELS_OUT[area - 2] * c_in
    return {
        "step": recurrent + forward - first + skips,
        "image": stem + 2 * inp_skip + first,
        "published": recurrent + forward + skips + inp_skip + depth * stem,
    }
