"""Recordings of a CordsNet that are larger than memory, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cordstasks.cordsnet import architecture as arch
from cordstasks.cordsnet.network import BLANK_STEPS, IMAGE_STEPS, CordsNet
from cordstasks.cordsnet.simulator import Simulator
from cordstasks.utils.arguments import whole

__all__ = ["stream", "stream_together"]


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
    for part in stream_together(
        network,
        images,
        together=1,
        blank_steps=blank_steps,
        image_steps=image_steps,
        after_steps=after_steps,
        areas=areas,
        block=block,
    ):
        yield part[0]


def stream_together(
    network: CordsNet,
    images: Iterable[npt.NDArray[np.uint8]] | Tensor,
    *,
    together: int = 8,
    blank_steps: int = BLANK_STEPS,
    image_steps: int = IMAGE_STEPS,
    after_steps: int = 0,
    areas: Iterable[int] | None = None,
    block: int = 20,
) -> Iterator[npt.NDArray[np.float32]]:
    """As `stream`, with several images at a time, which is several times faster for each.

    Parameters
    ----------
    network, images, blank_steps, image_steps, after_steps, areas, block
        As for `stream`.
    together : int
        Images that are simulated at a time; the last ones may be fewer.

    Yields
    ------
    array (image, step, unit)
        float32, units as in `stream`. The blocks of the same images are consecutive in time.

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
    most, group = whole("block", block), whole("together", together)
    simulator = Simulator(network, areas=wanted)
    waiting = iter(images)
    while shown := [network.preprocess(image[None]) for image in islice(waiting, group)]:
        x = torch.cat(shown)
        rates = simulator.spontaneous(len(x), steps=blank_steps)
        rows: list[npt.NDArray[np.float32]] = []
        for frame, steps in ((x, image_steps), (torch.zeros_like(x), after_steps)):
            drives = simulator.drives(frame)
            for _ in range(steps):
                simulator.step(rates, drives)
                rows.append(_flat(rates, wanted))
                if len(rows) == most:
                    yield np.stack(rows, 1)
                    rows = []
        if rows:
            yield np.stack(rows, 1)


def _flat(rates: list[Tensor], areas: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """All units (image, unit) of these areas, each flattened from (channel, height, width)."""
    found: npt.NDArray[np.float32] = torch.cat([rates[area].flatten(1) for area in areas], 1).cpu().numpy()
    return found
