"""An optimiser whose steps change all directions of a kernel alike: Muon (Jordan et al. 2024).

The gradient of a convolution is dominated by a few directions, most of all where images are smooth and several linear
convolutions follow each other, as in the CNN that CordsNet starts from. SGD then learns along the others only slowly. Muon
takes the kernel as a matrix (out, in x taps), and its momentum M = U S V' as the direction, without its sizes: U V'. The
product U V' comes from a few products of matrices: an odd polynomial p(x) = a x + b x^3 + c x^5 is applied to M, which
applies it to each singular value and leaves U and V. Repeated, it takes values between 0 and 1 to about 1.

A kernel is kept at the norm at which each output channel has one on average. The learning rate is then about the largest
change of a kernel in a step, relative to its norm. The norm itself does not matter where batch normalisation follows, as it
does after all of the CNN's convolutions but `inp_skip`, whose size relative to the activity of area 0 that area's own scale
decides.

References
----------
Jordan, Jin, Boza, You, Cesista, Newhouse & Bernstein 2024, "Muon: an optimizer for hidden layers in neural networks".
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["Muon", "orthogonalised"]

POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024: steep at zero, and near 1 for what it has made large
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Muon for kernels, and SGD with Nesterov momentum for all other parameters.

    Parameters
    ----------
    kernels : iterable of Tensor
        Weights (out, ...) of convolutions.
    others : iterable of Tensor
        Scales, biases, and weights of the read-out.
    kernel_rate : float
        Change of a kernel in a step, relative to its norm: about as much where all directions are left, and up to a third
        less in kernels with fewer inputs than outputs.
    rate : float
        Learning rate of the others.
    kernel_momentum, momentum : float
        Of kernels and of the others.
    weight_decay : float, default 0.0
        Of the others; the norms of kernels are fixed.
    dtype : torch.dtype, default torch.float32
        Of the products by which a direction is found; bfloat16 is precise enough.
    """

    def __init__(
        self,
        kernels: Iterable[Tensor],
        others: Iterable[Tensor],
        *,
        kernel_rate: float,
        rate: float,
        kernel_momentum: float,
        momentum: float,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        groups = [
            {"params": list(kernels), "kernels": True, "lr": kernel_rate, "momentum": kernel_momentum, "weight_decay": 0.0},
            {"params": list(others), "kernels": False, "lr": rate, "momentum": momentum, "weight_decay": weight_decay},
        ]
        super().__init__([{**group, "peak": group["lr"]} for group in groups], {"dtype": dtype})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Change all parameters that have a gradient.

        Parameters
        ----------
        closure : None
            Not supported.

        Raises
        ------
        ValueError
            If there is a closure.
        """
        if closure is not None:
            raise ValueError("closure: Muon does not compute a loss again; leave it out")
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                gradient = weight.grad.add(weight, alpha=group["weight_decay"]) if group["weight_decay"] else weight.grad
                state = self.state[weight]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].mul_(group["momentum"]).add_(gradient)
                ahead = gradient.add(momentum, alpha=group["momentum"])  # as Nesterov
                if group["kernels"]:
                    weight.mul_(len(weight) ** 0.5 / _norm(weight))
                    ahead = orthogonalised(ahead, group["dtype"])
                weight.add_(ahead, alpha=-group["lr"])


def orthogonalised(kernel: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """A kernel (out, in, height, width) with all singular values of its matrix (out, in x taps) near 1, at 0.7 to 1.2.

    Parameters
    ----------
    kernel : Tensor (out, in, height, width)
    dtype : torch.dtype, default torch.float32
        Of the products.

    Returns
    -------
    Tensor (out, in, height, width)
        In the kernel's type. Values far below the largest one stay smaller; in bfloat16, rounding gives directions without
        any value some, too.
    """
    rows = kernel.permute(0, 2, 3, 1)  # as kernels of images with channels last lie in memory
    matrix = rows.flatten(1).to(dtype)
    tall = len(matrix) > matrix.shape[1]
    matrix = matrix.T if tall else matrix
    matrix = matrix / matrix.abs().amax().clamp_min(torch.finfo(dtype).tiny)  # so that squares in the norm are finite
    matrix = matrix / _norm(matrix)
    first, third, fifth = POLYNOMIAL
    for _ in range(ITERATIONS):
        square = matrix @ matrix.T
        matrix = torch.addmm(matrix, torch.addmm(square, square, square, beta=third, alpha=fifth), matrix, beta=first)
    matrix = matrix.T if tall else matrix
    return matrix.reshape(rows.shape).permute(0, 3, 1, 2).to(kernel.dtype)


def _norm(tensor: Tensor) -> Tensor:
    """The norm, and something to divide zeros by if all are zero."""
    return tensor.norm().clamp_min(torch.finfo(tensor.dtype).tiny)
