"""What a memory is made of: separate points, a line or a ring of states, with the evidence for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components, dijkstra, minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform

from cordstasks.analysis._checks import Floats, count, real_array
from cordstasks.analysis.dynamics.activity import participation_ratio
from cordstasks.analysis.dynamics.maps import Map, Step, states_of
from cordstasks.errors import InputError
from cordstasks.utils.arguments import number

__all__ = ["Attractor", "PointSet", "classify_points", "memory_attractor"]

APART = 0.3  # a gap between points that separates groups, as a fraction of the extent
COMPACT = 0.5  # the largest diameter of a group that counts as one point, likewise
HOLE = 0.3  # least distance of a ring's points from the centre, as a fraction of their mean distance
CLOSED = 0.25  # the largest gap of a ring between the ends of its path, as a fraction of the path
COVERED = 0.9  # fraction of the points that lie along the path of a line or ring
FEW = 0.02  # of the points: fewer make no group of their own that counts
COLLAPSED = 0.02  # of the starts' extent: below, all points are one


@dataclass(frozen=True, eq=False)
class PointSet:
    """A set of points and what kind of set it is.

    Attributes
    ----------
    kind : str
        ``"point"`` (a single one), ``"discrete"`` (two or more compact groups), ``"ring"``, ``"line"``, or ``"other"``:
        a set that is not along one curve, such as several groups of which some are points and some are not, or that is
        scattered so far apart that it makes no groups.
    groups : int64 (point,)
        The group of each point, the largest first: points of different groups are apart by 0.3 of the extent or more.
    order : int64 (ordered,)
        Points along the longest path through the largest group, from one end to the other.
    closure : float
        Distance between the two ends of this path, as a fraction of its length: near 0 for a ring, near 1 for a straight
        line.
    hole : float
        Least distance of a point of that group from their centre, as a fraction of the mean distance.
    coverage : float
        Fraction of the points of that group along the path.
    dimension : float
        Participation ratio of all points: dimensions of the space that they lie in.
    extent : float
        Root-mean-square distance from their mean.
    """

    kind: str
    groups: NDArray[np.int64]
    order: NDArray[np.int64]
    closure: float
    hole: float
    coverage: float
    dimension: float
    extent: float

    @property
    def number_of_groups(self) -> int:
        """Number of groups with 2 % of the points or more, so that single stray points do not count."""
        return int((np.bincount(self.groups) >= max(1, FEW * len(self.groups))).sum())


def classify_points(points: ArrayLike, *, scale: float | None = None) -> PointSet:
    """Say whether points are separate, or lie along a line or a ring.

    Points are joined by their minimum spanning tree. Edges longer than 0.3 of the extent separate groups. If more than a
    tenth of the points belong to no group, the set is none of these. If all groups are compact, the set is discrete.
    Otherwise it is a ring or a line if the largest group holds nine tenths of the points, and nearly all of these lie along
    the longest path through the tree: a ring if the ends of the path meet around an empty centre.

    Parameters
    ----------
    points : array (point, unit)
        Ten or more; for a ring, dense enough that gaps are below 0.3 of its radius.
    scale : float, optional
        Extent of what the points came from: if theirs is below 2 % of it, they are a single point.

    Returns
    -------
    PointSet

    Raises
    ------
    InputError
        If points are not finite or fewer than ten.

    Notes
    -----
    Not valid for points that noise has moved by 0.3 of the extent. More than about 20 separate points around a ring,
    or 8 along a line, are closer to each other than what it takes to tell them from a continuum.
    """
    array = real_array("points", points, ("point", "unit"))
    if len(array) < 10:
        raise InputError(f"points: {len(array)} of them; give ten or more, to tell separate points from a continuum")
    centred = array - array.mean(0)
    extent = float(np.sqrt(np.mean(np.sum(centred**2, 1))))
    everywhere = np.arange(len(array))
    rounding = 1e-12 * float(np.abs(array).max())
    if extent <= max(rounding, 0.0 if scale is None else COLLAPSED * scale):
        return PointSet("point", np.zeros(len(array), np.int64), everywhere[:1], 1.0, 0.0, 1.0, 0.0, extent)
    distances = squareform(pdist(array)) + 1e-12 * extent  # an edge of length zero would be none
    tree = minimum_spanning_tree(distances).tocoo()
    short = tree.data <= APART * extent
    cut = minimum_spanning_tree(distances).tolil()
    cut[tree.row[~short], tree.col[~short]] = 0
    labels = connected_components(cut.tocsr(), directed=False)[1]
    sizes = np.bincount(labels)
    rank = np.empty(len(sizes), np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    groups = rank[labels]
    ordered = np.sort(sizes)[::-1]
    counted = [g for g, size in enumerate(ordered) if size >= max(2, FEW * len(groups))]
    diameters = [float(distances[np.ix_(groups == g, groups == g)].max()) for g in counted]
    order, closure, hole, coverage = _path(array, distances, np.flatnonzero(groups == 0), extent)
    dimension = participation_ratio(array)
    if ordered[: len(counted)].sum() < COVERED * len(groups):
        kind = "other"  # scattered through space
    elif max(diameters, default=0.0) <= COMPACT * extent:
        kind = "discrete"
    elif coverage < COVERED or ordered[0] < COVERED * len(groups):
        kind = "other"  # not along a path, or several groups of which some are no points
    else:
        kind = "ring" if closure <= CLOSED and hole >= HOLE else "line"
    return PointSet(kind, groups, order, closure, hole, coverage, dimension, extent)


def _path(
    points: Floats, distances: Floats, members: NDArray[np.intp], extent: float
) -> tuple[NDArray[np.int64], float, float, float]:
    """The longest path through a group's spanning tree, its closure, hole and coverage."""
    if len(members) < 3:
        return members.astype(np.int64), 1.0, 0.0, 1.0
    own = distances[np.ix_(members, members)]
    tree = minimum_spanning_tree(own)
    first = int(dijkstra(tree, directed=False, indices=0).argmax())
    lengths, before = dijkstra(tree, directed=False, indices=first, return_predecessors=True)
    place = int(lengths.argmax())
    path = [place]
    while place != first:
        place = int(before[place])
        path.append(place)
    near = own[:, path].min(1) <= max(0.1 * extent, 2 * float(np.median(tree.data)))
    away = np.linalg.norm(points[members] - points[members][path].mean(0), axis=1)
    closure = float(own[path[0], path[-1]] / lengths.max())
    return members[path].astype(np.int64), closure, float(away.min() / away.mean()), float(near.mean())


