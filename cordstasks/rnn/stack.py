"""Many recurrent networks as one: weights stacked along a first axis, run and differentiated in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cordstasks.errors import InputError
from cordstasks.rnn import fast
from cordstasks.rnn.network import RNN
from cordstasks.rnn.noise import fill_normal
from cordstasks.rnn.recurrence import Dynamics, run

__all__ = ["RNNStack"]

TOGETHER = 8  # networks stepped at once on a CPU: their activity at one step stays in its cache


class RNNStack(nn.Module):
    """Networks of one kind and size side by side; it computes what each of them alone would, but faster.

    Parameters and buffers have the names of `cordstasks.rnn.RNN`, with a first axis for the networks. Products with the
    recurrent weights are dense, whatever the connectivity, which is fastest up to about a thousand units.

    Parameters
    ----------
    networks : sequence of RNN
        One network or more; they are copied.

    Raises
    ------
    InputError
        If there are no networks, or they differ in more than their weights.
    """

    input_weights: Tensor
    bias: Tensor
    output_weights: Tensor
    output_bias: Tensor
    initial_state: Tensor
    tau: Tensor

    def __init__(self, networks: Sequence[RNN]) -> None:
        super().__init__()
        if not networks:
            raise InputError("networks: give at least one")
        first = networks[0]
        shapes = {name: value.shape for name, value in first.state_dict().items()}
        for network in networks[1:]:
            if network.settings() != first.settings():
                raise InputError(f"networks: {network.settings()} cannot be run beside {first.settings()}")
            if {name: value.shape for name, value in network.state_dict().items()} != shapes or not _same(network, first):
                raise InputError("networks: they must have the same sizes and time constants to be run side by side")
        # the pattern is kept out of the registered modules: its own weights are no part of the stack
        self._pattern = [deepcopy(first)]
        states = [network.state_dict() for network in networks]
        trained = {name for name, parameter in first.named_parameters() if parameter.requires_grad}
        learnable = {name for name, _ in first.named_parameters()}
        for name in shapes:
            stacked = torch.stack([state[name] for state in states]).clone()
            if name in learnable:
                self.register_parameter(name, nn.Parameter(stacked, requires_grad=name in trained))
            else:
                self.register_buffer(name, stacked)

    @property
    def pattern(self) -> RNN:
        """A network with the settings that all share; its weights have no meaning."""
        return self._pattern[0]

    @property
    def alpha(self) -> float | Tensor:
        """The Euler step as a fraction of the time constant, which all networks share: a number, or (unit,)."""
        tau = self.pattern.tau
        return self.pattern.dt / (tau if isinstance(tau, float) else self.tau[0])

    def __len__(self) -> int:
        return len(self.bias)

    def network(self, index: int) -> RNN:
        """One of the networks, as a copy on the CPU.

        Returns
        -------
        RNN
            With its own weights.
        """
        copied = deepcopy(self.pattern).cpu()
        copied.load_state_dict({name: value[index].detach().cpu() for name, value in self.state_dict().items()})
        return copied

    def networks(self) -> list[RNN]:
        """All networks, as copies.

        Returns
        -------
        list of RNN
            In order.
        """
        return [self.network(index) for index in range(len(self))]

    def subset(self, kept: Sequence[int]) -> RNNStack:
        """A stack of copies of some of the networks.

        Returns
        -------
        RNNStack
            In the order of `kept`.
        """
        return RNNStack([self.network(index) for index in kept]).to(self.bias.device)

    def recurrent(self) -> Tensor:
        """Dense recurrent weights (network, unit to, unit from).

        Returns
        -------
        Tensor of shape (network, unit, unit)
            To, from.
        """
        pattern = self.pattern
        return pattern.kind.matrix({name: getattr(self, name) for name in pattern.recurrent_names})

    def forward(
        self,
        inputs: Tensor | NDArray[Any],
        *,
        return_states: bool = False,
        noise: Sequence[np.random.Generator] | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Run all networks, each on its own trials.

        Parameters
        ----------
        inputs : Tensor or ndarray of shape (network, trial, time, channel)
            Of any type of number.
        return_states : bool, default False
            Whether to return the rates, too.
        noise : sequence of numpy.random.Generator, optional
            Where the private noise of each network is drawn from; without, there is none.

        Returns
        -------
        outputs : Tensor of shape (network, trial, time, channel)
            After each step.
        rates : Tensor of shape (network, trial, time, unit)
            After each step; only with `return_states`.

        Raises
        ------
        InputError
            If the inputs have another shape, or there is another number of generators.
        """
        inputs = torch.as_tensor(inputs).to(self.input_weights.dtype)
        channels = self.input_weights.shape[2]
        if inputs.ndim != 4 or inputs.shape[0] != len(self) or inputs.shape[3] != channels:
            raise InputError(f"inputs of shape {tuple(inputs.shape)}: expected ({len(self)}, trial, time, {channels})")
        if noise is not None and len(noise) != len(self):
            raise InputError(f"noise: has {len(noise)} generators; give one for each of {len(self)} networks")
        stack = self._given(inputs)
        generators = noise if self.pattern.noise else None
        if fast.usable(stack):
            outputs, rates = fast.run(
                self._dynamics, stack, noise=generators, scale=self._noise_per_step, return_rates=return_states
            )
        else:
            outputs, rates = self._by_operations(stack, generators, return_rates=return_states)
        outputs = outputs.transpose(1, 2)
        return outputs if rates is None else (outputs, rates.transpose(1, 2))

    def _given(self, inputs: Tensor) -> fast.Stack:
        """The networks, on inputs (network, trial, time, channel)."""
        ones = inputs.new_ones(*inputs.shape[:3], 1)  # the bias is the weight of an input that is always one
        return fast.Stack(
            torch.cat([inputs, ones], 3).transpose(1, 2).contiguous(),
            torch.cat([self.input_weights, self.bias[..., None]], 2),
            self.recurrent(),
            self._start(inputs),
            self.output_weights,
            self.output_bias,
        )

    @property
    def _dynamics(self) -> Dynamics:
        return Dynamics(self.pattern.form, self.pattern.activation, self.alpha)

    @property
    def _noise_per_step(self) -> float | Tensor:
        return self.pattern.noise * (2 / self.alpha) ** 0.5

    def _by_operations(
        self, stack: fast.Stack, noise: Sequence[np.random.Generator] | None, *, return_rates: bool
    ) -> tuple[Tensor, Tensor | None]:
        """What `cordstasks.rnn.fast.run` computes, by PyTorch's operations, a few networks at a time on CPUs."""
        together = TOGETHER if stack.inputs.device.type == "cpu" else len(self)
        outputs, rates, first = [], [], 0
        for some in zip(*(tensor.split(together) for tensor in stack.tensors()), strict=True):
            part = fast.Stack(*some)
            generators = None if noise is None else noise[first : first + together]
            first += together
            drive = self._drive(part.inputs, part.input_weights, generators)
            after = run(self._dynamics, drive, part.recurrent, part.initial)
            output = torch.baddbmm(part.output_bias[:, None], after.flatten(1, 2), part.output_weights.mT)
            outputs.append(output.unflatten(1, drive.shape[1:3]))
            if return_rates:
                rates.append(after)
        return torch.cat(outputs), torch.cat(rates) if return_rates else None

    def _start(self, inputs: Tensor) -> Tensor:
        shape = (len(self), inputs.shape[1], self.bias.shape[1])
        if self.pattern.initial_state is None:
            return inputs.new_zeros(shape)
        state: Tensor = self.initial_state
        return state[:, None].expand(shape)

    def _drive(self, inputs: Tensor, weights: Tensor, generators: Sequence[np.random.Generator] | None) -> Tensor:
        """Inputs (network, time, trial, channel) through their weights, and noise: (network, time, trial, unit)."""
        rows, across = inputs.flatten(1, 2), weights.mT
        if generators is None:
            drive = torch.bmm(rows, across)
        else:
            scale = self._noise_per_step
            noise = self._noise(rows, generators)
            if isinstance(scale, float):
                drive = noise.baddbmm_(rows, across, beta=scale)
            else:
                drive = noise.mul_(scale).baddbmm_(rows, across)
        return drive.unflatten(1, inputs.shape[1:3])

    def _noise(self, inputs: Tensor, generators: Sequence[np.random.Generator]) -> Tensor:
        """Standard normal numbers (network, time and trial, unit); those of a shorter run are the first of a longer one."""
        noise = np.empty(
            (*inputs.shape[:2], self.bias.shape[1]), np.float64 if inputs.dtype == torch.float64 else np.float32
        )

        # numbers are drawn without holding Python's lock, so that threads share the work
        threads = min(torch.get_num_threads(), len(noise))
        with ThreadPoolExecutor(threads) if threads > 1 else nullcontext() as pool:
            list((map if pool is None else pool.map)(fill_normal, generators, noise))
        return torch.from_numpy(noise).to(inputs.device)


def _same(one: RNN, other: RNN) -> bool:
    if isinstance(one.tau, float) or isinstance(other.tau, float):
        return isinstance(one.tau, float) and isinstance(other.tau, float) and one.tau == other.tau
    return torch.equal(one.tau, other.tau)
