"""A CordsNet that watches an image as a dynamical system, for `cordstasks.analysis.dynamics`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from cordstasks.cordsnet import architecture as arch
from cordstasks.cordsnet.architecture import Drive
from cordstasks.cordsnet.network import BLANK_STEPS, CordsNet
from cordstasks.errors import InputError
from cordstasks.utils.arguments import whole
from cordstasks.utils.systems import PRECISIONS, TorchSystem

__all__ = ["CordsNetSystem", "area_operator"]


class CordsNetSystem(TorchSystem):
    """The synchronous step of all areas of a CordsNet, `CordsNet.step`, without noise and with one image on the screen.

    A state is the activity of all areas, one after the other, each (channel, height, width) in C order.

    Parameters
    ----------
    network : CordsNet
        The network; the system takes a copy.
    image : array or Tensor, optional
        One image, uint8 (height, width, channel) or (1, height, width, channel), or float as `CordsNet.preprocess` returns
        it; the blank by default.
    precision : {"float64", "float32"}, default "float64"
        What the step is computed in.

    Attributes
    ----------
    size : int
        Number of units of all areas.
    shapes : tuple of (int, int, int)
        Channels, height and width of each area.
    dt : float
        Duration of a step in ms.

    Raises
    ------
    InputError
        If there is more than one image, or the network does not take it.
    """

    def __init__(self, network: CordsNet, image: NDArray[Any] | Tensor | None = None, *, precision: str = "float64") -> None:
        self.shapes = tuple((int(b.shape[0]), int(b.shape[1]), int(b.shape[2])) for b in network.conv_bias)
        super().__init__(sum(c * h * w for c, h, w in self.shapes), network.dt, precision)
        self.network = frozen(network).to(PRECISIONS[precision])
        with torch.no_grad():
            self.drive: Drive[Tensor] = self.network.drive(None if image is None else _one(image))

    def _device(self) -> torch.device:
        return self.network.device

    def areas(self, states: Tensor) -> list[Tensor]:
        """States (state, unit) as the activity (state, channel, height, width) of each area.

        Parameters
        ----------
        states : Tensor (state, unit)

        Returns
        -------
        list of Tensor
            Of the shapes (state, channel, height, width), from the lowest area to the highest.
        """
        parts = states.split([c * h * w for c, h, w in self.shapes], dim=1)
        return [part.reshape(len(states), *shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def maps(self, state: ArrayLike) -> list[NDArray[np.float64]]:
        """A state (unit,) as the activity (channel, height, width) of each area.

        Parameters
        ----------
        state : array (unit,)

        Returns
        -------
        list of float64 array
            Of the shapes `shapes`, from the lowest area to the highest.

        Raises
        ------
        InputError
            If the state has another size than the system, or is not finite.
        """
        rows, _ = self._rows("state", state)
        return [self._array(part, True) for part in self.areas(rows[:1])]

    def state_of(self, activity: Sequence[Tensor]) -> NDArray[np.float64]:
        """States (state, unit) of the activity (state, channel, height, width) of each area, as networks return it.

        Parameters
        ----------
        activity : sequence of Tensor
            One for each area, from the lowest to the highest.

        Returns
        -------
        float64 array (state, unit)

        Raises
        ------
        InputError
            If the shapes or the number of areas are not those of the network.
        """
        if [tuple(part.shape[1:]) for part in activity] != list(self.shapes):
            raise InputError(
                f"activity of shapes {[tuple(part.shape[1:]) for part in activity]}: this network has {list(self.shapes)}"
            )
        return self._array(torch.cat([part.flatten(1) for part in activity], 1), False)

    def settled(self, steps: int = 10 * BLANK_STEPS, *, tolerance: float = 1e-9) -> NDArray[np.float64]:
        """The steady state (unit,) that the network reaches from zero activity with the image on.

        Parameters
        ----------
        steps : int
            Largest number of steps.
        tolerance : float
            Largest change in a step, relative to the norm of the activity, at which the state counts as steady.

        Returns
        -------
        float64 array (unit,)

        Raises
        ------
        InputError
            If it is not steady after so many steps; the message says how much it changes.
        """
        x = torch.zeros(1, self.size, dtype=self._kind, device=self._device())
        steps = whole("steps", steps)
        tolerance = max(tolerance, 8 * float(np.finfo(self.dtype).eps))
        with torch.no_grad(), parametrize.cached():
            for _ in range(steps):
                new = self._map(x, None)
                change = float((new - x).norm() / new.norm().clamp_min(1e-30))
                x = new
                if change <= tolerance:
                    return self._array(x, True)
        raise InputError(
            f"steps={steps}: the activity is not steady, it still changes by {change:.1e} of its norm in a step; give more "
            "steps, or a larger tolerance"
        )

    def _map(self, states: Tensor, inputs: Tensor | None) -> Tensor:
        return torch.cat([r.flatten(1) for r in self.network.step(self.areas(states), self.drive)], 1)

    def _linear(self, state: Tensor, inputs: Tensor | None) -> Callable[[Tensor], Tensor]:
        """The Jacobian's product: the step without what does not depend on activity, with each unit's slope held fixed."""
        network, rates = self.network, self.areas(state)
        alpha, slope, skips = network.alpha, network.negative_slope, list(network.skip_area)
        with torch.no_grad():
            totals = _totals(network, rates, self.drive)
            slopes = [slope + (1 - slope) * (total > 0).to(total) for total in totals]
            passing = [(r > 0).to(r) if slope else None for r in rates]

        def forward(tangents: Tensor) -> Tensor:
            parts = self.areas(tangents)
            sent = [part if gate is None else part * gate for part, gate in zip(parts, passing, strict=True)]
            new = []
            for area, part in enumerate(parts):
                total = network.area_conv[area](part)
                if area:
                    below = sent[0] if area == 1 else arch.area_input(area, self.drive, sent, skips)
                    total = total + network.area_area[area](below)
                new.append(((1 - alpha) * part + alpha * slopes[area] * total).flatten(1))
            return torch.cat(new, 1)

        return forward


@torch.no_grad()
def frozen(network: CordsNet) -> CordsNet:
    """A copy without weight norms and noise, whose weights are plain tensors without gradient.

    Layers are made anew. Taking the weight norms off a copy would take them off the original, too, since PyTorch keeps them
    in a class that both share.
    """
    made = copy.deepcopy(network)
    for parent in list(made.modules()):
        for name, layer in list(parent.named_children()):
            if parametrize.is_parametrized(layer):
                parent._modules[name] = _plain(layer)
    made.noise = 0.0
    return made.requires_grad_(False)


def _plain(layer: Any) -> nn.Module:
    """A layer with the same effective weight."""
    weight = layer.weight.detach()
    made: Any
    if isinstance(layer, nn.Linear):
        made = nn.Linear(layer.in_features, layer.out_features, device=weight.device, dtype=weight.dtype)
        made.bias.copy_(layer.bias)
    else:
        sizes = {"stride": layer.stride, "padding": layer.padding, "bias": False}
        channels = layer.in_channels, layer.out_channels
        made = nn.Conv2d(*channels, layer.kernel_size, **sizes, device=weight.device, dtype=weight.dtype)
    made.weight.copy_(weight)
    return made  # type: ignore[no-any-return]


def _totals(network: CordsNet, rates: Sequence[Tensor], drive: Drive[Tensor]) -> list[Tensor]:
    """What each area's activation is given at a step."""
    sent = [F.relu(r) for r in rates] if network.negative_slope else list(rates)
    skips = list(network.skip_area)
    return [
        network.area_conv[area](r)
        + network.conv_bias[area]
        + network.area_area[area](arch.area_input(area, drive, sent, skips))
        for area, r in enumerate(rates)
    ]


