"""Leading eigenvalues of large operators: restarted Arnoldi beside a direct Arnoldi, with CPU time and residuals.

With cordstasks installed: ``python benchmarks/dynamics.py``. The direct Arnoldi is a single factorisation by modified
Gram-Schmidt with m = 300 vectors in float32, as public code for CordsNet has it. Three operators: the recurrent convolution
of one area of 64 channels and 28 x 28 units, with the shipped weights of area 0 and with random ones, and the Jacobian of
the whole shipped network at 64 px, at its steady state on a random image. OMP_NUM_THREADS sets the number of CPU threads.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cordstasks.utils.command_line import run_command
from cordstasks.utils.measured import machine_line, note_number

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse.linalg import LinearOperator

LIMIT = 1e-4  # of a residual


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("shipped", "random", "whole"), help="one of the operators (default: all)")
    parser.add_argument("--vectors", type=int, default=300, help="of the direct Arnoldi (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="of random weights, image and start vector (default 0)")
    options = parser.parse_args()
    made = {"shipped": (area, 100), "random": (random_area, 100), "whole": (whole, 50)}
    print(machine_line())
    print(f"{'operator':44s} {'method':23s} {'k':>4s} {'CPU s':>6s} {'products':>8s} {'below 1e-4':>10s} {'largest':>8s}")
    for name, (operator_of, k) in made.items():
        if options.only in (None, name):
            label, operator = operator_of(options.seed)
            compare(label, operator, k, options)
    return 0


def area(seed: int) -> tuple[str, LinearOperator]:
    """The shipped weights of area 0, on maps of 28 x 28."""
    from cordstasks.analysis.dynamics import convolution_operator
    from cordstasks.cordsnet import load

    kernel: Any = load("cordsnet-r8").area_conv[0].weight
    return "area 0 as shipped, 64 x 28 x 28", convolution_operator(kernel.detach().numpy(), (64, 28, 28))


def random_area(seed: int) -> tuple[str, LinearOperator]:
    """Gaussian weights of gain 1."""
    import numpy as np

    from cordstasks.analysis.dynamics import convolution_operator

    kernel = np.random.default_rng(seed).standard_normal((64, 64, 3, 3)).astype(np.float32) / np.float32(24)
    return "area of random weights, 64 x 28 x 28", convolution_operator(kernel, (64, 28, 28))


def whole(seed: int) -> tuple[str, LinearOperator]:
    """All areas of the shipped network, at the steady state on a random image."""
    import numpy as np

    from cordstasks.analysis.dynamics import jacobian_operator
    from cordstasks.cordsnet import CordsNetSystem, load

    image = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    system = CordsNetSystem(load("cordsnet-r8"), image, precision="float32")
    operator = jacobian_operator(system, system.settled(1000, tolerance=1e-5))
    return f"Jacobian of R8 at 64 px, {system.size} units", operator


def compare(label: str, operator: LinearOperator, k: int, options: argparse.Namespace) -> None:
    import numpy as np

    from cordstasks.analysis.dynamics import eigenvalues
    from cordstasks.errors import Note

    def ours() -> tuple[int, np.ndarray]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Note)
            found = eigenvalues(operator, k, tolerance=5e-5, restarts=20, rng=options.seed)
        return found.applications, found.residuals

    methods: dict[str, Callable[[], tuple[int, np.ndarray]]] = {
        "eigenvalues": ours,
        f"direct Arnoldi, m = {options.vectors}": lambda: direct(operator, k, options.vectors, options.seed),
    }
    taken: dict[str, float] = {}
    for method, run in methods.items():
        start = time.process_time()
        products, residuals = run()
        seconds = time.process_time() - start
        taken[method] = seconds
        below = int(np.sum(residuals < LIMIT))
        print(f"{label:44s} {method:23s} {k:4d} {seconds:6.1f} {products:8d} {below:10d} {residuals.max():8.1e}", flush=True)
    ours_name, direct_name = methods
    ratio = taken[direct_name] / taken[ours_name]
    note_number(f"{k} eigenvalues: {label}", taken[ours_name], "CPU s", ratio=ratio, beside=direct_name)


def direct(operator: LinearOperator, k: int, vectors: int, seed: int) -> tuple[int, np.ndarray]:
    """Residuals of the k leading Ritz pairs of one Arnoldi factorisation by modified Gram-Schmidt in float32."""
    import numpy as np

    size = operator.shape[0]
    basis = np.zeros((vectors + 1, size), np.float32)
    small = np.zeros((vectors + 1, vectors), np.float32)
    start = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    basis[0] = start / np.linalg.norm(start)
    for column in range(vectors):
        new = np.asarray(operator.matvec(basis[column]), np.float32)
        for row in range(column + 1):
            small[row, column] = basis[row] @ new
            new -= small[row, column] * basis[row]
        small[column + 1, column] = np.linalg.norm(new)
        basis[column + 1] = new / small[column + 1, column]
    values, ritz = np.linalg.eig(small[:vectors])
    leading = np.argsort(-np.abs(values))[:k]
    residuals = []
    for place in leading:
        vector = basis[:vectors].T @ ritz[:, place]
        vector /= np.linalg.norm(vector)
        product = operator.matvec(vector.real) + 1j * operator.matvec(vector.imag)
        residuals.append(float(np.linalg.norm(product - values[place] * vector)))
    return vectors, np.array(residuals)


if __name__ == "__main__":
    run_command(main)