@dataclass(frozen=True, eq=False)
class Attractor:
    """Where the states of a memory go while it is held, and how.

    Attributes
    ----------
    states : float64 (point, unit)
        The states after the time of settling.
    points : PointSet
        What kind of set they are.
    drift : float
        Median distance that states move in a further second, as a fraction of the set's extent.
    time_constants : float64 (state, mode)
        Of the linear modes around some of the states, in ms, the slowest first.
    slow_modes : int
        Median number of modes with a time constant beyond the time of settling: the dimension along the set.
    along : float
        Median cosine between the slowest direction and the path through the largest group: 1 if the slowest direction is
        along the set. Zero where there is no path.
    """

    states: Floats
    points: PointSet
    drift: float
    time_constants: Floats
    slow_modes: int
    along: float


def memory_attractor(
    step: Any,
    memories: ArrayLike,
    *,
    dt: float,
    settle: float,
    inputs: ArrayLike | None = None,
    probes: int = 400,
    linearised: int = 24,
    modes: int = 8,
    jacobian: Step | None = None,
    rng: int | np.random.Generator = 0,
) -> Attractor:
    """Probe a memory: which states persist between those that trials lead to?

    Trials of a few conditions end in a few states, whatever the memory is made of. Mixtures of two memories are therefore
    followed, too: where memories are separate, each mixture goes to one of them; along a line or a ring it stays.

    Parameters
    ----------
    step : callable or System
        ``step(states)`` or ``step(states, inputs)``, without noise.
    memories : array (state, unit)
        States that hold a memory, of all conditions, such as those at the end of a delay.
    dt : float
        Duration of a step in ms.
    settle : float
        For how long to follow the states, in ms; for as long as a memory must last.
    inputs : array (channel,), optional
        Inputs during the delay, held fixed.
    probes : int, default 400
        Number of mixtures, beside the memories themselves.
    linearised : int, default 24
        Around how many states to compute the linear modes.
    modes : int, default 8
        How many time constants to keep.
    jacobian : callable, optional
        See `fixed_points`.
    rng : int or Generator, default 0
        Draws the mixtures.

    Returns
    -------
    Attractor

    Raises
    ------
    InputError
        If states are not finite or too few, or the step is not deterministic.

    Notes
    -----
    The result depends on `settle`: what is a ring for two seconds may be a few points after a minute. Mixtures of rates are
    states that the network may never visit. The cost is that of following memories and mixtures, and of `linearised`
    Jacobians.
    """
    known = states_of("memories", memories)
    probes, linearised, modes = count("probes", probes, 0), count("linearised", linearised, 1), count("modes", modes, 1)
    dt = number("dt", dt, "give the duration of a step in ms, above 0", above=0)
    settle = number("settle", settle, "give a duration in ms of at least one step", least=dt)
    if len(known) < 2:
        raise InputError(f"memories of shape {known.shape}: give the states of two or more memories")
    generator = np.random.default_rng(rng)
    pairs = generator.integers(0, len(known), (2, probes))
    weights = generator.random((probes, 1))
    starts = np.concatenate([known, weights * known[pairs[0]] + (1 - weights) * known[pairs[1]]])
    held = None if inputs is None else real_array("inputs", inputs, ("channel",))
    made = Map(step, starts, held, jacobian=jacobian)
    scale = float(np.sqrt(np.mean(np.sum((known - known.mean(0)) ** 2, 1))))
    states = _followed(made, starts, round(settle / dt), held)
    points = classify_points(states, scale=scale)
    later = _followed(made, states, max(1, round(1000 / dt)), held)
    size = points.extent if points.kind != "point" else max(scale, 1e-12)
    drift = float(np.median(np.linalg.norm(later - states, axis=1))) / size
    order = points.order
    chosen = order[np.unique(np.linspace(0, len(order) - 1, linearised).round().astype(int))]
    if points.kind in ("discrete", "other"):
        chosen = generator.permutation(len(states))[:linearised]
    constants, directions = _modes(made, states[chosen], held, dt)
    slow = int(np.median((constants > settle).sum(1)))
    along = (
        _along(states[order], [int(np.flatnonzero(order == c)[0]) for c in chosen], directions)
        if (points.kind in ("line", "ring"))
        else 0.0
    )
    return Attractor(states, points, drift, constants[:, :modes], slow, along)


