"""The recurrent network that reads the front-end: a leaky RNN in rate form."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cordstasks.errors import InputError, unknown

__all__ = ["RNN"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "tanh": torch.tanh, "softplus": F.softplus}


class RNN(nn.Module):
    """A leaky recurrent network of rates: ``T dx/dt = -x + f(W x + b + W_in u + noise)``, read out linearly.

    Parameters
    ----------
    inputs : number of input channels.
    units : number of recurrent units.
    outputs : number of output channels.
    dt : Euler step in ms.
    tau : time constant T in ms; alpha = dt / tau.
    noise : standard deviation of the private noise of each unit, white in time: inside the activation, drawn at each
        step with standard deviation ``noise * sqrt(2 / alpha)``, so that rates vary alike at every step size
        (Yang et al. 2019).
    activation : ``"relu"``, ``"tanh"`` or ``"softplus"``.
    gain : spectral radius of the initial recurrent weights.
    generator : where the initial weights are drawn from.

    Raises
    ------
    InputError : sizes below one, a step longer than the time constant, negative noise, or an unknown activation.
    """

    def __init__(
        self,
        inputs: int,
        units: int = 512,
        outputs: int = 3,
        *,
        dt: float = 20.0,
        tau: float = 100.0,
        noise: float = 0.01,
        activation: str = "relu",
        gain: float = 0.9,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        for name, number in (("inputs", inputs), ("units", units), ("outputs", outputs)):
            if number < 1:
                raise InputError(f"{name}={number!r}: must be at least 1")
        if not 0 < dt <= tau < math.inf:
            raise InputError(f"dt={dt!r}: an Euler step must be above 0 and at most the time constant tau={tau!r} (ms)")
        if not 0 <= noise < math.inf:
            raise InputError(f"noise={noise!r}: a standard deviation must be a finite number of at least 0")
        if activation not in ACTIVATIONS:
            raise unknown("activation", activation, ACTIVATIONS)
        self.alpha = dt / tau
        self.noise = noise
        self.activation = activation

        def normal(rows: int, columns: int, scale: float) -> nn.Parameter:
            return nn.Parameter(scale * torch.randn(rows, columns, generator=generator))

        self.input_weights = normal(units, inputs, 1 / math.sqrt(inputs))
        self.recurrent_weights = normal(units, units, gain / math.sqrt(units))
        self.bias = nn.Parameter(torch.zeros(units))
        self.output_weights = normal(outputs, units, 1 / math.sqrt(units))
        self.output_bias = nn.Parameter(torch.zeros(outputs))

    @property
    def units(self) -> int:
        """Number of recurrent units."""
        return len(self.bias)

    def forward(
        self,
        inputs: Tensor,
        *,
        return_states: bool = False,
        initial: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Run the network.

        Parameters
        ----------
        inputs : (trial, time, channel).
        return_states : also return the rates.
        initial : rates (trial, unit) before the first step (default zero).
        generator : where the noise is drawn from; without one, no noise is added.

        Returns
        -------
        outputs (trial, time, channel), and with `return_states` also states (trial, time, unit), after each step.
        """
        if inputs.ndim != 3 or inputs.shape[2] != self.input_weights.shape[1]:
            raise InputError(f"inputs of shape {tuple(inputs.shape)}: expected (trial, time, {self.input_weights.shape[1]})")
        activate = ACTIVATIONS[self.activation]
        drive = F.linear(inputs, self.input_weights, self.bias).transpose(0, 1)
        if generator is not None and self.noise:
            scale = self.noise * math.sqrt(2 / self.alpha)
            drive = drive + scale * torch.randn(drive.shape, generator=generator, device=drive.device)
        x = inputs.new_zeros(len(inputs), self.units) if initial is None else initial
        recurrent = self.recurrent_weights.T
        states = []
        for step in drive:
            x = torch.lerp(x, activate(torch.addmm(step, x, recurrent)), self.alpha)
            states.append(x)
        rates = torch.stack(states, 1)
        outputs = F.linear(rates, self.output_weights, self.output_bias)
        return (outputs, rates) if return_states else outputs
