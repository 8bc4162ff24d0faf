"""What a front-end must simulate for a set of movies: the tree of their distinct histories, with nothing simulated twice.

The front-end is deterministic, so trials that have shown the same frames for the same time are in the same state: they share
a node of a tree. And it is mono-stable: while a frame stays the state settles, the rest of the period is a copy, and
whatever settles under the same frame settles to the same state, from where shared futures are simulated once.

`Histories` keeps the account: it hands out what can be simulated next, in batches that do not depend on each other, and
takes their results, until all features are known. It simulates nothing itself; `cordstasks.frontend.work` lets
`cordstasks.frontend.stretches` do so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cordstasks.errors import InputError
from cordstasks.frontend.stretches import Batch, Ending, Period, Result, Settled, Stretch
from cordstasks.stimuli import Movie


@dataclass(eq=False)
class Node:
    """A frame shown for `length` steps, from step `start` of the trial, after one particular history."""

    frame: int
    start: int
    length: int = 0
    number: int = 0  # in the plan; equal plans have equal numbers
    children: dict[tuple[int, int], Node] = field(default_factory=dict)  # by (steps into this node, frame)
    rows: list[int] = field(default_factory=list)  # a feature row for each bin that ends in this node
    begun: bool = False
    alias: Node | None = None

    def resolved(self) -> Node:
        """The node that is simulated in this one's place.

        Returns
        -------
        Node
            This one itself if it is simulated.
        """
        return self if self.alias is None else self.alias.resolved()

    def covers(self, other: Node) -> bool:
        """Whether what this node simulates includes all that `other` needs.

        Returns
        -------
        bool
        """
        return self.length >= other.length and all(
            key in self.children and self.children[key].resolved().covers(child) for key, child in other.children.items()
        )

    def absorb(self, other: Node) -> int:
        """Take over the future of `other`, whose past is the same; returns the steps that need no simulation any more.

        Returns
        -------
        int
            Number of steps.
        """
        other.alias = self
        spared = min(self.length, other.length)
        self.length = max(self.length, other.length)
        for key, child in other.children.items():
            if key in self.children:
                spared += self.children[key].resolved().absorb(child)
            else:
                self.children[key] = child
        return spared


@dataclass
class Plan:
    """The tree of histories of some movies.

    Attributes
    ----------
    frames : list of ndarray of shape (height, width, channel), uint8
        The distinct images.
    roots : dict of int to Node
        Where movies begin, by first frame.
    paths : list of list of Node
        Each movie's nodes in order.
    steps : list of int
        Steps each movie lasts.
    """

    frames: list[NDArray[np.uint8]]
    roots: dict[int, Node]
    paths: list[list[Node]]
    steps: list[int]

    def cost(self) -> int:
        """Steps to simulate if nothing settles.

        Returns
        -------
        int
            Number of steps; what several movies share counts once.
        """
        seen = {id(node): node.length for path in self.paths for node in path}
        return sum(seen.values())


def plan(movies: Sequence[Movie], step_ms: float, bin_steps: int) -> Plan:
    """The tree of histories of `movies` at steps of `step_ms` ms; movies end with their last whole bin of steps.

    Returns
    -------
    Plan
        In which each distinct frame occurs once, and equal beginnings of movies share their nodes.

    Raises
    ------
    InputError
        If a movie is shorter than one bin.
    """
    numbers: dict[bytes, int] = {}
    made = Plan([], {}, [], [])
    count = 0
    for movie in movies:
        steps = int(np.floor(movie.duration_ms / step_ms + 1e-9)) // bin_steps * bin_steps
        if not steps:
            raise InputError(
                f"movies: one lasts {movie.duration_ms:g} ms, less than a step of dt={bin_steps * step_ms:g} ms; "
                "give longer movies or a smaller dt"
            )
        shown = movie.at(np.arange(steps) * step_ms)
        own: dict[int, int] = {}
        for index in np.unique(shown):
            image = movie.frames[index]
            digest = hashlib.blake2b(repr(image.shape).encode() + image.tobytes(), digest_size=16).digest()
            own[int(index)] = numbers.setdefault(digest, len(made.frames))
            if own[int(index)] == len(made.frames):
                made.frames.append(image)
        frames = np.array([own[int(index)] for index in shown])
        changes = [0, *(np.flatnonzero(np.diff(frames)) + 1).tolist(), steps]
        path: list[Node] = []
        for start, end in zip(changes[:-1], changes[1:], strict=True):
            frame = int(frames[start])
            family: dict[Any, Node] = path[-1].children if path else made.roots
            key = (start - path[-1].start, frame) if path else frame
            if key not in family:
                family[key] = Node(frame, start, number=count)
                count += 1
            node = family[key]
            node.length = max(node.length, end - start)
            path.append(node)
        made.paths.append(path)
        made.steps.append(steps)
    return made


@dataclass
class Cost:
    """What a simulation cost and how wrong plateaus may have made it.

    Attributes
    ----------
    requested : int, default 0
        Steps that all trials last together.
    simulated : int, default 0
        Steps that were simulated.
    bound : float, default 0.0
        Largest estimated error of a settled state, relative to the norm of each area's activity.
    """

    requested: int = 0
    simulated: int = 0
    bound: float = 0.0

    def add(self, other: Cost) -> None:
        """Add what another simulation cost."""
        self.requested += other.requested
        self.simulated += other.simulated
        self.bound = max(self.bound, other.bound)


@dataclass(eq=False)
class _Job:
    """A node to be simulated, and those that follow it in one go."""

    node: Node
    state: Tensor | None = None  # as in `Batch.states`; None at the beginning of a trial
    waiting: int | None = None  # if the state is a settled one: steps of it in the bin under way
    chain: list[Node] = field(default_factory=list)  # the node, what is shown at its end, and so on

    def follow(self) -> None:
        """Choose the chain; what is known about the tree by then counts."""
        self.chain = [self.node]
        while (child := _next(self.chain[-1])) is not None:
            self.chain.append(child)


def _next(node: Node) -> Node | None:
    """The first of the nodes that begin when this one ends."""
    return next((child for (offset, _), child in node.children.items() if offset == node.length), None)


class Histories:
    """The account of a plan: what can be simulated next, and what is known already.

    Work goes in rounds. All batches of a round are independent of each other; what they need is known when the round begins.
    Which stretches stand together in a batch depends on the plan and on `batch` alone, not on who simulates them.

    Parameters
    ----------
    made : Plan
        The tree of histories; it is changed.
    areas : tuple of int
        The areas that are read, in increasing order.
    bin_steps : int
        Steps that a feature row averages over.
    tolerance : float
        Error allowed to a settled state, see `cordstasks.frontend.stretches.Stepper`.
    batch : int
        Histories simulated at once.
    progress : callable, optional
        Called with the number of the plan's steps (`Plan.cost`) that have just been found to be copies.
    """

    def __init__(
        self,
        made: Plan,
        *,
        areas: tuple[int, ...],
        bin_steps: int,
        tolerance: float,
        batch: int,
        progress: Callable[[int], None] = lambda steps: None,
    ) -> None:
        self.plan, self.areas, self.bin_steps, self.tolerance, self.batch = made, areas, bin_steps, tolerance, batch
        self.progress = progress
        self.cost = Cost(requested=sum(made.steps))
        self._ready = [_Job(node) for node in made.roots.values()]
        self._deferred: list[_Job] = []
        self._round: list[list[_Job]] = []
        self._rows: list[Tensor] = []
        self._sizes: tuple[int, ...] = ()
        self._settled: dict[int, list[Tensor]] = {}
        self._settled_rows: dict[int, int] = {}  # by the identity of a settled state, which `_settled` keeps alive
        self._shared: dict[tuple[int, int, int], Node] = {}

    @property
    def finished(self) -> bool:
        """Whether all features are known."""
        return not (self._ready or self._deferred)

    def begin_round(self) -> int:
        """Begin the next round; returns its number of batches, which is 0 when all features are known.

        Returns
        -------
        int
        """
        jobs, self._ready = self._ready, []
        if not jobs:  # futures of settled states wait until all that may share them is known
            jobs, self._deferred = self._deferred, []
        for job in jobs:
            job.follow()
        count = -(-len(jobs) // self.batch)
        ends = [len(jobs) * number // count for number in range(1, count + 1)]
        self._round = [jobs[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        return count

    def stretches(self, number: int) -> tuple[Stretch, ...]:
        """What one batch of the round is to simulate.

        Returns
        -------
        tuple of Stretch
        """
        rows = _numbered(self._round[number])
        return tuple(
            Stretch(rows.get(_state_of(job)), job.node.start, tuple(map(_period, job.chain))) for job in self._round[number]
        )

    def pasts(self, number: int) -> tuple[int, ...]:
        """After which history each stretch of a batch of the round begins, as the number of its first node in the plan.

        Returns
        -------
        tuple of int
            One per stretch. Stretches that look alike may begin with the states of different histories.
        """
        return tuple(job.node.number for job in self._round[number])

    def make(self, number: int) -> Batch:
        """One batch of the round, with the states that it needs.

        Returns
        -------
        Batch
        """
        stretches = self.stretches(number)
        images = {period.frame: self.plan.frames[period.frame] for stretch in stretches for period in stretch.periods}
        states = {_state_of(job): self._whole_state(job) for job in self._round[number] if job.state is not None}
        return Batch(stretches, images, torch.stack(list(states.values())) if states else None)

    def end_round(self, results: Sequence[Result]) -> None:
        """Take the results of all batches of the round, in order."""
        ended = [
            (job, ending, result, len(self._rows) + first)
            for jobs, result, first in zip(self._round, results, self._firsts(results), strict=True)
            for job, ending in zip(jobs, result.endings, strict=True)
        ]
        for result in results:
            self._rows.extend(result.rows)
            self._sizes = result.sizes
            self.cost.simulated += result.simulated
            self.cost.bound = max(self.cost.bound, result.bound)
        for job, ending, _, _ in ended:
            for node in job.chain[: len(ending.rows)]:
                node.begun = True
        for job, ending, result, first in ended:
            self._end(job, ending, result, first)
        self._round = []

    @staticmethod
    def _firsts(results: Sequence[Result]) -> list[int]:
        """Where each result's rows begin."""
        return np.cumsum([0, *(len(result.rows) for result in results[:-1])]).tolist()

    def features(self) -> tuple[Tensor, NDArray[np.int32]]:
        """All that was asked for, when the work is finished.

        Returns
        -------
        rows : Tensor of shape (row, unit), float16
            The distinct feature vectors, on the CPU.
        index : ndarray of shape (trial, bin), int32
            A row for each bin of each trial, -1 beyond a trial's end.
        """
        made = self.plan
        index = np.full((len(made.paths), max(made.steps) // self.bin_steps), -1, np.int32)
        for trial, path in enumerate(made.paths):
            ends = [*(node.start for node in path[1:]), made.steps[trial]]
            for node, end in zip(path, ends, strict=True):
                first, last = node.start // self.bin_steps, end // self.bin_steps
                index[trial, first:last] = node.resolved().rows[: last - first]
        used, places = np.unique(index, return_inverse=True)  # the last row of a settled state may not be needed
        numbers: NDArray[np.int32] = places.reshape(index.shape).astype(np.int32)
        if used[0] < 0:
            used = used[1:]
            numbers -= np.int32(1)
        return torch.stack([self._rows[row] for row in used]), numbers

    def _whole_state(self, job: _Job) -> Tensor:
        """The state with which a job begins, with the sums of the bin under way."""
        assert job.state is not None
        if job.waiting is None:
            return job.state
        rates = job.state.split(self._sizes)
        return torch.cat([job.state, *(rates[area] * job.waiting for area in self.areas)])

    def _end(self, job: _Job, ending: Ending, result: Result, first: int) -> None:
        """Take what became of one job, whose rows begin with `first`."""
        states: dict[int, Tensor] = {}

        def state(row: int) -> Tensor:
            if row not in states:
                states[row] = result.states[row].clone()  # a view would keep all of them
            return states[row]

        followers = [*job.chain[1:], None]
        for node, after, rows, branches in zip(job.chain, followers, ending.rows, ending.branches, strict=False):
            node.rows.extend(first + row for row in rows)
            for (offset, _), child in node.children.items():
                if offset in branches and child is not after:
                    self._ready.append(_Job(child, state(branches[offset])))
        if ending.settled is not None:
            node = job.chain[len(ending.rows) - 1]
            rates = state(ending.settled.state)[: sum(self._sizes)]
            self._copy_rest(node, ending.settled, rates, first)

    def _copy_rest(self, node: Node, settled: Settled, rates: Tensor, first: int) -> None:
        """Fill the rest of a settled node with copies, and set its children off from the settled state."""
        size, done = self.bin_steps, settled.done
        at = node.start + done
        self.progress(node.length - done)
        bins = (node.start + node.length) // size - at // size
        if at % size and bins:
            node.rows.append(first + settled.part)
            bins -= 1
        state = self._common(node.frame, rates)
        if bins:  # the common state's, or what is left to the fixed point would tell histories apart for ever
            row = self._settled_rows.setdefault(id(state), first + settled.whole)
            node.rows.extend([row] * bins)
        for (offset, frame), child in list(node.children.items()):
            if offset <= done:
                continue
            # the bin under way when the child begins holds this many steps of the settled state
            waiting = child.start % size
            key = (id(state), waiting, frame)
            other = self._shared.get(key)
            if other is not None and (not other.begun or other.covers(child)):
                self.progress(other.absorb(child))
                continue
            self._shared[key] = child
            self._deferred.append(_Job(child, state, waiting))

    def _common(self, frame: int, state: Tensor) -> Tensor:
        """A settled state already known for `frame` that this one agrees with, or else this one."""
        own = state.split(self._sizes)
        for known in self._settled.setdefault(frame, []):
            each = known.split(self._sizes)
            size = torch.stack([r.norm() for r in each]).clamp_min(1e-12)
            apart = float((torch.stack([(r - k).norm() for r, k in zip(own, each, strict=True)]) / size).max())
            if apart < 2 * self.tolerance:
                self.cost.bound = max(self.cost.bound, apart)
                return known
        self._settled[frame].append(state)
        return state


def _state_of(job: _Job) -> tuple[int, int | None]:
    """What tells the states of jobs apart."""
    return id(job.state), job.waiting


def _numbered(jobs: Sequence[_Job]) -> dict[tuple[int, int | None], int]:
    """The row of `Batch.states` for each distinct state of some jobs; none for beginnings of trials."""
    distinct = dict.fromkeys(_state_of(job) for job in jobs if job.state is not None)
    return {key: row for row, key in enumerate(distinct)}


def _period(node: Node) -> Period:
    """A node of a chain as something to be simulated."""
    after = _next(node)
    offsets = {offset for (offset, _), child in node.children.items() if child is not after}
    return Period(node.frame, node.length, tuple(sorted(offsets)))