def _followed(made: Map, states: Floats, steps: int, inputs: Floats | None) -> Floats:
    for _ in range(steps):
        states = made(states, inputs)
    return states


def _modes(made: Map, states: Floats, inputs: Floats | None, dt: float) -> tuple[Floats, NDArray[np.complex128]]:
    """Time constants (state, unit), the slowest first, and the slowest direction (state, unit) of each state."""
    constants, directions = [], []
    for state in states:
        values, vectors = np.linalg.eig(made.jacobian(state[None], inputs)[0])
        with np.errstate(divide="ignore"):
            logs = np.abs(np.log(np.maximum(np.abs(values), 1e-300)))
        own = np.where(logs > dt * 1e-9, dt / np.maximum(logs, dt * 1e-9), 1e9)
        order = np.argsort(-own, kind="stable")
        constants.append(own[order])
        directions.append(vectors[:, order[0]])
    return np.array(constants), np.array(directions)


def _along(path: Floats, places: list[int], directions: NDArray[np.complex128]) -> float:
    """Median cosine between the slowest directions and the path."""
    reach = max(1, len(path) // 20)
    cosines = []
    for place, direction in zip(places, directions, strict=True):
        tangent = path[min(len(path) - 1, place + reach)] - path[max(0, place - reach)]
        length = np.linalg.norm(tangent)
        # of a pair of conjugates, the plane of the real and imaginary part
        plane = np.linalg.qr(np.stack([direction.real, direction.imag], 1))[0] if np.abs(direction.imag).max() > 0 else None
        shadow = direction.real if plane is None else plane @ (plane.T @ tangent)
        denominator = length * np.linalg.norm(shadow)
        cosines.append(float(abs(shadow @ tangent) / denominator) if denominator > 0 else 0.0)
    return float(np.median(cosines))
