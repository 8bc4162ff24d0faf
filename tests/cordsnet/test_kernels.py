"""The Triton kernel without a device: it compiles for one, and what it computes when it is interpreted is right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cordstasks.cordsnet.engines.fused import Tiling, tilings

pytest.importorskip("triton")

SIDES = (16, 16, 8, 8, 4, 4, 2, 2)

# a network of four areas, at sizes that the interpreter can do, against convolutions
INTERPRETED = """
import torch
from cordstasks.cordsnet.engines import Weights
from cordstasks.cordsnet.engines.fused import FusedSteps, Tiling, Wiring
from cordstasks.cordsnet.engines.graphs import Shape
from cordstasks.cordsnet.engines.layers import LayerSteps

torch.set_grad_enabled(False)
generator = torch.Generator().manual_seed(0)
random = lambda *shape: torch.randn(shape, generator=generator)
kernel = lambda out, inputs: random(out, inputs, 3, 3) * (9 * inputs) ** -0.5
weights = Weights(
    [kernel(64, 64), kernel(64, 64), kernel(128, 128), kernel(128, 128)],
    [kernel(64, 64), kernel(64, 64), kernel(128, 64), kernel(128, 128)],
    [random(128, 64, 1, 1) / 8],
    0.2,
)
shape, cut = {arguments}
start = [random(shape.batch, len(w), side, side).abs() for w, side in zip(weights.recurrent, shape.sides)]
drives = [random(1 if same else shape.batch, *r.shape[1:]) for r, same in zip(start, shape.shared)]
drives = [drive.expand(shape.batch, -1, -1, -1) for drive in drives]
ends = []
for steps in (FusedSteps(Wiring(weights, "tf32"), shape, (1, 3), cut=cut), LayerSteps(weights, "float32", shape, (1, 3))):
    end, totals = [torch.empty_like(r) for r in start], [start[1].clone(), start[3].clone()]
    steps.show(drives)
    steps.load(start, totals)
    for number in range(2):
        steps.step(number)
    steps.store(end, totals)
    ends.append([*end, *totals])
for ours, expected in zip(*ends):
    off = float((ours - expected).abs().max() / expected.abs().max())
    assert 0 < off < 1e-3, off
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        # images at three positions in a tile, sums divided
        "Shape(3, (3, 3, 2, 2), (False, False, True, True), 2), [Tiling((0, 1, 2, 3), 16, 64, 64, 4, 3, split=True)]",
        # images at one position in a tile, fetched as a whole, sums divided
        "Shape(16, (3, 3, 2, 2), (False, False, True, False), 2), "
        "[Tiling((0, 1, 2, 3), 16, 64, 64, 4, 3, split=True, bulk=True)]",
        # tiles of two kinds, in four pieces and in one
        "Shape(32, (2, 2, 1, 1), (False, False, True, True), 2), "
        "[Tiling((2, 3), 32, 128, 32, 2, 3, bulk=True), Tiling((0, 1), 16, 64, 64, 2, 3)]",
    ],
)
def test_what_it_computes(arguments: str) -> None:
    code = INTERPRETED.replace("{arguments}", arguments)
    environment = {"TRITON_INTERPRET": "1", "PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def kernels() -> list[tuple[bool, Tiling, int]]:
    made = []
    for tf32 in (True, False):
        for batch in (1, 16, 64, 512):
            made += [(tf32, tiling, batch) for tiling in tilings(batch, SIDES, tf32=tf32, bulk=True)]
    return made


@pytest.mark.slow
@pytest.mark.parametrize(("tf32", "tiling", "batch"), kernels())
def test_it_compiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tf32: bool, tiling: Tiling, batch: int) -> None:
    from triton import compile as compiled
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from cordstasks.cordsnet.engines.kernels import advance

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    number = "fp32" if tf32 else "bf16"
    constants = {
        "BM": tiling.rows,
        "BN": tiling.channels,
        "BK": tiling.inputs,
        "UNIFORM": batch % tiling.rows == 0,
        "SPLIT": tiling.split,
        "TF32": tf32,
        "BULK": tiling.bulk,
        "PIECES": tiling.pieces,
    }
    kinds = {name: "*fp32" for name in ("state", "drive", "total", "partial")}
    kinds |= {name: "*i32" for name in ("units", "areas", "counters")}
    kinds |= {name: f"*{number}" for name in ("source", "target", "weights")}
    kinds |= {"batch": "i32", "alpha": "fp32", **dict.fromkeys(constants, "constexpr")}
    if tiling.bulk:
        kinds["source"] = f"tensordesc<{number}[{tiling.rows},{tiling.inputs}]>"
        kinds["weights"] = f"tensordesc<{number}[{tiling.channels},{tiling.inputs}]>"
    names = advance.arg_names
    attributes = {(at,): [["tt.divisibility", 16]] for at, name in enumerate(names) if kinds[name].startswith("*")}
    source = ASTSource(
        advance,
        {name: kinds[name] for name in names},
        {(names.index(name),): value for name, value in constants.items()},
        attributes,
    )
    options = {"num_warps": tiling.warps, "num_stages": tiling.stages}
    made = compiled(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert made.metadata.shared <= 227 * 1024
    assert "mma" in made.asm["ptx"]  # the tensor cores', not additions one by one
    assert ("cp.async.bulk.tensor" in made.asm["ptx"]) == tiling.bulk


def test_tilings_take_every_area_once() -> None:
    for batch in (1, 2, 4, 8, 16, 32, 64, 128, 192, 512):
        for depth in range(1, 9):
            cut = tilings(batch, SIDES[:depth], tf32=True)
            assert sorted(area for tiling in cut for area in tiling.areas) == list(range(depth))


def test_rounding_is_to_the_nearest() -> None:
    from cordstasks.cordsnet.engines.fused import Wiring
    from cordstasks.cordsnet.engines.portable import Weights

    values = torch.tensor([1.0, 1 + 2**-10, 1 + 2**-11 + 2**-20, 1 + 2**-12, -1 - 2**-11 - 2**-20, 3.0e-5, 0.0])
    rounded = Wiring(Weights([torch.zeros(64, 64, 3, 3)], [torch.zeros(64, 64, 3, 3)], [], 0.2), "tf32").sent(values)
    assert rounded.tolist()[:5] == [1.0, 1 + 2**-10, 1 + 2**-10, 1.0, -1 - 2**-10]
    assert ((rounded - values).abs() <= values.abs() * 2**-11).all()
