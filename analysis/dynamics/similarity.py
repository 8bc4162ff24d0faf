"""Dynamical similarity of networks and recordings, by way of the package ``dsa-metric``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA

from cordstasks.analysis._checks import Floats, count, real_array
from cordstasks.errors import InputError

__all__ = ["dsa_package", "dynamical_distances"]

INPUT_PARTS = ("joint", "control")  # what InputDSA may compare


def dynamical_distances(
    activities: Sequence[ArrayLike],
    *,
    inputs: Sequence[ArrayLike] | None = None,
    components: int = 10,
    delays: int = 1,
    rank: int | None = None,
    compare: str = "joint",
    workers: int = 1,
) -> Floats:
    """Distances between the dynamics of networks or recordings (DSA), or between dynamics and input mappings (InputDSA).

    Of each activity, the first principal components are taken and divided by their root mean square. To these a linear map
    from each time step to the next is fitted. DSA compares the maps' eigenvalues by the squared Wasserstein distance. With
    `inputs`, InputDSA fits how the state and the input together make the next state, and compares these maps under
    rotations.

    Not valid for activities of different time steps, nor for activity that has settled: a state that does not move says
    nothing about dynamics. Distances depend on `components`, `delays` and `rank`: choose them on data of their own, for
    instance by how well the fitted map predicts, and use the same for all networks.

    Parameters
    ----------
    activities : sequence of (trial, time, unit)
        Of at least two networks; numbers of units may differ. Not modified.
    inputs : sequence of (trial, time, channel), optional
        What each network was given, for InputDSA, with the trials and times of its activity.
    components : int
        Principal components at most.
    delays : int
        Time steps that make up a state of the map: more than 1 where units are few or hidden.
    rank : int, optional
        Of the fitted map (default: `components` for DSA and for InputDSA).
    compare : str
        Of InputDSA: ``"joint"`` for state and input maps, ``"control"`` for input maps alone.
    workers : int
        Processes.

    Returns
    -------
    (network, network)
        Symmetric, 0 on the diagonal.

    Raises
    ------
    InputError
        If ``dsa-metric`` is not installed, there are fewer than two networks, shapes do not fit, or activity is constant.

    References
    ----------
    Ostrow, Eisen, Kozachkov & Fiete 2023, "Beyond geometry: comparing the temporal structure of computation in neural
    circuits with dynamical similarity analysis", NeurIPS 36. Huang, Ostrow et al. 2025, "InputDSA: demixing then comparing
    recurrent and externally driven dynamics", arXiv 2510.25943.
    """
    if len(activities) < 2:
        raise InputError(f"activities holds {len(activities)} networks; give at least 2")
    most, steps = count("components", components, 1), count("delays", delays, 1)
    kept = most if rank is None else count("rank", rank, 1)
    if compare not in INPUT_PARTS:
        raise InputError(f"compare is {compare!r}; give one of {', '.join(INPUT_PARTS)}")
    states = [_reduced(f"activities[{place}]", values, most, steps) for place, values in enumerate(activities)]
    given = None if inputs is None else _inputs(inputs, states)
    package = dsa_package()
    common: dict[str, Any] = {"n_jobs": count("workers", workers, 1)}
    kept = min(kept, min(state.shape[2] for state in states) * steps)
    if given is None:
        model = package.DSA(states, n_delays=steps, rank=kept, score_method="wasserstein", **common)
    else:
        model = package.InputDSA(
            states,
            given,
            dmd_config={"n_delays": steps, "rank": kept, "lamb": 0, "backend": "n4sid"},
            simdist_config={"score_method": "euclidean", "compare": compare},
            **common,
        )
    distances = np.asarray(model.fit_score(), dtype=np.float64).reshape(len(states), len(states))
    if not np.isfinite(distances).all():
        raise InputError(f"activities: the fitted maps of rank {kept} have no finite distances; choose a smaller rank")
    return distances


def dsa_package() -> Any:
    """The package ``dsa-metric``, whose import takes seconds.

    Returns
    -------
    module

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        import DSA
    except ImportError as error:
        raise InputError(
            f"dynamical_distances: needs the package dsa-metric ({error}); install it with pip install 'cordstasks[dsa]'"
        ) from error
    return DSA


def _reduced(name: str, values: ArrayLike, components: int, delays: int) -> Floats:
    """The first principal components (trial, time, component) of activity, of root mean square 1 in all."""
    array = real_array(name, values, ("trial", "time", "unit"))
    trials, times, units = array.shape
    if times < delays + 2:
        raise InputError(f"{name} has {times} times; {delays} delays need at least {delays + 2}")
    flat = array.reshape(-1, units)
    if np.ptp(flat, axis=0).max() <= 1e-12 * np.abs(flat).max():
        raise InputError(f"{name} is constant, which has no dynamics; leave it out")
    # large arrays have approximate components, which without a seed are drawn from NumPy's global generator
    scores = PCA(min(components, units, len(flat)), random_state=0).fit_transform(flat)
    scores /= np.sqrt(np.mean(np.sum(scores**2, axis=1)))
    return np.asarray(scores.reshape(trials, times, -1))


def _inputs(inputs: Sequence[ArrayLike], states: Sequence[Floats]) -> list[Floats]:
    if len(inputs) != len(states):
        raise InputError(f"inputs has {len(inputs)} entries for {len(states)} activities; give one for each")
    given = [real_array(f"inputs[{place}]", values, ("trial", "time", "channel")) for place, values in enumerate(inputs)]
    for place, (own, state) in enumerate(zip(given, states, strict=True)):
        if own.shape[:2] != state.shape[:2] or own.shape[2] != given[0].shape[2]:
            raise InputError(
                f"inputs[{place}] has shape {own.shape}; give ({state.shape[0]}, {state.shape[1]}, {given[0].shape[2]}), "
                "as its activity and the other inputs have"
            )
    return given
