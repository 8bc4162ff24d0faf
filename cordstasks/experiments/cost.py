"""Multiply-accumulates against parameters: CordsNet beside torchvision's classifiers (Soo et al. 2024, figure 2C)."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from cordstasks import analysis
from cordstasks.cordsnet.network import CordsNet
from cordstasks.cordsnet.simulator import multiply_accumulates
from cordstasks.utils.arguments import whole
from cordstasks.utils.files import writable_folder, write_bytes, write_json
from cordstasks.utils.folders import locked

__all__ = ["Cost", "classifier_costs", "cordsnet_costs", "counted", "run_cost"]

IMAGE_SIZE = 224  # px: what all models of torchvision take, and the published CordsNet
DEPTHS = (2, 4, 6, 8)
FRAMES = 2  # of the paper's protocol, whose stem the simulator computes once each: no image, and the image
OPTIONS = {"googlenet": {"init_weights": False}, "inception_v3": {"init_weights": False}}  # without a warning, and fast


@dataclass(frozen=True)
class Cost:
    """What one image costs in one network.

    Attributes
    ----------
    name : str
        Of the network.
    family : str
        ``"torchvision"``, ``"CordsNet, published"`` or ``"CordsNet, simulator"``.
    parameters : int
        Number of parameters, with a read-out of 1000 classes.
    multiply_accumulates : int
        For one image of 224 px.
    """

    name: str
    family: str
    parameters: int
    multiply_accumulates: int


def classifier_costs(*, progress: bool = False) -> list[Cost]:
    """Parameters and multiply-accumulates of every classification model of the installed torchvision, without weights.

    Networks are on PyTorch's meta device, so that nothing is computed and no memory is taken. Counted are matrix products
    and convolutions (`torch.utils.flop_counter`, whose floating-point operations are two for each multiply-accumulate), in
    evaluation, for one image of 224 px. Models that were trained with larger images cost more with these.

    Parameters
    ----------
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    list of Cost
        In the order of torchvision's names.
    """
    from torchvision import models

    names = models.list_models(module=models)
    found = []
    for name in tqdm(names, desc="counting", unit="model", disable=not progress):
        found.append(counted(name, partial(models.get_model, name, weights=None, **OPTIONS.get(name, {}))))
    return found


def counted(name: str, make: Callable[[], nn.Module]) -> Cost:
    """The cost of a classifier of colour images of 224 px.

    Parameters
    ----------
    name : str
        For the result.
    make : callable
        () -> the network. Its weights are made on PyTorch's meta device, so they take neither memory nor time.

    Returns
    -------
    Cost
        Of the family ``"torchvision"``.
    """
    with _Weightless(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of defaults that later versions change, which make no difference here
        network = make().eval().to("meta")
    image = torch.empty(1, 3, IMAGE_SIZE, IMAGE_SIZE, device="meta")
    counter = FlopCounterMode(display=False)
    with _separate_attention(), counter, torch.no_grad():
        network(image)
    size = sum(parameter.numel() for parameter in network.parameters())
    return Cost(name, "torchvision", size, counter.get_total_flops() // 2)


class _Weightless(TorchFunctionMode):
    """While open, what weights are made with returns tensors of the meta device; small tables are computed as usual.

    With ``torch.device("meta")``, networks that compute their widths with tensors (RegNet) could not be made.
    """

    def __torch_function__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), options: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(options or {})
        if function in (torch.empty, torch.zeros, torch.ones):
            options["device"] = "meta"
        return function(*arguments, **options)


@contextmanager
def _separate_attention() -> Iterator[None]:
    """Compute attention by single products, which the counter sees, and not by one fused operation, which it does not."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def cordsnet_costs(steps: int = 300) -> list[Cost]:
    """Parameters and multiply-accumulates of CordsNet R2 to R8 for one image of 224 px.

    Parameters
    ----------
    steps : int
        Steps of the simulation. The paper's protocol has 300: 100 without an image, 100 with it, 100 after it.

    Returns
    -------
    list of Cost
        Of each size two rows. As published, the stem is computed again for every area at every step. Our simulator
        computes what depends on the image alone once for each of two frames: no image, and the image. It also simulates the
        first 100 steps once for all images, which is not counted here as a saving.

    Raises
    ------
    InputError
        If `steps` is not a whole number of at least 1.
    """
    steps = whole("steps", steps)
    found = []
    for depth in DEPTHS:
        with torch.device("meta"):
            network = CordsNet(depth, classes=1000, image_size=IMAGE_SIZE)
        size = sum(parameter.numel() for parameter in network.parameters())
        cost = multiply_accumulates(depth, image_size=IMAGE_SIZE)
        direct = round(steps * cost["published"])
        simulated = round(steps * cost["step"] + FRAMES * cost["image"])
        found.append(Cost(f"CordsNet-R{depth}", "CordsNet, published", size, direct))
        found.append(Cost(f"CordsNet-R{depth}", "CordsNet, simulator", size, simulated))
    return found


