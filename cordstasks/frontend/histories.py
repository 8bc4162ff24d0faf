"""What a front-end must simulate for a set of movies: the tree of their distinct histories, with nothing simulated twice.

The front-end is deterministic, so trials that have shown the same frames for the same time are in the same state: they share
a node of a tree. And it is mono-stable: while a frame stays the state settles, the rest of the period is a copy, and
whatever settles under the same frame settles to the same state, from where shared futures are simulated once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cordstasks.cordsnet.simulator import Simulator
from cordstasks.errors import InputError
from cordstasks.stimuli import Movie

CHECK_STEPS = 10  # how far apart the states are that tell whether a frame's response has settled
# A fast response can hide a slow one that is still small, so no response is taken to shrink by more than this factor in
# CHECK_STEPS: one with a time constant of up to 95 steps (190 ms) cannot hide.
SHRINKS_TO = 0.9


@dataclass(eq=False)
class Node:
    """A frame shown for `length` steps, from step `start` of the trial, after one particular history."""

    frame: int
    start: int
    length: int = 0
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
            if not path:
                node = made.roots.setdefault(frame, Node(frame, 0))
            else:
                parent = path[-1]
                node = parent.children.setdefault((start - parent.start, frame), Node(frame, start))
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


@dataclass
class _Held:
    """The states of a batch of jobs, which stay where they are as long as the batch stays together."""

    rates: list[Tensor]  # of each area, (job, channel, height, width)
    totals: list[Tensor]  # sums of the bin under way of the areas that are read, (job, channel, height, width)
    shared: bool = False  # whether others hold the same tensors, so that these must not be changed

    def row(self, row: int) -> _Held:
        """A copy of one job's state."""
        return _Held([r[row : row + 1].clone() for r in self.rates], [t[row : row + 1].clone() for t in self.totals])


@dataclass(eq=False)
class _Job:
    """A node being simulated: where its state is held, and how far it is."""

    node: Node
    held: _Held
    row: int = 0
    done: int = 0
    earlier: list[Tensor] = field(default_factory=list)  # the state CHECK_STEPS ago
    moved: list[Tensor] = field(default_factory=list)  # how far it had come since the one before, relative, by area

    @property
    def rates(self) -> list[Tensor]:
        """Each area's activity (1, channel, height, width), as it is now."""
        return [r[self.row : self.row + 1] for r in self.held.rates]

    @property
    def totals(self) -> list[Tensor]:
        """The sums (1, channel, height, width) of the areas that are read, as they are now."""
        return [t[self.row : self.row + 1] for t in self.held.totals]


