"""The compiled time loop as a stack sees it: one differentiable function, checked once against the portable one."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from cordstasks.rnn import recurrence
from cordstasks.rnn.noise import FEWEST, fill_normal
from cordstasks.rnn.recurrence import Dynamics

if TYPE_CHECKING:
    from cordstasks.rnn.fast.steps import Network

__all__ = ["Stack", "run", "usable", "why_not"]

AGREEMENT = 1e-5  # with the portable functions, relative to the norm
LARGEST = 400  # units; beyond, the products of PyTorch are as fast
UNEVEN = 1.1  # most time of all threads, relative to jobs that divide evenly among them
FEWEST_TRIALS = 8  # of a job
GROUP = 32  # trials whose states stay in the cache
TRIED = (5, 20, 39, 56, 100)  # units of the networks that are compared with the portable functions

_lock = threading.Lock()
_found: dict[str, str] = {}  # why compiled code is not used in this process; empty if it is


@dataclass(frozen=True)
class Stack:
    """Networks and their trials.

    Attributes
    ----------
    inputs : Tensor of shape (network, time, trial, channel)
        The last channel is one, so that its weight is the bias. They are not differentiated.
    input_weights : Tensor of shape (network, unit, channel)
        Input weights, and the bias.
    recurrent : Tensor of shape (network, unit to, unit from)
        Recurrent weights.
    initial : Tensor of shape (network, trial, unit)
        States before the first step.
    output_weights : Tensor of shape (network, output, unit)
        Output weights.
    output_bias : Tensor of shape (network, output)
        Bias of the outputs.
    """

    inputs: Tensor
    input_weights: Tensor
    recurrent: Tensor
    initial: Tensor
    output_weights: Tensor
    output_bias: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        """All of them, in order."""
        return tuple(vars(self).values())


def usable(stack: Stack) -> bool:
    """Whether `run` can do this, and is worth compiling or loading.

    Returns
    -------
    bool
        Whether the networks are small, in float32 on a CPU with AVX2, and numba is installed and compiles what it should.
    """
    steps, trials, channels = stack.inputs.shape[1:]
    outputs, units = stack.output_weights.shape[1:]
    return (
        all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in stack.tensors())
        and max(channels, outputs) <= units <= LARGEST  # rows have room for both
        and steps * trials * units >= FEWEST
        and not stack.inputs.requires_grad
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
        and not why_not()
    )


def why_not() -> str:
    """Why compiled code cannot be used in this process, which is found out once; empty if it can.

    Returns
    -------
    str
        In a few words.
    """
    with _lock:
        if "reason" not in _found:
            try:
                _found["reason"] = _trial()
            except Exception as error:  # whatever numba, LLVM or the processor make of it, there is another way
                _found["reason"] = f"{type(error).__name__}: {error}"
        return _found["reason"]


def run(
    dynamics: Dynamics,
    stack: Stack,
    *,
    noise: Sequence[np.random.Generator] | None = None,
    scale: float | Tensor = 0.0,
    return_rates: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Run networks side by side, each in one thread, or, where there are few, the trials of one in several.

    The result can be differentiated once, with respect to all weights and the initial states.

    Parameters
    ----------
    dynamics : Dynamics
        The networks' equation.
    stack : Stack
        The networks.
    noise : sequence of numpy.random.Generator, optional
        Where the private noise of each network is drawn from.
    scale : float or Tensor of shape (unit,), default 0.0
        Standard deviation of the noise.
    return_rates : bool, default False
        Whether to return the rates, too.

    Returns
    -------
    outputs : Tensor of shape (network, time, trial, output)
        After each step.
    rates : Tensor of shape (network, time, trial, unit), or None
        After each step; only with `return_rates`.
    """
    back = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in stack.tensors())
    outputs, rates = _Run.apply(_Call(dynamics, noise, scale, return_rates, back), *stack.tensors())
    return outputs, rates


@dataclass(frozen=True)
class _Call:
    dynamics: Dynamics
    noise: Sequence[np.random.Generator] | None
    scale: float | Tensor
    return_rates: bool
    back: bool


