"""Front-end and recurrent network together as one dynamical system, for `cordstasks.analysis.dynamics`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cordstasks.cordsnet.system import CordsNetSystem
from cordstasks.frontend.frontend import FrontEnd
from cordstasks.model import MultiAreaModel
from cordstasks.rnn.system import RNNSystem
from cordstasks.utils.systems import TorchSystem

__all__ = ["MultiAreaSystem"]


class MultiAreaSystem(TorchSystem):
    """A multi-area model that watches one image: a step is one step of the recurrent network.

    Within it the front-end takes its own steps of 2 ms, the features of the areas that are read are averaged over them,
    and the recurrent network takes one step with them as inputs. A state is the activity of all areas of the front-end (see
    `cordstasks.cordsnet.system.CordsNetSystem`) followed by the state of the recurrent network. As nothing feeds back, the
    Jacobian is block-triangular: its eigenvalues are those of the front-end, to the power of its steps, and of the
    recurrent network.

    Parameters
    ----------
    frontend : FrontEnd
        The front-end.
    model : MultiAreaModel
        The trained model, such as ``load_run(folder).model``.
    image : array, optional
        What is on the screen, uint8 (height, width, channel); the blank by default.
    precision : {"float64", "float32"}, default "float64"
        What the step is computed in.

    Attributes
    ----------
    size : int
        Number of units of front-end and recurrent network together.
    dt : float
        Duration of a step in ms.
    split : int
        Number of units of the front-end, which come first.

    Raises
    ------
    InputError
        If the image is not a single one, or the network's step is no multiple of 2 ms.
    """

    def __init__(
        self,
        frontend: FrontEnd,
        model: MultiAreaModel,
        image: NDArray[np.uint8] | None = None,
        *,
        precision: str = "float64",
    ) -> None:
        self.frontend = frontend
        self.vision = CordsNetSystem(frontend.network, image, precision=precision)
        self.memory = RNNSystem(model.rnn, precision=precision)
        self.bin_steps = frontend.bin_steps(model.rnn.dt)
        self.split = self.vision.size
        super().__init__(self.split + self.memory.size, model.rnn.dt, precision)
        device = self.vision.drive.stem.device
        self._mean = model.mean.detach().to(device, self._kind)
        self._projection = model.projection.detach().to(device, self._kind)
        self.memory.network.to(device)

    def _device(self) -> torch.device:
        return self._mean.device

    def _map(self, states: Tensor, inputs: Tensor | None) -> Tensor:
        rates = self.vision.areas(states[:, : self.split])
        totals = [torch.zeros_like(rates[area]) for area in self.frontend.areas]
        for _ in range(self.bin_steps):
            rates = self.vision.network.step(rates, self.vision.drive)
            totals = [total + rates[area] for total, area in zip(totals, self.frontend.areas, strict=True)]
        features = self.frontend.read([total / self.bin_steps for total in totals])
        channels = (features - self._mean) @ self._projection
        after = self.memory.network.step(states[:, self.split :], channels)
        return torch.cat([*(r.flatten(1) for r in rates), after], 1)
