"""Several processes that train one network together, each with its part of every batch, by Hugging Face's Accelerate."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from cordstasks.errors import InputError

__all__ = ["Processes"]


class Processes:
    """The processes that ``accelerate launch`` or ``torchrun`` has started together; without either, one alone.

    Every process has and augments the whole batch in the same way and computes its own part of it. Of image files each reads
    its own part, too, see `cordstasks.pretraining.sharing`. Gradients are summed, so that all have that of the whole batch,
    and their weights stay the same. Only the first writes files.

    Parameters
    ----------
    device : torch.device
        Where to compute; on several GPUs each process takes its own.

    Attributes
    ----------
    count, number : int
        How many there are, and which this is, from 0.
    device : torch.device
        Where this one computes.

    Raises
    ------
    InputError
        If there are several and Accelerate is not installed.
    """

    def __init__(self, device: torch.device) -> None:
        self.count, self.number, self.device = 1, 0, device
        self._state: Any = None
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            try:
                from accelerate import PartialState
            except ImportError:
                count = os.environ["WORLD_SIZE"]
                raise InputError(
                    f"WORLD_SIZE={count}: several processes need Accelerate; pip install 'cordstasks[distributed]'"
                ) from None
            self._state = PartialState(cpu=device.type == "cpu")
            self.count, self.number = self._state.num_processes, self._state.process_index
            self.device = device if device.type == "cpu" else self._state.device

    @property
    def main(self) -> bool:
        """Whether this is the one that writes."""
        return self.number == 0

    def wait(self) -> None:
        """Go on when all have come here."""
        if self._state is not None:
            self._state.wait_for_everyone()

    def part(self, x: Tensor) -> Tensor:
        """The part of this process of a batch; it is empty where the batch has fewer images than there are processes."""
        return x[len(x) * self.number // self.count : len(x) * (self.number + 1) // self.count]

    def add(self, tensor: Tensor) -> Tensor:
        """The sum over all processes."""
        if self._state is None:
            return tensor
        from accelerate.utils import reduce

        return reduce(tensor.clone(), "sum")  # type: ignore[return-value]

    def join(self, tensor: Tensor) -> Tensor:
        """The parts of all processes (first axis) in their order; parts may differ in length."""
        if self._state is None:
            return tensor
        from accelerate.utils import gather

        lengths = gather(torch.tensor([len(tensor)], device=self.device)).tolist()  # type: ignore[union-attr]
        padded = tensor.new_zeros((max(lengths), *tensor.shape[1:]), device=self.device)
        padded[: len(tensor)] = tensor
        parts = gather(padded).split(max(lengths)) if max(lengths) else []  # type: ignore[union-attr]
        whole = [part[:length] for part, length in zip(parts, lengths, strict=False)]
        return torch.cat(whole).to(tensor.device) if whole else tensor

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace gradients by their sum over all processes."""
        if self._state is None:
            return
        own = [parameter for parameter in parameters if parameter.grad is not None]
        together = self.add(torch.cat([parameter.grad.flatten() for parameter in own]))  # type: ignore[union-attr]
        for parameter, gradient in zip(own, together.split([p.numel() for p in own]), strict=True):
            # in place: the optimisers that take one pass pair numbers by their place in memory, whatever the strides say
            parameter.grad.copy_(gradient.view_as(parameter))  # type: ignore[union-attr]

    def add_all(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The sum over all processes of each of some numbers, which all have by the same names."""
        return {name: self.add(value) for name, value in sorted(values.items())}

    def any(self, truth: bool) -> bool:
        """Whether it is true of one of them."""
        if self._state is None:
            return truth
        return bool(self.add(torch.tensor(float(truth), device=self.device)) > 0)

    def close(self) -> None:
        """Leave the others."""
        if self._state is not None:
            self._state.destroy_process_group()