@dataclass
class _Room:
    """Weights in rows of the length that compiled code needs, and what it writes; see `Network`."""

    inputs: Tensor
    initial: Tensor
    ahead: Tensor
    back: Tensor
    rates: Tensor
    active: Tensor
    outputs: Tensor

    @classmethod
    def of(cls, stack: Stack, call: _Call) -> _Room:
        inputs, input_weights, recurrent, initial, output_weights, output_bias = (t.detach() for t in stack.tensors())
        (networks, steps, trials, channels), units, outputs = inputs.shape, recurrent.shape[1], output_weights.shape[1]
        width = _width(units + max(channels, outputs))
        ahead = inputs.new_zeros(networks, units + channels, width)
        ahead[:, :units, :units], ahead[:, :units, units : units + outputs] = recurrent.mT, output_weights.mT
        ahead[:, units:, :units], ahead[:, -1, units : units + outputs] = input_weights.mT, output_bias
        back = inputs.new_zeros(networks, units + outputs, width)
        back[:, :units, :units], back[:, units:, :units] = recurrent, output_weights
        kept, active = steps + 1, steps if call.dynamics.form == "rate" else 0
        if not call.back:
            kept, active = kept if call.return_rates else 2, min(active, 1)
        return cls(
            inputs.contiguous(),
            initial.contiguous(),
            ahead,
            back,
            inputs.new_empty(networks, kept, trials, width),
            inputs.new_empty(networks, active, trials, width),
            inputs.new_empty(networks, steps, trials, outputs),
        )

    def networks(self, call: _Call) -> Callable[[int, NDArray[np.float32]], Network]:
        """A function that gives one of the networks, with its noise, as compiled code sees it."""
        from cordstasks.rnn.fast.activations import CODES
        from cordstasks.rnn.fast.steps import Network

        units, width = self.initial.shape[2], self.rates.shape[3]
        alpha = np.ones(width, np.float32)
        alpha[:units] = _for_each(units, call.dynamics.alpha)
        shared: dict[str, Any] = {
            "units": units,
            "width": width,
            "activation": CODES[call.dynamics.activation],
            "currents": call.dynamics.form == "current",
            "alpha": alpha,
            "scale": _for_each(units, call.scale),
        }
        arrays = {name: tensor.detach().numpy() for name, tensor in vars(self).items()}
        return lambda index, noise: Network(**shared, noise=noise, **{name: array[index] for name, array in arrays.items()})


class _Run(torch.autograd.Function):
    """See `run`."""

    @staticmethod
    def forward(ctx: Any, call: _Call, *tensors: Tensor) -> tuple[Tensor, Tensor | None]:
        from cordstasks.rnn.fast.steps import forward

        room = _Room.of(Stack(*tensors), call)
        networks, steps, trials, _ = room.inputs.shape
        units, jobs = room.initial.shape[2], _jobs(networks, trials)
        network, generators, divided = room.networks(call), call.noise or (), len(jobs) > networks
        # room for the noise of one network for each thread; where threads share a network, for that of every network
        places = networks if divided else min(torch.get_num_threads(), networks)
        noise = np.empty((places, *((steps, trials, units) if generators else (0, 0, 0))), np.float32)

        def draw(index: int, place: int) -> None:
            fill_normal(generators[index], noise[place])

        def work(job: _Job, thread: int) -> None:
            place = job.network if divided else thread
            if generators and not divided:
                draw(job.network, place)
            here = network(job.network, noise[place])
            for group in job.groups():
                forward(here, *group)

        if generators and divided:
            _side_by_side(lambda index, _: draw(index, index), range(networks))

        _side_by_side(work, jobs)
        if call.back:
            ctx.call = call
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(*vars(room).values())
        return room.outputs, room.rates[:, 1:, :, :units] if call.return_rates else None

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_output: Tensor | None, by_rates: Tensor | None) -> tuple[Tensor | None, ...]:
        from cordstasks.rnn.fast.steps import Back, backward

        room = _Room(*ctx.saved_tensors)
        networks, _, trials, channels = room.inputs.shape
        units, jobs = room.initial.shape[2], _jobs(networks, trials)
        # detached, since threads have gradients enabled, whatever the mode of the thread that starts them
        by_output = torch.zeros_like(room.outputs) if by_output is None else by_output.detach().contiguous()
        by_rates = room.rates.new_empty(networks, 0, 0, 0) if by_rates is None else by_rates.detach().contiguous()
        weights = room.back.new_zeros(len(jobs), *room.back.shape[1:])
        initial = torch.empty_like(room.initial)
        network, nothing = room.networks(ctx.call), np.empty((0, 0, 0), np.float32)

        def work(number: int, _: int) -> None:
            job = jobs[number]
            given = by_output[job.network].numpy(), by_rates[job.network].numpy()
            here, back = network(job.network, nothing), Back(*given, weights[number].numpy(), initial[job.network].numpy())
            for group in job.groups():
                backward(here, back, *group)

        _side_by_side(work, range(len(jobs)))
        weights = weights.unflatten(0, (networks, -1)).sum(1)
        recurrent, read = weights[:, :units, :units], weights[:, units:, :units]
        by_input = weights[:, :units, units : units + channels]
        return None, None, by_input, recurrent, initial, read, by_output.sum((1, 2))


