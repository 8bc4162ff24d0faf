"""Several processes that train together: the gradient of one with the whole batch, and one set of files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from cordstasks.errors import InputError
from cordstasks.pretraining.processes import Processes
from cordstasks.utils.files import Log

ROOT = Path(__file__).resolve().parents[2]

TRAIN = """
import sys
from pathlib import Path
import torch
from cordstasks.cordsnet import CordsNet
from cordstasks.pretraining.data import ImageSet
from cordstasks.pretraining.deadline import Deadline, OutOfTime
from cordstasks.pretraining.loop import Training, run_training
from cordstasks.pretraining.muon import Muon
from cordstasks.pretraining.objectives import full_loss
from cordstasks.pretraining.presentation import Augmentation, Presentation
from cordstasks.pretraining.processes import Processes
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.pretraining.unrolled import Unrolled
from cordstasks.utils.files import Log

class Late(Deadline):
    calls = 0
    def passed(self):
        self.calls += 1
        return together.number == 1 and self.calls == 2  # of the second process only: all must stop

out, stop, kind = Path(sys.argv[1]), "stop" in sys.argv, sys.argv[2]
together = Processes(torch.device("cpu"))
torch.manual_seed(0)
images = torch.randint(0, 256, (12, 32, 32, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
data = ImageSet(images, torch.arange(12) % 3, ("a", "b", "c"))
network = CordsNet(2, classes=3, in_channels=1, image_size=32)
settings = PretrainSettings(blank_steps=6, image_steps=6, after_steps=4, image_window=2, after_window=1,
                            gradients="truncated", spontaneous_images=None)
shown = Presentation(32, (0.5,), (0.5,), classes=3, device=torch.device("cpu"), augmentation=Augmentation())
weights = list(network.parameters())
if kind == "plain":
    optimiser = torch.optim.SGD([{"params": weights, "peak": 0.5}], lr=0.5)
else:
    network.to(memory_format=torch.channels_last)
    assert any(not weight.is_contiguous() for weight in weights)
if kind == "one pass":
    optimiser = torch.optim.SGD([{"params": weights, "peak": 0.5}], lr=0.5, momentum=0.5, fused=True)
if kind == "muon":
    kernels, others = ([weight for weight in weights if (weight.ndim == 4) is is_kernel] for is_kernel in (True, False))
    optimiser = Muon(kernels, others, kernel_rate=0.1, rate=0.5, kernel_momentum=0.5, momentum=0.5)
training = Training(
    stage="direct", state=network.state_dict(), optimiser=optimiser,
    loss=lambda x, targets, generator, step: full_loss(Unrolled(network), x, targets, settings),
    epochs=1, batch=6, schedule=lambda step, steps: 1.0, seed=2,
)
for deadline in ([Late(), Deadline()] if stop else [Deadline()]):
    try:
        run_training(
            training, data, shown, out / "direct.pt", Log(out / "direct.jsonl"), deadline=deadline, processes=together
        )
    except OutOfTime:
        pass
torch.save(network.state_dict(), out / f"weights-{together.number}-of-{together.count}.pt")
together.close()
"""


def together(count: int, arguments: list[str], **environment: str) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={count}", "--master_port=0", "--standalone"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(("kind", "stop"), [("plain", False), ("plain", True), ("one pass", False), ("muon", False)])
def test_two_with_half_the_batch_each_have_one_s_gradient(kind: str, stop: bool, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    subprocess.run(
        [sys.executable, str(script), str(tmp_path / "one"), kind],
        cwd=ROOT,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    together(2, [str(script), str(tmp_path / "two"), kind, *["stop"] * stop])
    one = torch.load(tmp_path / "one" / "weights-0-of-1.pt")
    first, second = (torch.load(tmp_path / "two" / f"weights-{number}-of-2.pt") for number in range(2))
    for name, value in one.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-6)
    rows = [Log(tmp_path / name / "direct.jsonl").read() for name in ("one", "two")]
    assert len(rows[0]) == len(rows[1]) == 1
    assert [row[0].pop("stage") for row in rows] == ["direct", "direct"]
    assert rows[1][0] == pytest.approx(rows[0][0], rel=1e-4)


def test_the_command_runs_in_two_processes(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    short = ["--depth", "2", "--image-size", "32", "--device", "cpu", "--test-images", "4", "--check-images", "4"]
    short += ["--blank-steps", "6", "--image-steps", "6", "--after-steps", "4", "--image-window", "2", "--after-window", "1"]
    short += [f for stage in ("cnn", "match", "linear", "anneal", "finetune") for f in (f"--{stage}-batch", "12")]
    short += [f for stage in ("match", "linear", "anneal", "finetune") for f in (f"--{stage}-images", "12")]
    short += ["--cnn-epochs", "1", "--anneal-epochs", "1"]
    out = tmp_path / "out"
    together(2, ["-m", "cordstasks.pretrain", "--data", str(data), "--out", str(out), *short])
    assert (out / "summary.json").exists()
    assert len(load_file(out / "finetune.safetensors")) > 10
    for stage in ("cnn", "match", "linear", "anneal", "finetune"):
        assert len([row for row in Log(out / f"{stage}.jsonl").read() if "epoch" in row]) == 1


READ = """
import sys, warnings
from pathlib import Path
import torch
from cordstasks.pretraining import data
from cordstasks.pretraining.datasets import read_folder
from cordstasks.pretraining.processes import Processes
from cordstasks.pretraining.sharing import reading
from cordstasks.errors import InputError, Note

warnings.simplefilter("ignore", Note)
out, opened, read_picture = Path(sys.argv[2]), [], data.read_picture
data.read_picture = lambda path: opened.append(path.name) or read_picture(path)
together = Processes(torch.device("cpu"))
files, _ = read_folder(Path(sys.argv[1]), 9, memory=0, most_broken=0.2, crops=True)
shared, found, problems = reading(files, together), [], []
for step, pick in enumerate([[8, 0, 3, 1, 5], [2], [7, 4], [4]]):
    try:
        part = shared.read(torch.tensor(pick), seed=step)
        found.append(shared.together(part))
    except InputError as error:
        problems.append(str(error))
torch.save({"found": found, "problems": problems, "opened": opened, "broken": sorted(path.name for path in files.broken)},
           out / f"read-{together.number}-of-{together.count}.pt")
together.close()
"""


def test_each_process_reads_its_part_of_image_files(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    rng = np.random.default_rng(0)
    for label in range(2):
        (tmp_path / "images" / str(label)).mkdir(parents=True)
        for number in range(5 - label):
            pixels = rng.integers(0, 256, (12 + number, 14 + label, 3), dtype=np.uint8)
            path = tmp_path / "images" / str(label) / f"{label}{number}.png"
            Image.fromarray(pixels).save(path)
            if (label, number) == (0, 4):
                path.write_bytes(path.read_bytes()[:300])  # its header is whole, its pixels are not
    (script := tmp_path / "read.py").write_text(READ)
    arguments = [str(script), str(tmp_path / "images"), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, env=environment)
    together(2, arguments)
    one, first, second = (torch.load(tmp_path / f"read-{name}.pt") for name in ("0-of-1", "0-of-2", "1-of-2"))
    assert [labels.tolist() for _, labels in one["found"]] == [[1, 0, 0, 0, 1], [0], [1]]
    for other in (first, second):
        for ours, expected in zip(other["found"], one["found"], strict=True):
            assert all(torch.equal(own, whole) for own, whole in zip(ours, expected, strict=True))
        assert other["broken"] == one["broken"] == ["04.png"]
        assert other["problems"] == one["problems"]
        assert "04.png" in one["problems"][0] and "(1 broken of 9 so far)" in one["problems"][0]
    # 8 0 | 3 1 5, then the only one by the second process, 7 | 4; all look again at a broken one when that is an error
    assert {name for name in first["opened"] if name != "04.png"} == {"13.png", "00.png", "12.png"}
    assert {name for name in second["opened"] if name != "04.png"} == {"03.png", "01.png", "10.png", "02.png"}


def test_one_alone_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Processes(torch.device("cpu"))
    x = torch.arange(5)
    assert alone.main and all(torch.equal(method(x), x) for method in (alone.part, alone.add, alone.join))
    assert [alone.any(truth) for truth in (True, False)] == [True, False]
    alone.wait()
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(InputError, match=r"WORLD_SIZE=3: several processes need Accelerate; pip install"):
        Processes(torch.device("cpu"))


def test_parts_are_the_whole() -> None:
    x, shares = torch.arange(7), []
    for number in range(3):
        one = Processes(torch.device("cpu"))
        one.count, one.number = 3, number
        shares.append(one.part(x))
    assert torch.equal(torch.cat(shares), x)
    assert max(map(len, shares)) - min(map(len, shares)) == 1
