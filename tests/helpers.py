"""What several test files need: commands run in this process, small networks and runs, interruptions, equal runs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cordstasks.utils.command_line import run_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    from cordstasks.cordsnet import CordsNet
    from cordstasks.rnn import RNN
    from cordstasks.rnn.connectivity import Connectivity
    from cordstasks.tasks.environments.base import TaskEnv

ROOT = Path(__file__).resolve().parents[1]
FIGURES = {  # of the report of each visual task, where there are trials enough
    "rdm": {"psychometric.png", "learning.png", "tuning.png", "movies.png"},
    "numerosity": {"performance.png", "controls.png", "tuning.png", "learning.png", "movies.png"},
    "catdog": {"performance.png", "boundary.png", "learning.png", "movies.png"},
    "saccade": {"performance.png", "confusion.png", "tuning.png", "learning.png", "movies.png"},
}
# periods that make trials as short as their tasks allow
SHORT: dict[str, dict[str, Any]] = {
    "rdm": {"fixation": 60, "motion": 120, "choice": 40},
    "numerosity": {"fixation": 60, "sample_time": 100, "delay": 60, "test": 60, "second_test": 60, "pictures": 3},
    "catdog": {
        "fixation": 60,
        "sample_time": 140,
        "delay": 60,
        "test": 60,
        "second_delay": 40,
        "second_test": 60,
        "pictures": 1,
    },
    "saccade": {"fixation": 60, "cue": 60, "response": 60, "delays": (100, 200), "training_delays": (60, 100)},
}

FIXATE = 0
# neurogym.Dataset calls `seed`, which Gymnasium's checker reports as a method of the past
SEED_METHOD = pytest.mark.filterwarnings("ignore:.*Official support for the `seed` function is dropped:UserWarning")


def output_of(main: Callable[[list[str]], int], *words: object) -> tuple[int, str, str]:
    """Exit status, output and errors of a command, run in this process as the command line runs it."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        run_command(lambda: main([str(word) for word in words]))
    assert isinstance(ended.value.code, int)
    return ended.value.code, out.getvalue(), err.getvalue()


def printed_by(main: Callable[[list[str]], int], *words: object) -> str:
    """What a command prints that must succeed."""
    code, out, err = output_of(main, *words)
    assert code == 0, err
    return out


def refused(main: Callable[[list[str]], int], *words: object, begun: bool = False) -> str:
    """The one line, without ``error:``, with which a command refuses its arguments or what it finds.

    Where work has `begun` before, other output may stand before the line, but no traceback.
    """
    code, out, err = output_of(main, *words)
    assert code == 2, err
    assert "Traceback" not in err
    assert err.endswith("\n")
    lines = [line.rpartition("\r")[2] for line in err.splitlines()]
    if not begun:
        assert out == ""
        assert len(lines) == 1, err
    assert sum(line.startswith("error: ") for line in lines) == 1, err
    assert lines[-1].startswith("error: "), err
    return lines[-1].removeprefix("error: ")


def flags(**values: object) -> list[str]:
    """Flags of a command; a mapping `parameters` becomes one ``--set`` for each of its items."""
    words = []
    for name, value in values.items():
        if name == "parameters":
            assert isinstance(value, dict)
            for each, content in value.items():
                words += ["--set", f"{each}={json.dumps(content)}"]
        else:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


SMALL_SIZES = {"trials": 24, "validation": 12, "heldout": 30, "steps": 120, "units": 16, "batch": 8}
SMALL_SEED = 3


