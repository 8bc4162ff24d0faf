"""The CPU engine: convolutions in oneDNN's own layout."""

from __future__ import annotations

import contextlib
from functools import partial

import torch
from torch import Tensor

from cordstasks.cordsnet.engines.portable import Convolution, Portable


class Packed(Portable):
    """CPU: weights laid out once as oneDNN wants them, with the addition and the relu fused into the convolution.

    torch reaches these kernels through operators that it does not document, so `available` tries them before use and
    `Portable` stands in where they are missing or disagree.
    """

    @property
    def description(self) -> str:
        """As `Portable.description`."""
        return "convolutions by oneDNN"

    @staticmethod
    def available(precision: str = "float32") -> bool:
        """Whether this build of torch has the operators, on this processor, and they compute what `Portable` does.

        Returns
        -------
        bool
            The same each time that it is asked; the operators are tried once a precision.
        """
        if precision not in _works:
            _works[precision] = False
            with contextlib.suppress(Exception):  # an undocumented operator may fail in any way; Portable is the answer
                ramp, last = partial(torch.linspace, dtype=torch.float32), torch.channels_last
                x = ramp(-1, 1, 2 * 8 * 5 * 5).view(2, 8, 5, 5).contiguous(memory_format=last)
                weight = ramp(-1, 1, 16 * 8 * 9).view(16, 8, 3, 3)
                add = ramp(-9, 9, 2 * 16 * 9).view(2, 16, 3, 3).contiguous(memory_format=last)
                plain, packed = (
                    engine.convolution(weight, 2)(x, add, relu=True) for engine in (Portable(precision), Packed(precision))
                )
                close = 1e-5 if precision == "float32" else 2e-2
                _works[precision] = torch.allclose(plain, packed, rtol=close, atol=close * float(plain.max()))
        return _works[precision]

    def convolution(self, weight: Tensor, stride: int) -> Convolution:
        """A callable that convolves with `weight` (out, in, k, k), packed for each input shape it meets.

        Returns
        -------
        Convolution
            Which takes images (image, in, height, width) and returns float32.
        """
        operator = torch.ops.mkldnn._convolution_pointwise
        kernel = weight.to(self.dtype).contiguous(memory_format=torch.channels_last)
        padding = weight.shape[-1] // 2
        where = ([padding] * 2, [stride] * 2, [1, 1], 1)
        packed: dict[torch.Size, Tensor] = {}

        def pack(x: Tensor) -> Tensor:
            if x.shape not in packed:
                if len(packed) > 3:  # odd batch sizes come and go; keep a few layouts, not all
                    packed.clear()
                packed[x.shape] = torch.ops.mkldnn._reorder_convolution_weight(kernel, *where, list(x.shape))
            return packed[x.shape]

        def apply(x: Tensor, add: Tensor | None = None, *, relu: bool = False) -> Tensor:
            x = x.to(self.dtype)
            if add is None:
                return operator(x, pack(x), None, *where, "relu" if relu else "none", [], "").float()
            add = add.to(self.dtype)
            unary = "relu" if relu else None
            return operator.binary(x, add, pack(x), None, *where, "add", None, unary, [], "").float()

        return apply


_works: dict[str, bool] = {}  # by precision; processors differ in what they can do in bfloat16