@dataclass
class Simulation:
    """Simulates a plan in batches of independent histories.

    Parameters
    ----------
    simulator : Simulator
        The frozen front-end.
    prepare : callable
        Makes the simulator's input of images (image, height, width, channel) of uint8.
    readout : callable
        Makes features (image, unit) of the activity of the simulator's areas of interest, each (image, channel, height,
        width).
    bin_steps : int
        Steps that a feature row averages over.
    warmup_steps : int
        Steps of the first frame, from the spontaneous state, before a trial begins.
    tolerance : float
        A state counts as settled when its estimated distance from the fixed point is less than this, relative to the norm of
        each area's activity; 0 simulates everything.
    batch : int
        Histories simulated at once.
    progress : callable, optional
        Called with the number of the plan's steps (`Plan.cost`) that have just been simulated or found to be copies.
    """

    simulator: Simulator
    prepare: Callable[[NDArray[np.uint8]], Tensor]
    readout: Callable[[list[Tensor]], Tensor]
    bin_steps: int
    warmup_steps: int
    tolerance: float
    batch: int
    progress: Callable[[int], None] = lambda steps: None

    def run(self, made: Plan) -> tuple[Tensor, NDArray[np.int32], Cost]:
        """Simulate a plan.

        Returns
        -------
        rows : Tensor of shape (row, unit), float16
            The distinct feature vectors, on the CPU.
        index : ndarray of shape (trial, bin), int32
            A row for each bin of each trial, -1 beyond a trial's end.
        cost : Cost
            What it cost.
        """
        self.rows: list[Tensor] = []
        self.cost = Cost(requested=sum(made.steps))
        self.plan = made
        self.ready = self._roots()
        self.deferred: list[_Job] = []
        self.settled: dict[int, list[list[Tensor]]] = {}
        self.settled_rows: dict[int, int] = {}  # by the identity of a settled state, which `settled` keeps alive
        self.shared: dict[tuple[int, int, int], Node] = {}
        active: list[_Job] = []
        while active or self.ready or self.deferred:
            if not active and not self.ready:
                self.ready, self.deferred = self.deferred, []
            while self.ready and len(active) < self.batch:
                job = self.ready.pop()
                job.node.begun = True
                active.append(job)
            active = self._advance(active)
        index = np.full((len(made.paths), max(made.steps) // self.bin_steps), -1, np.int32)
        for trial, path in enumerate(made.paths):
            ends = [*(node.start for node in path[1:]), made.steps[trial]]
            for node, end in zip(path, ends, strict=True):
                first, last = node.start // self.bin_steps, end // self.bin_steps
                index[trial, first:last] = node.resolved().rows[: last - first]
        return torch.stack(self.rows), index, self.cost

    def _drives(self, frames: list[int]) -> list[Tensor]:
        images = np.stack([self.plan.frames[frame] for frame in frames])
        return self.simulator.drives(self.prepare(images))

    def _roots(self) -> list[_Job]:
        jobs = []
        roots = list(self.plan.roots.values())
        for start in range(0, len(roots), self.batch):
            part = roots[start : start + self.batch]
            rates = self.simulator.spontaneous(len(part))
            self.simulator.step(rates, self._drives([node.frame for node in part]), self.warmup_steps)
            self.cost.simulated += len(part) * self.warmup_steps
            for row, node in enumerate(part):
                own = [r[row : row + 1].clone() for r in rates]
                jobs.append(_Job(node, _Held(own, [torch.zeros_like(r) for r in self._read(own)])))
        return jobs

    def _read(self, state: list[Tensor]) -> list[Tensor]:
        """The activity of the areas that are read."""
        return [state[area] for area in self.simulator.areas]

    def _pause(self, job: _Job) -> int:
        """Steps until something must be done about `job`."""
        ahead = [job.node.length, *(offset for offset, _ in job.node.children if offset > job.done)]
        at = job.node.start + job.done
        ahead.append(job.done + self.bin_steps - at % self.bin_steps)
        if self._watched(job):
            ahead.append(job.done + CHECK_STEPS - job.done % CHECK_STEPS)
        return min(ahead) - job.done

    def _watched(self, job: _Job) -> bool:
        return self.tolerance > 0 and job.node.length > 3 * CHECK_STEPS

    def _advance(self, active: list[_Job]) -> list[_Job]:
        """Run all jobs up to the next event of any of those in step with each other, and handle what then happens."""
        held = self._together(active)
        drives = self._drives([job.node.frame for job in active])
        frames = [job.node.frame for job in active]
        for job in active:
            if not job.done and self._watched(job):
                job.earlier = [r.clone() for r in job.rates]
        while frames == [job.node.frame for job in active]:
            steps = min(self._pause(job) for job in active)
            self.simulator.step_summed(held.rates, drives, held.totals, steps)
            self.cost.simulated += steps * len(active)
            self.progress(steps * len(active))
            for job in active:
                job.done += steps
            self._record(held, [job for job in active if (job.node.start + job.done) % self.bin_steps == 0])
            following = self._follow(active)
            changed = following != active
            active = following
            if changed or (self.ready and len(active) < self.batch):
                break
        return active

    @staticmethod
    def _together(active: list[_Job]) -> _Held:
        """Hold the states of all jobs in one batch: the one that they are in if they are all of it, else a new one."""
        held = active[0].held
        whole = not held.shared and len(held.rates[0]) == len(active)
        if whole and all(job.held is held and job.row == n for n, job in enumerate(active)):
            return held
        rates, totals = (
            [torch.cat(parts).contiguous(memory_format=torch.channels_last) for parts in zip(*states, strict=True)]
            for states in ([job.rates for job in active], [job.totals for job in active])
        )
        held = _Held(rates, totals)
        for row, job in enumerate(active):
            job.held, job.row = held, row
        return held

    def _record(self, held: _Held, jobs: list[_Job]) -> None:
        """Keep the features of the jobs whose bin has ended, and begin its sums anew."""
        if not jobs:
            return
        rows = torch.tensor([job.row for job in jobs], device=held.totals[0].device)
        features = self.readout([t[rows] / self.bin_steps for t in held.totals]).half().cpu()
        for job, feature in zip(jobs, features, strict=True):
            job.node.rows.append(self._row(feature))
        for total in held.totals:
            total[rows] = 0

    def _row(self, feature: Tensor) -> int:
        self.rows.append(feature)
        return len(self.rows) - 1

    def _follow(self, active: list[_Job]) -> list[_Job]:
        following = []
        for job in active:
            node = job.node
            due = [child for (offset, _), child in node.children.items() if offset == job.done]
            ended = job.done == node.length
            for child in due[1:] if ended else due:
                self.ready.append(_Job(child, job.held.row(job.row)))
            if ended:
                if due:
                    due[0].begun = True
                    following.append(_Job(due[0], job.held, job.row))
            elif self._watched(job) and job.done % CHECK_STEPS == 0 and self._has_settled(job):
                self._copy_rest(job)
            else:
                following.append(job)
        return following

    def _has_settled(self, job: _Job) -> bool:
        """Whether what is left to the fixed point is within the tolerance in every area.

        With distances d between states CHECK_STEPS apart shrinking by a factor q each time, d q / (1 - q) is left; q is
        the larger of the last two, because states may be close by chance while a response turns round.
        """
        size = torch.stack([r.norm() for r in job.rates]).clamp_min(1e-12)
        job.moved.append(torch.stack([(r - e).norm() for r, e in zip(job.rates, job.earlier, strict=True)]) / size)
        job.earlier = [r.clone() for r in job.rates]
        if len(job.moved) < 3:
            return False
        first, second, third = job.moved[-3:]
        ratio = torch.maximum(second / first.clamp_min(1e-30), third / second.clamp_min(1e-30))
        ratio = ratio.clamp(SHRINKS_TO, 1 - 1e-6)
        left = float((third * ratio / (1 - ratio)).max())
        if not left < self.tolerance:  # a diverging network's is not a number
            return False
        self.cost.bound = max(self.cost.bound, left)
        return True

    def _copy_rest(self, job: _Job) -> None:
        """Fill the rest of a settled node with copies, and set its children off from the settled state."""
        node, size = job.node, self.bin_steps
        at = node.start + job.done
        self.progress(node.length - job.done)
        part = at % size
        means = [(t + (size - part) * r) / size for t, r in zip(job.totals, self._read(job.rates), strict=True)]
        feature = self.readout(means).half().cpu()[0]
        bins = (node.start + node.length) // size - at // size
        if part and bins:
            node.rows.append(self._row(feature))
            bins -= 1
        state = self._common(node.frame, [r.clone() for r in job.rates])
        if bins:  # the common state's, or what is left to the fixed point would tell histories apart for ever
            if id(state) not in self.settled_rows:
                self.settled_rows[id(state)] = self._row(self.readout(self._read(state)).half().cpu()[0])
            node.rows.extend([self.settled_rows[id(state)]] * bins)
        for (offset, frame), child in list(node.children.items()):
            if offset <= job.done:
                continue
            # the bin under way when the child begins holds this many steps of the settled state
            waiting = child.start % size
            key = (id(state), waiting, frame)
            other = self.shared.get(key)
            if other is not None and (not other.begun or other.covers(child)):
                self.progress(other.absorb(child))
                continue
            self.shared[key] = child
            self.deferred.append(_Job(child, _Held(state, [r * waiting for r in self._read(state)], shared=True)))

    def _common(self, frame: int, state: list[Tensor]) -> list[Tensor]:
        """A settled state already known for `frame` that this one agrees with, or else this one."""
        for known in self.settled.setdefault(frame, []):
            size = torch.stack([r.norm() for r in known]).clamp_min(1e-12)
            apart = float((torch.stack([(r - k).norm() for r, k in zip(state, known, strict=True)]) / size).max())
            if apart < 2 * self.tolerance:
                self.cost.bound = max(self.cost.bound, apart)
                return known
        self.settled[frame].append(state)
        return state
