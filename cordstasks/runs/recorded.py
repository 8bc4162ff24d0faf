"""What a run folder records of its run, checked on reading: its settings, and the weights of its front-end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

from cordstasks.cordsnet import pretrained
from cordstasks.cordsnet.checkpoints import load
from cordstasks.cordsnet.network import CordsNet
from cordstasks.errors import InputError
from cordstasks.frontend.frontend import weights_digest
from cordstasks.utils.files import absolute
from cordstasks.utils.folders import TRAINED
from cordstasks.utils.run_folder import RunFolder
from cordstasks.utils.settings import Settings

__all__ = ["named_weights", "recorded_network", "recorded_settings", "weights_record"]

T = TypeVar("T", bound=Settings)


def recorded_settings(folder: RunFolder, kind: type[T]) -> T:
    """The settings of the run in a folder, checked: all are there and have allowed values.

    Parameters
    ----------
    folder : RunFolder
        Of a run.
    kind : type
        `cordstasks.training.settings.VisualSettings` or another class of settings.

    Returns
    -------
    Settings
        Of class `kind`.

    Raises
    ------
    InputError
        If the folder holds no run, one of another family, or settings that lack something or were damaged.
    """
    config = folder.config()
    family = config.get("family")
    if family != kind.FAMILY:
        found = "a run of an earlier version" if family is None else f"a run of the {family} family"
        fix = "load it with cordstasks.load_run" if family in TRAINED else "choose another folder"
        raise InputError(f"{folder.path}: holds {found}, not of the {kind.FAMILY} one; {fix}")
    return kind.from_dict(config, str(folder.path / "config.json"))


def recorded_weights(folder: RunFolder) -> dict[str, Any]:
    """What config.json records of the front-end's weights, see `weights_record`."""
    record, path = folder.config().get("weights"), folder.path / "config.json"
    if not isinstance(record, dict) or not all(isinstance(record.get(name), str) for name in ("path", "sha256")):
        raise InputError(
            f'{path}: has "weights": {record!r}; expected an object with path and sha256: correct it, or choose another run'
        )
    return record


def weights_record(network: CordsNet, path: str | os.PathLike[str]) -> dict[str, Any]:
    """What identifies a front-end's weights in config.json: their file, their digest, and how the network is run.

    Parameters
    ----------
    network : CordsNet
        The network that was loaded.
    path : path-like
        The file that it was loaded from.
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
    return network, weights_record(network, pretrained.locate(name))


def recorded_network(
    folder: RunFolder, frontend: str, given: str | os.PathLike[str] | CordsNet | None
) -> tuple[CordsNet, dict[str, Any]]:
    """The front-end's network of a run that has begun, and its record: the weights with which it was begun, and no others.

    Parameters
    ----------
    folder : RunFolder
        Of the run.
    frontend : str
        Registry name or file that the run's settings name.
    given : str, path-like or CordsNet, optional
        Where to take the weights from; by default the file that they came from, or else what `frontend` names.

    Raises
    ------
    InputError
        If the weights that are given, or every one that is known, are gone or are others.
    """
    record = recorded_weights(folder)
    had = f"{record['path']} (sha256 {record['sha256']})"
    if given is not None:
        network = given if isinstance(given, CordsNet) else load(given)
        difference = _difference(network, record)
        if difference:
            shown = "a CordsNet" if isinstance(given, CordsNet) else os.fspath(given)
            raise InputError(
                f"weights={shown}: {difference}, and the run in {folder.path} was begun with {had}; leave it out, or "
                "give those weights"
            )
        return network, record
    problems = []
    for source in dict.fromkeys((record["path"], frontend)):
        try:
            network = load(source)
        except InputError as error:
            problems.append("is not there any more" if not os.path.lexists(source) else f"cannot be loaded ({error})")
            continue
        difference = _difference(network, record)
        if not difference:
            return network, record
        problems.append(difference)
    raise InputError(
        f"{folder.path}: the run was begun with the weights {had}, and that file {problems[0]}; pass "
        "weights=FILE with those weights"
    )


def _difference(network: CordsNet, record: Mapping[str, Any]) -> str:
    """The differences between a network and a record, as the end of a sentence; empty if there are none."""
    own = weights_record(network, record["path"])
    if own["sha256"] != record["sha256"]:
        return f"holds other weights (sha256 {own['sha256']})"
    for name in ("image_size", "alpha", "mean", "std"):
        if name in record and own[name] != record[name]:
            return f"holds the same weights (sha256 {own['sha256']}) with another {name} ({own[name]}, not {record[name]})"
    return ""
