"""Who simulates the histories of movies: this process, or several, here or on a cluster; what is done is kept on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cordstasks.cordsnet.checkpoints import from_bytes
from cordstasks.cordsnet.simulator import Simulator
from cordstasks.errors import InputError, WriteError
from cordstasks.frontend.bank import Bank
from cordstasks.frontend.features import read_areas
from cordstasks.frontend.histories import Histories
from cordstasks.frontend.stretches import Batch, Ending, Result, Settled, Stepper
from cordstasks.utils.devices import resolve
from cordstasks.utils.parallel import Spread, backend_of, unordered

__all__ = ["Piece", "Recipe", "simulated"]

KEEP_SECONDS = 1.0  # a batch that took less is simulated again sooner than its states are read
KEPT = 2  # changes when the meaning of what is kept does

Task = tuple[int, int]  # numbers of the piece and of the batch in its round
Tasks = Iterable[tuple[Task, "Piece"]]
Done = Iterator[tuple[Task, Result, float]]  # with the seconds it took


@dataclass(eq=False)
class Piece:
    """Movies whose features are stored together.

    Attributes
    ----------
    key : str
        Of their shard in the bank.
    histories : Histories
        What is to be simulated.
    progress : callable
        Called with the number of steps that have just been simulated.
    """

    key: str
    histories: Histories
    progress: Callable[[int], None]
    results: list[Result | None] = field(default_factory=list)
    used: list[str] = field(default_factory=list)  # parts in the bank

    def name(self, number: int) -> str:
        """The key of what one batch of the round has given: of all that determines it, up to the tolerance.

        Returns
        -------
        str
            64 hexadecimal digits.
        """
        stretches = [asdict(stretch) for stretch in self.histories.stretches(number)]
        return sha256(repr((KEPT, self.key, self.histories.pasts(number), stretches)).encode()).hexdigest()


@dataclass(frozen=True)
class Recipe:
    """All that another process needs to simulate with the front-end.

    Attributes
    ----------
    digest : str
        Of the network as it is sent, with its settings, since a process keeps the last one for its next work.
    areas, sides : tuple of int
        The areas that are read, and the side of each one's map of features.
    device : str
        Where to simulate.
    precision : str or None
        Of the products.
    bin_steps, warmup_steps : int
        See `cordstasks.frontend.stretches.Stepper`.
    tolerance : float
        As well.
    threads : int
        Of PyTorch.
    """

    digest: str
    areas: tuple[int, ...]
    sides: tuple[int, ...]
    device: str
    precision: str | None
    bin_steps: int
    warmup_steps: int
    tolerance: float
    threads: int


def simulated(
    pieces: Iterable[Piece],
    stepper: Stepper,
    bank: Bank | None,
    *,
    spread: Spread | None = None,
    weights: NDArray[np.uint8] | None = None,
    recipe: Recipe | None = None,
) -> Iterator[tuple[Piece, str | None]]:
    """Simulate pieces; each is given back as soon as its features are known, with how its steps were simulated.

    Parameters
    ----------
    pieces : iterable of Piece
        Without `spread` they are taken one after the other, else all at once.
    stepper : Stepper
        Of this process.
    bank : Bank, optional
        Where finished batches are kept, and looked for.
    spread : Spread, optional
        The processes that share the work.
    weights : ndarray of shape (byte,), uint8, optional
        With `spread`: the network, from `cordstasks.cordsnet.checkpoints.to_bytes`.
    recipe : Recipe, optional
        With `spread`: the rest of the front-end.

    Yields
    ------
    tuple of Piece, and str or None
        The engine is None if everything was found in the bank.
    """
    if spread is None:
        for piece in pieces:
            yield from _rounds([piece], lambda tasks: _here(stepper, tasks), bank)
        return
    assert weights is not None and recipe is not None
    with backend_of(spread.backend, spread.scheduler, recipe.threads):
        yield from _rounds(list(pieces), lambda tasks: _there(tasks, weights, recipe, spread), bank)


def _rounds(pieces: Sequence[Piece], run: Callable[[Tasks], Done], bank: Bank | None) -> Iterator[tuple[Piece, str | None]]:
    """Take pieces through their rounds side by side."""
    open_pieces = dict(enumerate(pieces))
    engines: dict[int, str | None] = dict.fromkeys(open_pieces)
    while open_pieces:
        left: list[tuple[Task, Piece]] = []
        complete = []
        for place, piece in open_pieces.items():
            piece.results = [None] * piece.histories.begin_round()
            for number in range(len(piece.results)):
                piece.results[number] = result = _kept(piece, number, bank)
                if result is None:
                    left.append(((place, number), piece))
                else:
                    piece.progress(result.simulated - result.warmup)
            if None not in piece.results:
                complete.append(place)
        for place in complete:
            if _ended(open_pieces[place]):
                yield open_pieces.pop(place), engines[place]
        for (place, number), result, seconds in run(left):
            piece = open_pieces[place]
            piece.results[number] = result
            engines[place] = result.engine
            name = None if bank is None or seconds < KEEP_SECONDS else piece.name(number)
            if None not in piece.results and _ended(piece):
                yield open_pieces.pop(place), result.engine
            elif name is not None and bank is not None:
                _keep(piece, name, result, bank)


def _ended(piece: Piece) -> bool:
    """End a round whose results are all there; whether the piece is finished."""
    piece.histories.end_round([result for result in piece.results if result is not None])
    piece.results = []
    return piece.histories.finished


def _here(stepper: Stepper, tasks: Tasks) -> Done:
    for task, piece in tasks:
        began = time.monotonic()
        result = stepper.simulate(piece.histories.make(task[1]), piece.progress)
        yield task, result, time.monotonic() - began


def _there(tasks: Tasks, weights: NDArray[np.uint8], recipe: Recipe, spread: Spread) -> Done:
    import joblib

    by_task = dict(tasks)
    work = joblib.delayed(_work)
    calls = (work(weights, recipe, task, _packed(piece.histories.make(task[1]))) for task, piece in by_task.items())
    try:
        for task, arrays, note, seconds in unordered(spread.processes)(calls) if by_task else ():
            result = _result(arrays, note)
            by_task[task].progress(result.simulated - result.warmup)
            yield task, result, seconds
    except BrokenProcessPool as error:
        raise InputError(
            f"processes={spread.processes}: one of them was killed, most often for lack of memory; use fewer, and "
            "what is done already is not done again"
        ) from error


Packed = tuple[Any, Any, "NDArray[np.float32] | None"]


def _packed(batch: Batch) -> Packed:
    """A batch as it travels: NumPy's arrays, which joblib sends without a copy."""
    return batch.stretches, batch.images, None if batch.states is None else batch.states.cpu().numpy()


