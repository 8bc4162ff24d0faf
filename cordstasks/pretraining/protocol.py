"""Check of a CordsNet under the paper's protocol: is it right while the image stays, and back to baseline after?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from cordstasks.cordsnet.network import CordsNet
from cordstasks.cordsnet.simulator import Simulator
from cordstasks.pretraining.data import Images


@torch.no_grad()
def check_images(
    network: CordsNet, data: Images, *, image_ms: tuple[int, ...] = (200, 400), after_ms: int = 200, batch: int = 50
) -> dict[str, Any]:
    """Accuracy at times after image onset, and how far each area is from its way back after the image has left.

    Every image is shown from the spontaneous state (100 blank steps) until the last of `image_ms`, in the network's own
    steps; then nothing is shown for `after_ms`.

    Returns
    -------
    dict of str to object
        ``"images"``, ``"accuracy"`` {ms: fraction}, and ``"return"``: for each area the mean over images of the distance to
        the spontaneous state `after_ms` after the image left, over that distance when it left.
    """
    simulator = Simulator(network)
    right = dict.fromkeys(image_ms, 0)
    seen, left = 0, list[Tensor]()
    for start in tqdm(range(0, len(data), batch), desc="protocol", unit="batch", leave=False):
        images, labels = data.batch(torch.arange(start, min(start + batch, len(data))))
        x, labels = network.preprocess(images), labels.to(network.device)
        spontaneous = simulator.spontaneous(len(x))
        rates = [r.clone() for r in spontaneous]
        drives, shown = simulator.drives(x), 0
        for ms in sorted(image_ms):
            steps = round(ms / network.dt)
            simulator.step(rates, drives, steps - shown)
            shown = steps
            right[ms] += int((network.readout(rates[-1], rates[-2]).argmax(1) == labels).sum())
        seen += len(x)
        left.append(_returned(simulator, rates, spontaneous, torch.zeros_like(x), after_ms))
    return {
        "images": seen,
        "accuracy": {ms: count / seen for ms, count in right.items()},
        "return": torch.cat(left, 1).mean(1).tolist(),
    }


@torch.no_grad()
def check_frames(
    network: CordsNet, frames: Mapping[str, NDArray[np.uint8]], *, frame_ms: int = 400, after_ms: int = 200
) -> dict[str, list[float]]:
    """The same return to the spontaneous state for named frames uint8 (height, width, channel), one value an area."""
    simulator = Simulator(network)
    x = network.preprocess(np.stack([np.broadcast_to(f, (*f.shape[:2], 3)) for f in frames.values()]))
    spontaneous = simulator.spontaneous(len(x))
    rates = simulator.settle(x, steps=round(frame_ms / network.dt))
    left = _returned(simulator, rates, spontaneous, torch.zeros_like(x), after_ms)
    return {name: left[:, column].tolist() for column, name in enumerate(frames)}


def _returned(simulator: Simulator, rates: list[Tensor], spontaneous: list[Tensor], blank: Tensor, ms: int) -> Tensor:
    """Distance to the spontaneous state `ms` after now over the distance now (area, image); `rates` are advanced."""
    now = _distances(rates, spontaneous)
    simulator.step(rates, simulator.drives(blank), round(ms / simulator.network.dt))
    return _distances(rates, spontaneous) / now


def _distances(rates: list[Tensor], others: list[Tensor]) -> Tensor:
    return torch.stack([(r - other).flatten(1).norm(dim=1) for r, other in zip(rates, others, strict=True)])
