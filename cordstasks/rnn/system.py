"""A recurrent network as a dynamical system, for `cordstasks.analysis.dynamics`."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cordstasks.errors import InputError
from cordstasks.rnn.network import ACTIVATIONS, RNN
from cordstasks.utils.systems import PRECISIONS, TorchSystem

__all__ = ["RNNSystem"]


class RNNSystem(TorchSystem):
    """The step of an RNN without noise, `cordstasks.rnn.RNN.step`, as a system.

    Parameters
    ----------
    network : RNN
        The network; the system takes a copy.
    inputs : array (channel,), optional
        Inputs at every step, unless a call gives others (default: zero).
    precision : {"float64", "float32"}, default "float64"
        What the step is computed in.

    Attributes
    ----------
    size : int
        Number of units. States are rates x in rate form and currents h in current form.
    dt : float
        Duration of a step in ms.

    Raises
    ------
    InputError
        If inputs have another number of channels, or are not finite.
    """

    def __init__(self, network: RNN, inputs: ArrayLike | None = None, *, precision: str = "float64") -> None:
        super().__init__(network.units, network.dt, precision)
        self.network = copy.deepcopy(network).to(PRECISIONS[precision]).requires_grad_(False)
        channels = self.network.input_weights.shape[1]
        self.inputs = self._channels(np.zeros(channels) if inputs is None else inputs)
        if self.inputs.ndim != 1:
            raise InputError(f"inputs of shape {tuple(self.inputs.shape)}: give ({channels},), the same at every step")

    def _device(self) -> torch.device:
        return self.network.bias.device

    def _channels(self, inputs: ArrayLike) -> Tensor:
        given = np.asarray(inputs)
        channels = self.network.input_weights.shape[1]
        if given.dtype.kind not in "fiub" or given.ndim not in (1, 2) or given.shape[-1] != channels:
            raise InputError(f"inputs of shape {given.shape}: this network takes ({channels},) or (state, {channels})")
        if not np.isfinite(given).all():
            raise InputError("inputs: not all of them are finite numbers")
        return self._tensor(given)

    def _checked_inputs(self, inputs: ArrayLike | None) -> Tensor:
        return self.inputs if inputs is None else self._channels(inputs)

    def _map(self, states: Tensor, inputs: Tensor | None) -> Tensor:
        assert inputs is not None
        if inputs.ndim == 2 and len(inputs) not in (1, len(states)):
            raise InputError(f"inputs of {len(inputs)} states: there are {len(states)} states; give a row for each")
        return self.network.step(states, inputs)

    def jacobian(self, states: ArrayLike, inputs: ArrayLike | None = None) -> NDArray[np.float64]:
        """The whole Jacobian (state, unit to, unit from) at each state, or (unit to, unit from), in closed form.

        ``(1 - alpha) I + alpha f'(W x + drive) W`` in rate form, ``(1 - alpha) I + alpha W f'(h)`` in current form.
        """
        x, single = self._rows("states", states)
        given, network = self._checked_inputs(inputs), self.network
        weights = network.connectivity.matrix()
        alpha = torch.as_tensor(network.alpha, dtype=self._kind, device=x.device).expand(self.size)
        if network.form == "rate":
            total = x @ weights.mT + torch.nn.functional.linear(given, network.input_weights, network.bias)
            recurrent = self._slope(total)[:, :, None] * weights
        else:
            recurrent = weights * self._slope(x)[:, None, :]
        return self._array(torch.diag(1 - alpha) + alpha[:, None] * recurrent, single)

    def _slope(self, total: Tensor) -> Tensor:
        """The slope of the activation."""
        with torch.enable_grad():
            at = total.detach().requires_grad_()
            return torch.autograd.grad(ACTIVATIONS[self.network.activation](at).sum(), at)[0]

    def outputs(self, states: ArrayLike) -> NDArray[np.float64]:
        """The outputs (state, output) that are read from states (state, unit).

        Parameters
        ----------
        states : array (state, unit) or (unit,)

        Returns
        -------
        float64 array (state, output), or (output,) for a single state

        Raises
        ------
        InputError
            If states have another size than the system, or are not finite.
        """
        x, single = self._rows("states", states)
        with torch.no_grad():
            read = torch.nn.functional.linear(self.network.rates(x), self.network.output_weights, self.network.output_bias)
        return self._array(read, single)
