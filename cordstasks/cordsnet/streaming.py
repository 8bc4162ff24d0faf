"""Recordings of a CordsNet that are larger than memory, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cordstasks.cordsnet import architecture as arch
from cordstasks.cordsnet.network import BLANK_STEPS, IMAGE_STEPS, CordsNet
from cordstasks.cordsnet.simulator import Simulator
from cordstasks.utils.arguments import whole

__all__ = ["stream"]


def stream(
    network: CordsNet,
    images: Iterable[npt.NDArray[np.uint8]] | Tensor,
    *,
    blank_steps: int = BLANK_STEPS,
    image_steps: int = IMAGE_STEPS,
    after_steps: int = 0,
    areas: Iterable[int] | None = None,
    block: int = 20,
) -> Iterator[npt.NDArray[np.float32]]:
    """Simulate one image after the other and yield activity in blocks of a few steps, of which none is kept.

    Parameters
    ----------
    network : CordsNet
        A relu network without noise.
    images : iterable of array (height, width, channel)
        uint8, of any size, for example from a generator that reads files.
    blank_steps : int
        Steps from zero to the spontaneous state, which are simulated once and not yielded.
    image_steps, after_steps : int
        Steps with each image, and without an image after it.
    areas : iterable of int, optional
        Which areas to yield (default: all), in increasing order.
    block : int
        Steps in one block at most.

    Yields
    ------
    array (step, unit)
        float32: the units of the areas one after the other, each flattened from (channel, height, width). The blocks of an
        image are consecutive in time.

    Raises
    ------
    InputError
        If images, steps or areas do not fit.
    """
    wanted = arch.check_areas(range(network.depth) if areas is None else areas, network.depth)
    blank_steps, image_steps, after_steps = (
        whole(name, steps, least=0)
        for name, steps in (("blank_steps", blank_steps), ("image_steps", image_steps), ("after_steps", after_steps))
    )
    most = whole("block", block)
    simulator = Simulator(network, areas=wanted)
    for image in images:
        x = network.preprocess(image[None])
        rates = simulator.spontaneous(steps=blank_steps)
        rows: list[npt.NDArray[np.float32]] = []
        for shown, steps in ((x, image_steps), (torch.zeros_like(x), after_steps)):
            drives = simulator.drives(shown)
            for _ in range(steps):
                simulator.step(rates, drives)
                rows.append(_flat(rates, wanted))
                if len(rows) == most:
                    yield np.stack(rows)
                    rows = []
        if rows:
            yield np.stack(rows)


def _flat(rates: list[Tensor], areas: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """All units of these areas, each flattened from (channel, height, width)."""
    found: npt.NDArray[np.float32] = torch.cat([rates[area][0].reshape(-1) for area in areas]).cpu().numpy()
    return found
