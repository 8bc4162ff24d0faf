"""Reading and writing CordsNet checkpoints: the published flat state dict, as ``.pth`` or as safetensors with a card."""

from __future__ import annotations

import json
import math
import os
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as from_safetensors_bytes
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from cordstasks.cordsnet import pretrained as registry
from cordstasks.cordsnet.network import CordsNet, Preprocessing, norm_and_direction, norm_of
from cordstasks.errors import InputError
from cordstasks.utils.files import write_bytes
from cordstasks.utils.states import save_state

CARD = "cordstasks"  # key of the card in a safetensors file's metadata


def load(name_or_path: str | os.PathLike[str], *, map_location: str | torch.device = "cpu") -> CordsNet:
    """Load a pretrained CordsNet by its registry name, or from a file of the published or of this project's format.

    Parameters
    ----------
    name_or_path : path-like
        ``"cordsnet-r8"`` (shipped with cordstasks), ``"cordsnet-r8-imagenet"`` (the published checkpoint, downloaded and
        verified on first use) or a ``.safetensors`` or ``.pth`` file.
    map_location : str or torch.device, default "cpu"
        Device of the result.

    Returns
    -------
    CordsNet
        The network, in evaluation mode; its `card` holds what is known of the weights.

    Raises
    ------
    InputError
        If the name is unknown, or the file is missing, damaged, of another architecture, or holds code.
    """
    path = registry.locate(name_or_path)
    tensors, card = _read(path)
    network = _build(tensors, card, path)
    network.card = {"weights": str(name_or_path), **card}
    return network.to(map_location).eval()


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
                metadata = file.metadata() or {}
            card = json.loads(metadata.get(CARD, "{}"))
            if not isinstance(card, dict):
                raise ValueError("its card is not a dictionary")
            return tensors, card
        except (SafetensorError, OSError, ValueError) as error:
            raise InputError(f"weights {path}: damaged or not a safetensors file ({error})") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of what it is about to refuse; one error is enough
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"weights {path}: refused, since reading it would run code or it is not a checkpoint; "
            "save a plain state dict with torch.save(model.state_dict(), ...)"
        ) from error
    except Exception as error:  # what is damaged may fail in any way
        raise InputError(f"weights {path}: truncated or not a torch checkpoint ({_one_line(error)})") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) and v.is_floating_point() for v in state.values()):
        raise InputError(f"weights {path}: expected a flat dictionary of tensors of real numbers (a state dict)")
    return {str(name): value.float() for name, value in state.items()}, {}


def to_bytes(network: CordsNet, *, half: bool = False) -> bytes:
    """What `save` writes into a ``.safetensors`` file.

    Returns
    -------
    bytes
    """
    card = {
        **network.card,
        "depth": network.depth,
        "image_size": network.image_size,
        "dt": network.dt,
        "tau": network.tau,
        "alpha": network.alpha,
        "mean": network.preprocessing.mean,
        "std": network.preprocessing.std,
        "resize": network.preprocessing.resize,
    }
    return safetensors_bytes(_state(network, half=half), metadata={CARD: json.dumps(card)})


def from_bytes(content: bytes) -> CordsNet:
    """The network, in evaluation mode on the CPU, of what `to_bytes` gave.

    Returns
    -------
    CordsNet

    Raises
    ------
    InputError
        If it is not a network.
    """
    try:
        head = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        tensors, card = from_safetensors_bytes(content), json.loads(head["__metadata__"][CARD])
    except (SafetensorError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"content: {len(content)} bytes that are no CordsNet ({error}); give what to_bytes gave") from error
    network = _build({name: value.float() for name, value in tensors.items()}, card, Path("content"))
    network.card = card
    return network.eval()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _build(tensors: dict[str, Tensor], card: dict[str, Any], path: Path) -> CordsNet:
    depth = len([name for name in tensors if re.fullmatch(r"conv_bias\.\d+", name)])
    try:
        in_channels = tensors["inp_conv.parametrizations.weight.original1"].shape[1]
        classes = len(tensors["out_fc.bias"])
        image_size = card.get("image_size", 4 * tensors["conv_bias.0"].shape[-1])
        network = CordsNet(
            depth,
            classes=classes,
            in_channels=in_channels,
            image_size=image_size,
            dt=card.get("dt", 2.0),
            # older cards hold alpha = dt / tau, for steps of 2 ms
            tau=card["tau"] if "tau" in card else 2.0 / card.get("alpha", 0.2),
            preprocessing=_preprocessing(card, in_channels, image_size),
        )
        network.load_state_dict(tensors)
    except (KeyError, IndexError, TypeError, RuntimeError, ValueError, ZeroDivisionError) as error:
        raise InputError(
            f"weights {path}: not a CordsNet of 2, 4, 6 or 8 areas in the published format ({_one_line(error)})"
        ) from error
    return network


def _preprocessing(card: dict[str, Any], in_channels: int, image_size: int) -> Preprocessing | None:
    if "mean" in card:
        made = Preprocessing(tuple(card["mean"]), tuple(card["std"]), card.get("resize"))
        for name, values in (("mean", made.mean), ("std", made.std)):
            if len(values) != in_channels or not all(math.isfinite(value) for value in values):
                raise ValueError(f"its card's {name} {values} is not a finite number for each of {in_channels} channels")
        if min(made.std) <= 0 or not (made.resize is None or (isinstance(made.resize, int) and made.resize >= 1)):
            raise ValueError(f"its card's std {made.std} and resize {made.resize} must be above 0")
        return made
    # published files are ImageNet's: the shorter side becomes 256 px for each 224 px of the crop
    return Preprocessing(resize=round(image_size * 256 / 224)) if in_channels == 3 else None


def save(network: CordsNet, path: str | os.PathLike[str], *, half: bool = False) -> None:
    """Write `network` to `path` (``.safetensors`` or ``.pth``), atomically.

    With `half`, directions are stored as float16 and norms as float32, measured after rounding, so that the weights that
    a reader builds are exactly the rounded ones.

    Raises
    ------
    InputError
        If the name has another ending, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        write_bytes(path, to_bytes(network, half=half))
    elif path.suffix in {".pth", ".pt"}:
        save_state(path, _state(network, half=half))
    else:
        raise InputError(f"path {path}: choose a name that ends in .safetensors, .pth or .pt")


def _state(network: CordsNet, *, half: bool) -> dict[str, Tensor]:
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    return _halved(state) if half else state


def _halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    small = {}
    for name, value in state.items():
        if name.endswith("original0"):
            direction = state[name[:-1] + "1"]
            norm, rounded = norm_and_direction((value * direction / norm_of(direction)).half().float())
            small[name], small[name[:-1] + "1"] = norm, rounded.half()
        elif not name.endswith("original1"):
            small[name] = value.half()
    return small