_LOCAL = threading.local()  # a worker of a cluster may run several threads, and simulators cannot be shared


def _work(
    weights: NDArray[np.uint8], recipe: Recipe, task: Task, packed: Packed
) -> tuple[Task, dict[str, NDArray[Any]], Any, float]:
    """Simulate a batch in any process."""
    began = time.monotonic()
    torch.set_num_threads(recipe.threads)
    if getattr(_LOCAL, "recipe", None) != recipe:
        network = from_bytes(weights.tobytes())
        device = resolve(recipe.device)
        network.to(device)
        _LOCAL.stepper = Stepper(
            Simulator(network, areas=recipe.areas, device=device, precision=recipe.precision),
            prepare=network.preprocess,
            readout=lambda activity: read_areas(activity, recipe.sides),
            bin_steps=recipe.bin_steps,
            warmup_steps=recipe.warmup_steps,
            tolerance=recipe.tolerance,
        )
        _LOCAL.recipe = recipe
    stretches, images, states = packed
    batch = Batch(stretches, images, None if states is None else torch.from_numpy(np.array(states)))
    arrays, note = _arrays(_LOCAL.stepper.simulate(batch))
    return task, arrays, note, time.monotonic() - began


def _arrays(result: Result) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """A result as it travels and is kept."""
    return {"rows": result.rows.numpy(), "states": result.states.cpu().numpy()}, {
        "endings": [
            {
                "rows": ending.rows,
                "branches": [list(branches.items()) for branches in ending.branches],
                "settled": None if ending.settled is None else asdict(ending.settled),
            }
            for ending in result.endings
        ],
        "sizes": result.sizes,
        "simulated": result.simulated,
        "warmup": result.warmup,
        "bound": result.bound,
        "engine": result.engine,
    }


def _result(arrays: dict[str, NDArray[Any]], note: dict[str, Any]) -> Result:
    """The reverse of `_arrays`."""
    endings = [
        Ending(
            each["rows"],
            [dict(map(tuple, branches)) for branches in each["branches"]],  # type: ignore[arg-type]
            None if each["settled"] is None else Settled(**each["settled"]),
        )
        for each in note["endings"]
    ]
    rows, states = (torch.from_numpy(np.array(arrays[name])) for name in ("rows", "states"))
    return Result(endings, rows, states, **{**{name: note[name] for name in _PLAIN}, "sizes": tuple(note["sizes"])})


_PLAIN = ("sizes", "simulated", "warmup", "bound", "engine")


def _kept(piece: Piece, number: int, bank: Bank | None) -> Result | None:
    """The result of a batch that an earlier process has kept."""
    if bank is None:
        return None
    name = piece.name(number)
    found = bank.kept(name)
    if found is None:
        return None
    piece.used.append(name)
    return _result(*found)


def _keep(piece: Piece, name: str, result: Result, bank: Bank) -> None:
    """Keep the result of a batch; where that cannot be, the work goes on without."""
    arrays, note = _arrays(result)
    try:
        kept = bank.keep(name, arrays, {"requested": 0, "simulated": result.simulated, "bound": result.bound}, note)
    except WriteError:  # storing the whole will say so
        return
    if kept:
        piece.used.append(name)
