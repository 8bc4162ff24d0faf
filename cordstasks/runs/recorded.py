"""What a run folder says of its run, checked before it is believed: its settings, and which weights its front-end has."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cordstasks import tasks
from cordstasks.cordsnet import pretrained as registry
from cordstasks.cordsnet.checkpoints import load
from cordstasks.cordsnet.network import CordsNet
from cordstasks.errors import InputError
from cordstasks.frontend.frontend import weights_digest
from cordstasks.utils.files import absolute
from cordstasks.utils.run_folder import RunFolder

__all__ = ["named_weights", "read_config", "recorded_network", "weights_record"]

_Kind = tuple[str, Callable[[Any], bool]]


def _whole(least: int) -> _Kind:
    return (
        f"a whole number of at least {least}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**63,
    )


_NAME: _Kind = ("a name", lambda value: isinstance(value, str) and value != "")


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


# every setting of a run of `cordstasks.train`, and what it must be
KINDS: dict[str, _Kind] = {
    **dict.fromkeys(("task", "frontend", "readout", "device"), _NAME),
    **dict.fromkeys(("trials", "heldout", "validation", "steps", "units", "batch"), _whole(1)),
    **dict.fromkeys(("dt", "tau", "learning_rate"), ("a finite number above 0", lambda value: _number(value) and value > 0)),
    "inputs": _whole(1),
    "areas": (
        "a list of areas, numbered from 0",
        lambda value: isinstance(value, list) and len(value) > 0 and all(_whole(0)[1](area) for area in value),
    ),
    "side": ("a whole number of at least 1 or null", lambda value: value is None or _whole(1)[1](value)),
    "noise": ("a finite number of at least 0", lambda value: _number(value) and value >= 0),
    "seed": _whole(0),
    "labels_only": ("true or false", lambda value: isinstance(value, bool)),
    "precision": ("a name or null", lambda value: value is None or isinstance(value, str)),
    "set": ("an object of task parameters", lambda value: isinstance(value, dict)),
    "weights": (
        "an object with path and sha256",
        lambda value: isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("path", "sha256")),
    ),
    "environment": ("an object", lambda value: isinstance(value, dict)),
}


def read_config(folder: RunFolder) -> dict[str, Any]:
    """The settings of the run of a visual task that a folder holds, every one of them there and of its kind.

    Raises
    ------
    InputError : the folder holds no run, one of an abstract task, or settings that lack something or were damaged.
    """
    config, path = folder.config(), folder.path / "config.json"
    task = config.get("task")
    if task in tasks.abstract_names():
        raise InputError(
            f"{folder.path}: holds networks of the abstract task {task}; continue them with --resume --out {folder.path} "
            "alone, or load them with cordstasks.runs.abstract.load_networks"
        )
    missing = sorted(set(KINDS) - set(config), key=lambda name: (name != "task", name))
    if missing:
        raise InputError(f"{path} lacks {missing[0]!r}; the folder holds no run of this version, so choose another")
    for name, (kind, fits) in KINDS.items():
        if not fits(config[name]):
            # as the file has it, since flags of the same name do not change it
            raise InputError(f'{path} has "{name}": {config[name]!r}; expected {kind}: correct it, or choose another run')
    config["set"] = {name: tuple(value) if isinstance(value, list) else value for name, value in config["set"].items()}
    return config


def weights_record(network: CordsNet, path: str | os.PathLike[str]) -> dict[str, Any]:
    """What identifies a front-end's weights in config.json: their file, their digest, and how the network is run.

    Parameters
    ----------
    network : the network that was loaded.
    path : the file that it was loaded from.
    """
    return {
        "path": absolute(path),
        "sha256": weights_digest(network),
        "image_size": network.image_size,
        "alpha": network.alpha,
        "mean": list(network.preprocessing.mean),
        "std": list(network.preprocessing.std),
    }


def named_weights(name: str | os.PathLike[str]) -> tuple[CordsNet, dict[str, Any]]:
    """The network of a registry name or a file, and its record; see `weights_record`."""
    network = load(name)
    return network, weights_record(network, registry.locate(name))


def recorded_network(
    folder: Path,
    config: Mapping[str, Any],
    given: str | os.PathLike[str] | CordsNet | None,
    *,
    name: str = "weights",
) -> CordsNet:
    """The front-end's network of a run that has begun: the weights that it was begun with, and no others.

    Parameters
    ----------
    folder : of the run, for messages.
    config : its settings, see `read_config`.
    given : where to take the weights from; None for the file that they came from, or else what the run's front-end names.
    name : of the argument that `given` is, for messages.

    Raises
    ------
    InputError : the weights that are given, or every one that is known, are gone or are others.
    """
    record = config["weights"]
    had = f"{record['path']} (sha256 {record['sha256']})"
    if given is not None:
        network = given if isinstance(given, CordsNet) else load(given)
        difference = _difference(network, record)
        if difference:
            shown = "a CordsNet" if isinstance(given, CordsNet) else os.fspath(given)
            raise InputError(
                f"{_assigned(name, shown)}: {difference}, and the run in {folder} was begun with {had}; leave it out, or "
                "give those weights"
            )
        return network
    problems = []
    for source in dict.fromkeys((record["path"], config["frontend"])):
        try:
            network = load(source)
        except InputError as error:
            problems.append("is not there any more" if not os.path.lexists(source) else f"cannot be loaded ({error})")
            continue
        difference = _difference(network, record)
        if not difference:
            return network
        problems.append(difference)
    fix = "--weights FILE" if name.startswith("--") else f"{name}=FILE"
    raise InputError(
        f"{_assigned(name, 'None')}: the run in {folder} was begun with {had}, and that file {problems[0]}; pass {fix} with "
        "those weights"
    )


def _assigned(name: str, value: str) -> str:
    if not name.startswith("--"):
        return f"{name}={value}"
    return name if value == "None" else f"{name} {value}"


def _difference(network: CordsNet, record: Mapping[str, Any]) -> str:
    """In what a network is not the one of a record, as the end of a sentence; empty if it is."""
    own = weights_record(network, record["path"])
    if own["sha256"] != record["sha256"]:
        return f"holds other weights (sha256 {own['sha256']})"
    for name in ("image_size", "alpha", "mean", "std"):
        if name in record and own[name] != record[name]:
            return f"holds the same weights (sha256 {own['sha256']}) with another {name} ({own[name]}, not {record[name]})"
    return ""
