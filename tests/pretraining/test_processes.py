"""Several processes that train together: the gradient of one with the whole batch, and one set of files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
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

out, stop = Path(sys.argv[1]), "stop" in sys.argv
together = Processes(torch.device("cpu"))
torch.manual_seed(0)
images = torch.randint(0, 256, (12, 32, 32, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
data = ImageSet(images, torch.arange(12) % 3, ("a", "b", "c"))
network = CordsNet(2, classes=3, in_channels=1, image_size=32)
settings = PretrainSettings(blank_steps=6, image_steps=6, after_steps=4, image_window=2, after_window=1,
                            gradients="truncated", spontaneous_images=None)
shown = Presentation(32, (0.5,), (0.5,), classes=3, device=torch.device("cpu"), augmentation=Augmentation())
training = Training(
    stage="direct", state=network.state_dict(),
    optimiser=torch.optim.SGD([{"params": list(network.parameters()), "peak": 0.5}], lr=0.5),
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


@pytest.mark.parametrize("stop", [False, True])
def test_two_with_half_the_batch_each_have_one_s_gradient(stop: bool, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    subprocess.run(
        [sys.executable, str(script), str(tmp_path / "one")],
        cwd=ROOT,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    together(2, [str(script), str(tmp_path / "two"), *["stop"] * stop])
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


def test_one_alone_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Processes(torch.device("cpu"))
    x = torch.arange(5)
    assert alone.main and torch.equal(alone.part(x), x) and torch.equal(alone.add(x), x)
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