def run_cost(out: Path, *, steps: int = 300) -> int:
    """Do what ``python -m cordstasks.cost`` does: the table, the figure and a summary.

    Parameters
    ----------
    out : Path
        Folder for ``cost.csv``, ``summary.json`` and ``cost.png``.
    steps : int
        Steps of CordsNet's simulation.

    Returns
    -------
    int
        The command's exit status.

    Raises
    ------
    InputError
        If the number of steps or the folder cannot be used.
    """
    import torchvision

    own = cordsnet_costs(steps)
    writable_folder(out, "out")
    with locked(out, "out"):
        costs = [*own, *classifier_costs(progress=True)]
        write_bytes(out / "cost.csv", _table(costs).encode())
        figure = analysis.figures.cost_and_parameters(
            [cost.parameters for cost in costs],
            [cost.multiply_accumulates for cost in costs],
            [cost.family for cost in costs],
            names=[cost.name for cost in costs],
            named=_named(costs),
        )
        analysis.figures.save(figure, out / "cost.png")
        versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
        rows = [asdict(cost) for cost in costs]
        write_json(out / "summary.json", {"steps": steps, "image_size": IMAGE_SIZE, "versions": versions, "costs": rows})
    print(_text(own, costs))
    print(
        f"{len(costs) - len(own)} models of torchvision {torchvision.__version__}; {out}/: cost.csv, cost.png, summary.json"
    )
    return 0


def _table(costs: list[Cost]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(Cost)])
    writer.writeheader()
    writer.writerows(asdict(cost) for cost in costs)
    return text.getvalue()


def _named(costs: list[Cost]) -> list[bool]:
    """Which networks the figure names: those of ours, and a few that readers know."""
    known = {"alexnet", "squeezenet1_0", "shufflenet_v2_x0_5", "vit_l_16"}
    return [cost.name in known or cost.family == "CordsNet, simulator" for cost in costs]


def _text(own: list[Cost], costs: list[Cost]) -> str:
    by: dict[tuple[str, str], Any] = {(cost.name, cost.family): cost for cost in own}
    lines = [
        "                parameters   published   simulator   ratio   torchvision models that cost more than the simulator"
    ]
    others = [cost.multiply_accumulates for cost in costs if cost.family == "torchvision"]
    for depth in DEPTHS:
        name = f"CordsNet-R{depth}"
        direct, ours = by[name, "CordsNet, published"], by[name, "CordsNet, simulator"]
        macs, less = direct.multiply_accumulates, ours.multiply_accumulates
        more = sum(other > less for other in others)
        lines.append(
            f"{name:<14} {direct.parameters / 1e6:8.2f} M  {macs / 1e9:8.1f} G  {less / 1e9:8.1f} G  {macs / less:6.2f}"
            f"   {more} of {len(others)}"
        )
    return "\n".join(lines)