@dataclass(frozen=True)
class _Job:
    network: int
    trials: tuple[int, int]  # the first, and the one after the last

    def groups(self) -> Iterable[tuple[int, int]]:
        """Trials that go through all steps together."""
        first, last = self.trials
        return ((trial, min(trial + GROUP, last)) for trial in range(first, last, GROUP))


def _jobs(networks: int, trials: int) -> list[_Job]:
    """Networks, or parts of their trials if networks alone would not divide evenly among threads."""
    threads = torch.get_num_threads()
    most = max(1, min(threads, trials // FEWEST_TRIALS))
    even = (parts for parts in range(1, most) if -(-networks * parts // threads) * threads <= UNEVEN * networks * parts)
    parts = next(even, most)
    ends = [trials * part // parts for part in range(parts + 1)]
    return [_Job(network, span) for network in range(networks) for span in zip(ends[:-1], ends[1:], strict=True)]


def _side_by_side(work: Callable[[Any, int], None], jobs: Sequence[Any]) -> None:
    """Call `work` with each job and the number of the thread that does it; compiled code does not hold Python's lock."""
    threads = min(torch.get_num_threads(), len(jobs))
    left = iter(jobs)

    def in_turn(thread: int) -> None:
        for job in left:
            work(job, thread)

    if threads == 1:
        in_turn(0)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(in_turn, range(threads)))


def _width(numbers: int) -> int:
    """The length of a row: an odd number of vectors, so that rows do not fall into the same sets of the cache."""
    from cordstasks.rnn.fast.products import LANES

    vectors = -(-numbers // LANES)
    return LANES * (vectors + 1 - vectors % 2)


def _for_each(units: int, value: float | Tensor) -> NDArray[np.float32]:
    """A number for each unit (unit,)."""
    return torch.as_tensor(value, dtype=torch.float32).expand(units).contiguous().numpy()


def _trial() -> str:
    """Compare outputs and gradients of random networks with those of `cordstasks.rnn.recurrence` in float64."""
    if importlib.util.find_spec("numba") is None:
        return "numba is not installed"
    from cordstasks.utils.vectors import SUPPORTED

    if not SUPPORTED:
        return "this processor has no AVX2"
    generator = torch.Generator().manual_seed(0)
    for units, form, activation in product(TRIED, ("rate", "current"), ("relu", "tanh", "softplus")):
        off = _difference(Dynamics(form, activation, 0.3), units, generator)
        if not off < AGREEMENT:  # nor if it is not a number
            return f"{units} units differ by {off:.1e} from those of PyTorch's operations"
    return ""


def _difference(dynamics: Dynamics, units: int, generator: torch.Generator) -> float:
    """The largest relative difference of outputs, rates and gradients."""
    shapes = ((2, 3, 17, 4), (2, units, 4), (2, units, units), (2, 17, units), (2, 3, units), (2, 3))
    values = [torch.randn(shape, generator=generator, dtype=torch.float32) / units**0.5 for shape in shapes]
    values[0][..., -1] = 1
    with torch.inference_mode(False), torch.enable_grad():
        ours = [value.clone().requires_grad_(place > 0) for place, value in enumerate(values)]
        exact = [value.double().requires_grad_(place > 0) for place, value in enumerate(values)]
        compiled = run(dynamics, Stack(*ours), return_rates=True)
        portable = _portable(dynamics, Stack(*exact))
        by = [torch.randn(value.shape, generator=generator, dtype=torch.float32) for value in portable]
        results = []
        for (outputs, rates), leaves in ((compiled, ours), (portable, exact)):
            assert rates is not None
            loss = (outputs * by[0]).sum() + (rates * by[1]).sum()
            results.append([outputs, rates, *torch.autograd.grad(loss, leaves[1:])])
    return max(float((own - other).detach().norm() / other.detach().norm()) for own, other in zip(*results, strict=True))


def _portable(dynamics: Dynamics, stack: Stack) -> tuple[Tensor, Tensor]:
    drive = torch.einsum("ntbc,nuc->ntbu", stack.inputs, stack.input_weights).contiguous()
    if not isinstance(dynamics.alpha, float):
        dynamics = replace(dynamics, alpha=dynamics.alpha.to(drive))
    rates = recurrence.run(dynamics, drive, stack.recurrent, stack.initial)
    return torch.einsum("ntbu,nou->ntbo", rates, stack.output_weights) + stack.output_bias[:, None, None], rates
