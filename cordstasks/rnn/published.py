"""Reading the trained networks that were published with Dubreuil et al. 2022."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from cordstasks.errors import InputError
from cordstasks.rnn.connectivity import Full, LowRank
from cordstasks.rnn.network import RNN
from cordstasks.utils.arguments import number

FULL, LOW = {"wi", "si", "wrec", "wo", "so", "h0"}, {"wi", "si", "m", "n", "wo", "so", "h0"}


def load_published(path: str | Path, *, alpha: float = 0.2, noise: float = 0.0) -> RNN:
    """Read a network of the repository that goes with Dubreuil et al. 2022 (adrian-valente/populations_paper_code).

    Such a file holds weights only: of a network of full rank, or of low rank, in current form with tanh.

    Parameters
    ----------
    path : path-like
        A ``.pt`` file. It is read as numbers only and no code in it is run.
    alpha : float, default 0.2
        dt / tau of the network; dt is taken as 20 ms.
    noise : float, default 0.0
        Standard deviation of what is added to h at each step (mostly 0.05 in the paper), unlike that of `RNN`, which does
        not depend on alpha.

    Returns
    -------
    RNN
        With the weights of the file.

    Raises
    ------
    InputError
        If the file cannot be read, or is none of these networks.
    """
    alpha = number("alpha", alpha, "must be above 0 and at most 1", above=0, most=1)
    noise = number("noise", noise, "must be a finite number of at least 0", least=0)
    state = _read(Path(path))
    low = "m" in state
    wi, wo = state["wi"], state["wo"]
    if wi.ndim != 2 or wo.ndim != 2 or wi.shape[1] != wo.shape[0]:
        raise InputError(f"{path}: wi {tuple(wi.shape)} and wo {tuple(wo.shape)} must be (input, unit) and (unit, output)")
    units = wi.shape[1]
    shapes: dict[str, tuple[int, ...]] = {"si": (len(wi),), "so": (wo.shape[1],), "h0": (units,)}
    if low:
        shapes |= dict.fromkeys("mn", (units, state["m"].shape[-1] if state["m"].ndim else 0))
    else:
        shapes["wrec"] = (units, units)
    for name, shape in shapes.items():
        if tuple(state[name].shape) != shape:
            raise InputError(f"{path}: {name} has shape {tuple(state[name].shape)}, and {shape} was expected")
    rnn = RNN(
        len(wi),
        units,
        wo.shape[1],
        dt=20.0,
        tau=20.0 / alpha,
        noise=noise / math.sqrt(2 * alpha),
        activation="tanh",
        connectivity=LowRank(state["m"].shape[1]) if low else Full(),
        form="current",
        initial=state["h0"],
    )
    with torch.no_grad():
        rnn.input_weights.copy_((wi * state["si"][:, None]).T)
        rnn.output_weights.copy_((wo * state["so"]).T / (units if low else 1))
        for theirs, ours in (
            {"m": "recurrent_m", "n": "recurrent_n"}.items() if low else {"wrec": "recurrent_weights"}.items()
        ):
            rnn.get_parameter(ours).copy_(state[theirs])
    return rnn


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # what is damaged may fail in any way
        raise InputError(f"{path}: damaged, or not a file of weights only") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: not a network, which would be a dictionary of tensors")
    state.pop("rec_noise", None)  # a leftover of some files, which the paper's programs drop too
    keys = set(state)
    if keys not in (FULL, LOW):
        if "gaussian_basis" in keys:
            raise InputError(
                f"{path}: a mixture-of-populations network (it has gaussian_basis), which this program does not read; "
                "choose a network of full or low rank"
            )
        nearest = LOW if "m" in keys or "n" in keys else FULL
        missing, strange = sorted(nearest - keys), sorted(map(str, keys - nearest))
        parts = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has unknown {', '.join(strange)}"] * bool(strange)
        raise InputError(f"{path}: not a network of the paper's: it {' and '.join(parts)}")
    return {name: value.detach().float() for name, value in state.items()}
