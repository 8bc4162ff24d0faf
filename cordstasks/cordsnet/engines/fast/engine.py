"""The engine as the simulator sees it: whole steps, checked once against the other CPU engine, which stands in for it."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cordstasks.cordsnet.engines.fast.schedule import Wavefront, in_order, side_by_side
from cordstasks.cordsnet.engines.fast.transforms import FEW_IMAGES
from cordstasks.cordsnet.engines.packed import Packed
from cordstasks.cordsnet.engines.portable import Repeat, Step, Weights
from cordstasks.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cordstasks.cordsnet.engines.fast.room import Kernels, Room

AGREEMENT = 1e-5  # of two steps with the other engine's, relative to the norm of an area's activity
IMAGES_PER_THREAD = 4  # at least, where images are divided: each thread reads all weights
LARGEST_ROOM = 1 << 29  # bytes of the states that a thread keeps; more images than that are shown in turn
FEWEST_IN_TURN = 8  # images, since all weights are read for each turn
CHUNKS_AT_ONCE = 4  # at least, if areas are to be computed side by side
MANY_SLOTS = 31  # for few images, so that areas may be several chunks apart


class Fast(Packed):
    """CPU: fewer multiplications, see `cordstasks.cordsnet.engines.fast`. Needs numba and a processor with AVX2.

    Attributes
    ----------
    why_not_fast : str
        Why the convolutions of `Packed` are used instead; empty as long as they are not.
    """

    def __init__(self) -> None:
        super().__init__("float32")
        self.why_not_fast = ""

    @staticmethod
    def installed() -> bool:
        """Whether numba is there; it is imported when the first step is taken.

        Returns
        -------
        bool
        """
        return importlib.util.find_spec("numba") is not None

    @property
    def description(self) -> str:
        """As `Portable.description`."""
        if self.why_not_fast:
            return f"{super().description} (numba: {self.why_not_fast})"
        return "Winograd products by numba"

    def network(self, weights: Weights, summed: Sequence[int], step: Step) -> Repeat:
        """Whole steps, by this engine if it turns out to work, else by `step`."""
        return FastSteps(self, weights, tuple(summed), self.repeat(step))


class FastSteps:
    """A `cordstasks.cordsnet.engines.Repeat` of whole steps; rates may be followed by sums of areas.

    The first call compiles, or loads what was compiled before, and compares two steps of random states, in maps of the
    network's own sizes, with the other engine's. Whatever goes wrong, the other engine takes over.

    Parameters
    ----------
    engine : Fast
        Is told why, if it does not work.
    weights : Weights
        Weights of the areas.
    summed : tuple of int
        The areas that are summed.
    other : Repeat
        The same steps, by another engine.
    """

    def __init__(self, engine: Fast, weights: Weights, summed: tuple[int, ...], other: Repeat) -> None:
        self.engine, self.weights, self.summed, self.other = engine, weights, summed, other
        self.kernels: Kernels | None = None
        self.rooms: dict[tuple[int, bool], Room] = {}
        self.lock = threading.Lock()  # buffers are shared by all calls

    def __call__(self, rates: list[Tensor], drives: list[Tensor], steps: int) -> None:
        """Update `rates` in place, `steps` times."""
        if not steps:
            return
        if self._works(drives):
            try:
                with self.lock:
                    self._run(rates, drives, steps)
            except BaseException:
                self.rooms.clear()  # a thread may still be writing there
                raise
        else:
            self.other(rates, drives, steps)

    def _works(self, drives: Sequence[Tensor]) -> bool:
        """Whether this engine can be used, which is found out once."""
        with self.lock:
            if self.kernels is None and not self.engine.why_not_fast:
                try:
                    self.kernels = self._checked(drives)
                except Exception as error:  # whatever numba, LLVM or the processor make of it, there is another way
                    self.kernels = None
                    self.rooms.clear()
                    self.engine.why_not_fast = f"{type(error).__name__}: {error}"
            return self.kernels is not None

    def _checked(self, drives: Sequence[Tensor]) -> Kernels:
        from cordstasks.cordsnet.engines.fast.room import Kernels
        from cordstasks.cordsnet.engines.fast.vectors import SUPPORTED

        if not SUPPORTED:
            raise NotImplementedError("this processor has no AVX2")
        self.kernels = Kernels(self.weights)
        if not self.kernels.fit:
            raise NotImplementedError("numbers of channels that do not fit the processor's vectors")
        size = max(float(drive.abs().max()) for drive in drives) or 1.0  # a blank image may drive nothing
        generator = torch.Generator().manual_seed(0)

        def random(like: Tensor, images: int) -> Tensor:
            made = torch.rand((images, *like.shape[1:]), generator=generator, dtype=torch.float32) * size
            return made.contiguous(memory_format=torch.channels_last)

        for images in (1, FEW_IMAGES + 1):
            shown, start = ([random(drive, images) for drive in drives] for _ in range(2))
            start += [start[area] for area in self.summed]
            ours, expected = ([tensor.clone() for tensor in start] for _ in range(2))
            self._run(ours, shown, 2)
            self.other(expected, shown, 2)
            for own, other in zip(ours, expected, strict=True):
                off = float((own - other).norm() / other.norm())
                if not off < AGREEMENT:  # nor if it is not a number
                    raise ArithmeticError(f"two steps differ by {off:.1e} from those of oneDNN's convolutions")
        return self.kernels

    def _run(self, rates: list[Tensor], drives: list[Tensor], steps: int) -> None:
        depth, images, threads = len(drives), len(rates[0]), torch.get_num_threads()
        states, totals = [_array(r) for r in rates[:depth]], [_array(t) for t in rates[depth:]]
        for drive in drives:
            if len(drive) not in (1, images):  # compiled code would read what is not there
                raise InputError(f"drives: are those of {len(drive)} images but there are rates of {images}; give as many")
        shared = [images > 1 and (len(drive) == 1 or drive.stride(0) == 0) for drive in drives]
        shown = [_array(drive[:1] if same else drive) for drive, same in zip(drives, shared, strict=True)]
        parts = min(threads, max(1, images // IMAGES_PER_THREAD))
        if parts > 1 or threads == 1:
            turns = parts * -(-images // (parts * self._most(states)))
            rooms = [self._room(number, states, -(-images // turns), few=False) for number in range(parts)]

            def part(number: int) -> None:
                for turn in range(number, turns, parts):
                    own = slice(images * turn // turns, images * (turn + 1) // turns)
                    mine = [drive if same else drive[own] for drive, same in zip(shown, shared, strict=True)]
                    self._take(rooms[number], [s[own] for s in states], mine, [t[own] for t in totals], steps, 1)

            side_by_side(part, parts)
        else:
            self._take(self._room(0, states, images, few=True), states, shown, totals, steps, threads)

    def _take(
        self,
        room: Room,
        states: list[NDArray[np.float32]],
        drives: list[NDArray[np.float32]],
        totals: list[NDArray[np.float32]],
        steps: int,
        threads: int,
    ) -> None:
        """Take the steps of some images, in so many threads."""
        from cordstasks.cordsnet.engines.fast.room import MOST_STEPS

        room.load(states)
        room.show(drives)
        sums = dict(zip(self.summed, totals, strict=False))

        def work(area: int, done: int, length: int) -> None:
            room.advance(area, done, length)
            if area in sums:
                room.add(area, done, length, sums[area])

        if threads == 1:
            in_order(work, len(states), steps, MOST_STEPS)
        else:
            most = min(MOST_STEPS, -(-steps // CHUNKS_AT_ONCE))
            Wavefront(work, len(states), steps, room.slots, most).run(threads)
        room.store(states, steps)

    @staticmethod
    def _most(states: Sequence[NDArray[np.float32]]) -> int:
        """Images that a thread shows at once at most, so that buffers do not grow with the batch."""
        from cordstasks.cordsnet.engines.fast.room import MOST_STEPS

        return max(FEWEST_IN_TURN, LARGEST_ROOM // ((MOST_STEPS + 1) * sum(state[0].nbytes for state in states)))

    def _room(self, number: int, states: Sequence[NDArray[np.float32]], images: int, *, few: bool) -> Room:
        """Buffers of a thread, made anew where there were too few images; those that are there are not made smaller."""
        from cordstasks.cordsnet.engines.fast.room import MOST_STEPS, Room

        assert self.kernels is not None
        kept = self.rooms.get((number, few))
        if kept is None or kept.images < images:
            slots = MANY_SLOTS if few else MOST_STEPS + 1
            kept = Room(self.kernels, [state.shape[1] for state in states], images, slots)
            self.rooms[number, few] = kept
        return kept


def _array(tensor: Tensor) -> NDArray[np.float32]:
    """A view (image, row, column, channel) of a tensor (image, channel, row, column)."""
    return tensor.detach().permute(0, 2, 3, 1).numpy()