def _one(image: NDArray[Any] | Tensor) -> NDArray[Any] | Tensor:
    """An image with the axis of images."""
    given = image[None] if image.ndim == 3 else image
    if given.ndim != 4 or len(given) != 1:
        raise InputError(f"image of shape {tuple(image.shape)}: give a single image, as the screen shows one at a time")
    return given


def area_operator(network: CordsNet, area: int, *, precision: str = "float32") -> LinearOperator:
    """The recurrent convolution of one area as a linear operator, computed by PyTorch.

    It equals ``cordstasks.analysis.dynamics.convolution_operator(kernel, shape)`` for the area's effective kernel.

    Parameters
    ----------
    network : CordsNet
        The network; its weights are copied.
    area : int
        From 0.
    precision : {"float32", "float64"}, default "float32"
        Its type.

    Returns
    -------
    LinearOperator
        Of shape (unit, unit), with ``matvec``, ``rmatvec``, ``matmat`` and ``rmatmat``.

    Raises
    ------
    InputError
        If there is no such area, or the precision is another.
    """
    (area,) = arch.check_areas(area, network.depth, label=f"area={area!r}")
    if precision not in PRECISIONS:
        raise InputError(f"precision={precision!r}: give float32 or float64; less is too coarse for a spectrum")
    kind = PRECISIONS[precision]
    weight = network.area_conv[area].weight.detach().to("cpu", kind).clone()  # type: ignore[union-attr, operator]
    channels, height, width = network.conv_bias[area].shape
    turned = weight.transpose(0, 1).flip(2, 3).contiguous()

    def product(kernel: Tensor) -> Callable[[NDArray[Any]], NDArray[Any]]:
        def apply(x: NDArray[Any]) -> NDArray[Any]:
            columns = np.ascontiguousarray(x.reshape(len(x), -1).T, dtype=precision)
            maps = torch.from_numpy(columns).reshape(-1, channels, height, width)
            with torch.no_grad():
                return F.conv2d(maps, kernel, padding=1).flatten(1).numpy().T.reshape(x.shape)

        return apply

    forward, backward = product(weight), product(turned)
    size = channels * height * width
    operator = LinearOperator(
        (size, size), matvec=forward, rmatvec=backward, matmat=forward, rmatmat=backward, dtype=np.dtype(precision)
    )
    operator.multiply_accumulates = weight.numel() * height * width  # see `cordstasks.analysis.dynamics.eigenvalues`
    return operator