def small_run(place: Path, *more: str, task: bool = True) -> list[str]:
    """The command line of a small run of random dots, on the network in `place`, and `more`."""
    periods = {name: value for name, value in SHORT["rdm"].items() if not any(word.startswith(f"{name}=") for word in more)}
    sizes = flags(**SMALL_SIZES, parameters=periods)
    bank = [] if "--no-bank" in more else ["--bank", str(place / "bank")]
    where = ["--frontend", str(place / "r2.safetensors"), *bank, "--readout", "pool"]
    begin = ["--task", "rdm"] if task else []
    return [*begin, *where, *sizes, "--seed", str(SMALL_SEED), "--device", "cpu", *more]


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """While open, `folder` is the working directory."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def ctrl_c(step: int, times: int = 1) -> Iterator[None]:
    """While open, Ctrl-C comes, so many times, as an optimiser takes its step number `step`, from 0."""
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    steps = count()

    def hook(*_: Any) -> None:
        if next(steps) == step:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    handle = register_optimizer_step_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def tiny_cordsnet(seed: int = 0, depth: int = 2, **options: Any) -> CordsNet:
    """A CordsNet of few areas and small images, with the random weights that it begins with."""
    import torch

    from cordstasks.cordsnet import CordsNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CordsNet(depth, **{"classes": 3, "image_size": 32, **options})


def settling_cordsnet(recurrence: float = 0.4, **options: Any) -> CordsNet:
    """A small CordsNet whose `recurrence` is weak, so that its activity settles soon; the same numbers each time."""
    import torch

    from cordstasks.cordsnet.network import set_weight

    generator = torch.Generator().manual_seed(3)
    network = tiny_cordsnet(**options)
    with torch.no_grad():
        for name, part in network.named_modules():
            if hasattr(part, "parametrizations"):
                spread = (recurrence if "area_conv" in name else 1.0) / part.weight[0].numel() ** 0.5
                set_weight(part, spread * torch.randn(part.weight.shape, generator=generator))
        for bias in network.conv_bias:
            bias.copy_(0.3 * torch.rand(bias.shape, generator=generator))
        network.out_fc.bias.zero_()
    return network.eval()


def read(folder: Path, name: str = "summary.json") -> dict[str, Any]:
    """What a JSON file of a run holds."""
    content: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return content


def change(folder: Path, name: str = "config.json", **values: Any) -> None:
    """Change what a JSON file of a run holds."""
    (folder / name).write_text(json.dumps({**read(folder, name), **values}), encoding="utf-8")


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Every tensor and number in a checkpoint, by its place; leaves out the seconds, which differ from run to run."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() if key != "seconds" for k, v in flat(item, f"{name}/{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for place, item in enumerate(value) for k, v in flat(item, f"{name}/{place}").items()}
    return {name: value}


def assert_same_state(one: Any, other: Any) -> None:
    """Everything in two checkpoints is the same, bit for bit."""
    import torch

    first, second = flat(one), flat(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        same = torch.equal(value, second[name]) if isinstance(value, torch.Tensor) else value == second[name]
        assert same, name


def assert_same_run(one: Path, other: Path, files: Sequence[str] = ("best.pt", "checkpoint.pt")) -> None:
    """Weights, optimiser, generator and log of two runs are the same, bit for bit."""
    import torch

    for file in files:
        states = [torch.load(path / file, weights_only=True) for path in (one, other)]
        assert sum(isinstance(value, torch.Tensor) for value in flat(states[0]).values()) >= 5
        assert_same_state(*states)
    assert (one / "metrics.jsonl").read_text() == (other / "metrics.jsonl").read_text()


def environment_of(name: str, **parameters: Any) -> Any:
    """An environment as Gymnasium makes it; no wrapper hides `new_trial`, `ob` and `gt`."""
    import gymnasium

    from cordstasks.tasks.environments.base import TaskEnv

    environment = gymnasium.make(name, **parameters)
    assert isinstance(environment, TaskEnv)
    return environment


def fixate(environment: TaskEnv[Any], steps: int) -> None:
    """Let an agent fixate for so many steps."""
    for _ in range(steps):
        environment.step(FIXATE)


def _drawn_texts(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Text, Any]]:
    """Each text that is drawn, with its box; Matplotlib also holds tick labels that it leaves out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    texts = []
    draw = Text.draw

    def record(self: Text, renderer: Any, *arguments: Any, **options: Any) -> None:
        if self.get_visible() and self.get_text().strip():
            texts.append((self, self.get_window_extent(renderer)))
        draw(self, renderer, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", record)
        FigureCanvasAgg(figure).draw()
    return texts


def assert_texts_are_readable(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> None:
    """All texts of a figure are large, apart and inside."""
    texts = _drawn_texts(figure, monkeypatch)
    assert len(texts) > 5
    for text, box in texts:
        assert text.get_fontsize() >= 9
        assert box.x0 >= -1, text
        assert box.y0 >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert box.y1 <= figure.bbox.y1 + 1, text
    for (one, a), (other, b) in combinations(texts, 2):
        if one.get_rotation() % 90 or other.get_rotation() % 90:
            continue  # the boxes of slanted texts overlap where the texts do not
        apart = a.x1 <= b.x0 + 1 or b.x1 <= a.x0 + 1 or a.y1 <= b.y0 + 1 or b.y1 <= a.y0 + 1
        assert apart, f"{one.get_text()!r} lies over {other.get_text()!r}"


def random_rnns(kind: Connectivity, number: int, *, inputs: int, units: int, outputs: int, **options: Any) -> list[RNN]:
    """Networks of different weights, whose biases and initial states are random, too."""
    import torch

    from cordstasks.rnn import RNN

    made = []
    for seed in range(number):
        generator = torch.Generator().manual_seed(seed)
        network = RNN(inputs, units, outputs, connectivity=kind, generator=generator, **options)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if "bias" in name or name == "initial_state":
                    parameter.copy_(torch.randn(parameter.shape, generator=generator))
        made.append(network)
    return made
