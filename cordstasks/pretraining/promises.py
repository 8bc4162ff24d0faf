"""What stages promise, measured: spectral radius, and accuracy and return to baseline under the protocol."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cordstasks.pretraining.data import Images
from cordstasks.pretraining.objectives import relax, spontaneous_state
from cordstasks.pretraining.presentation import Presentation
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.pretraining.unrolled import Dynamics

__all__ = ["protocol_accuracy", "spectral_radius"]


@torch.no_grad()
def spectral_radius(kernel: Tensor, side: int, *, iterations: int = 100) -> float:
    """Largest absolute eigenvalue of a zero-padded convolution, by power iteration.

    Parameters
    ----------
    kernel : Tensor (channel, channel, 3, 3)
    side : int
        Height and width of the map that it acts on.
    iterations : int
        Applications; the growth of the norm over the second half of them is averaged, so that a pair of complex
        eigenvalues, whose growth oscillates, is measured too.
    """
    v = torch.randn(1, kernel.shape[0], side, side, generator=torch.Generator().manual_seed(0)).to(kernel)
    growth = []
    for _ in range(iterations):
        v = F.conv2d(v, kernel, padding=1)
        norm = float(v.norm())
        if norm == 0:
            return 0.0
        growth.append(norm)
        v = v / norm
    late = torch.tensor(growth[iterations // 2 :], dtype=torch.float64)
    return float(late.log().mean().exp())


@torch.no_grad()
def protocol_accuracy(
    network: Dynamics,
    data: Images,
    presentation: Presentation,
    settings: PretrainSettings,
    *,
    from_zero: bool = False,
    batch: int = 100,
) -> dict[str, Any]:
    """Accuracy at the end of the image, and how far each area is from the spontaneous state when it should be back.

    Parameters
    ----------
    network : Dynamics
    data : Images
        To test with.
    presentation : Presentation
    settings : PretrainSettings
        Steps of blank, image and after.
    from_zero : bool
        Begin with zero activity and end with the image.
    batch : int
        Images at a time.

    Returns
    -------
    dict
        ``"test"``: a fraction; ``"return"``: for each area the mean over images of the distance to the spontaneous state
        at the end, over that distance when the image left.
    """
    rest = network.zero_state(1) if from_zero else spontaneous_state(network, settings.blank_steps)
    right, seen, back = 0, 0, []
    for start in range(0, len(data), batch):
        images, labels = data.batch(torch.arange(start, min(start + batch, len(data))))
        x = presentation.test(images)
        rates = relax(network, [r.expand(len(x), *r.shape[1:]) for r in rest], network.drives(x), settings.image_steps)
        right += int((network.logits(rates).argmax(1) == labels.to(x.device)).sum())
        seen += len(x)
        if not from_zero:
            left = _distances(rates, rest)
            rates = relax(network, rates, network.drives(None), settings.after_steps)
            back.append(_distances(rates, rest) / left)
    found: dict[str, Any] = {"test": right / seen}
    if back:
        found["return"] = torch.cat(back, 1).mean(1).tolist()
    return found


def _distances(rates: list[Tensor], others: list[Tensor]) -> Tensor:
    return torch.stack([(r - other).flatten(1).norm(dim=1) for r, other in zip(rates, others, strict=True)])
