"""Attractors of trained networks and regimes of random ones, by function and by command, on tiny networks."""

from __future__ import annotations

import csv
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cordstasks import runs
from cordstasks.analysis import figures
from cordstasks.cordsnet import save
from cordstasks.dynamics import main
from cordstasks.errors import InputError
from cordstasks.experiments import regimes
from cordstasks.experiments.attractors import attractors_of_run, memory_of
from cordstasks.experiments.regimes import RandomNetwork, Regimes, random_network, regimes_over_gain, write_regimes
from cordstasks.rnn import RNN
from cordstasks.utils.interrupt import Interrupted
from helpers import SHORT, assert_texts_are_readable, contents, printed_by, refused, settling_cordsnet


def latch(form: str) -> RNN:
    """A network of one pattern that keeps the sign of its input, whatever the other units do."""
    network = RNN(1, 6, 1, dt=20.0, tau=100.0, activation="tanh", form=form, noise=0.0)
    pattern = torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0, 1.0])
    with torch.no_grad():
        network.get_parameter("recurrent_weights").copy_(2 * torch.outer(pattern, pattern) / 6)
        network.input_weights.copy_(pattern[:, None])
    return network


@pytest.mark.parametrize("form", ["rate", "current"])
def test_a_latch_has_two_points(form: str):
    inputs = np.zeros((5, 30, 1))
    inputs[:, 3:10, 0] = np.array([1.0, -1.0, 0.5, -0.7, 2.0])[:, None]
    ends = np.array([25, 26, 27, 28, 30])
    memory = memory_of(latch(form), inputs, ends, np.zeros(1), 2000.0, {"sign": np.sign(inputs[:, 4, 0])})
    assert memory.attractor.points.kind == "discrete"
    assert memory.attractor.points.number_of_groups == 2
    assert memory.attractor.slow_modes == 0
    assert memory.fixed is not None
    assert int(memory.fixed.is_stable.sum()) == 2
    sides = memory.memories @ latch(form).input_weights.detach().numpy()[:, 0]
    np.testing.assert_array_equal(np.sign(sides), np.sign(inputs[:, 4, 0]))
    row = memory.row()
    assert row["kind"] == "discrete"
    assert row["slowest_ms"] < 2000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "dms"
    runs.train("dms", out=out, steps=2, units=9, seeds=(3, 4), batch=4, device="cpu")
    return out


class TestRuns:
    def test_the_command(self, folder: Path, tmp_path: Path):
        said = printed_by(main, "attractors", folder, "--out", tmp_path / "found", "--probes", 30)
        with (tmp_path / "found" / "attractors.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["network"] for row in rows] == ["0", "1"]
        assert all(row["kind"] in ("point", "discrete", "line", "ring", "other") for row in rows)
        assert "nan" not in (tmp_path / "found" / "attractors.csv").read_text()
        assert {"attractor-0.png", "attractor-1.png"} <= set(contents(tmp_path / "found"))
        assert all(row["kind"] in said for row in rows)
        again = tmp_path / "again"
        printed_by(main, "attractors", folder, "--out", again, "--probes", 30)
        assert (again / "attractors.csv").read_bytes() == (tmp_path / "found" / "attractors.csv").read_bytes()

    def test_the_function(self, folder: Path):
        memories = attractors_of_run(folder, probes=20, settle=400.0, seed=2)
        assert [memory.network for memory in memories] == [0, 1]
        assert memories[0].settle == 400.0
        assert len(memories[0].attractor.states) == len(memories[0].memories) + 20
        assert set(memories[0].conditions) >= {"sample", "test"}

    def test_what_is_refused(self, folder: Path, tmp_path: Path):
        assert "there is no such folder" in refused(main, "attractors", tmp_path / "none")
        assert "period 'dealy' is unknown; did you mean 'delay'" in refused(main, "attractors", folder, "--period", "dealy")
        assert refused(main, "attractors", folder, "--settle", 5).startswith("--settle 5")
        assert refused(main, "attractors", folder, "--settle", "nan").startswith("--settle nan")
        assert "give a whole number of at least 0" in refused(main, "attractors", folder, "--probes", -1)
        (tmp_path / "empty").mkdir()
        assert "empty" in refused(main, "attractors", tmp_path / "empty")
        assert not list((tmp_path / "empty").iterdir())
        assert "ACTION" in refused(main)


def test_the_memory_of_a_visual_run(tmp_path: Path):
    save(settling_cordsnet(), tmp_path / "r2.safetensors")
    sizes = {"trials": 8, "validation": 8, "heldout": 16, "steps": 2, "evaluate_every": 2, "units": 11, "batch": 4}
    where = {"frontend": str(tmp_path / "r2.safetensors"), "readout": "pool", "bank": tmp_path / "bank", "device": "cpu"}
    made = runs.train("saccade", out=tmp_path / "run", **where, **sizes, parameters=SHORT["saccade"])
    (memory,) = attractors_of_run(made, probes=20)
    assert isinstance(made, runs.TrainedRun)
    assert memory.settle == 200.0  # the longest delay
    assert memory.memories.shape[1] == 11
    inputs = made.model.inputs(made.features(made.heldout())).take(slice(None)).numpy()
    ends = made.heldout().steps("delay")[:, 1]
    held = inputs[np.arange(len(ends)), ends - 1]
    np.testing.assert_allclose(memory.inputs, held.mean(0), atol=1e-5)
    # the states are those of the model itself, without noise
    with torch.no_grad():
        rates = made.model(torch.from_numpy(inputs))[1].numpy()
    np.testing.assert_allclose(memory.memories, rates[np.arange(len(ends)), ends - 1], atol=1e-4)


class TestFigures:
    def test_what_is_refused(self):
        states = np.random.default_rng(0).standard_normal((12, 3))
        groups, constants = np.zeros(12), np.ones((4, 2))
        with pytest.raises(InputError, match="memories of 2 units: states have 3"):
            figures.memory_states(states[:, :2], states, groups, constants, settle=1.0, title="a")
        with pytest.raises(InputError, match="give at least one of each"):
            figures.regimes([], {}, dt=2.0)

    def test_settled_activity_is_drawn_as_settled(self):
        row = {"kind": "convolutional", "gain": 0.5, "exponent": -0.5, "dimension": None, "autocorrelation_ms": None}
        figure = figures.regimes([row], {0.5: 1e-35 * np.sin(np.arange(40.0))[:, None]}, dt=2.0)
        assert figure.axes[0].get_ylim() == (-0.05, 0.05)

    def test_groups_and_fixed_points(self):
        states = np.random.default_rng(0).standard_normal((12, 3))
        stable = np.array([True, False, True, True])
        figure = figures.memory_states(
            states[:5], states, np.arange(12) % 2, np.ones((4, 2)), fixed=states[:4], stable=stable, settle=1.0, title="a"
        )
        sizes = [len(collection.get_offsets()) for collection in figure.axes[0].collections]
        assert sizes == [5, 6, 6, 3, 1]

    def test_spectra_of_areas(self, monkeypatch: pytest.MonkeyPatch):
        assert_texts_are_readable(figures.spectra_of_areas({f"area {area}": [-0.5 + 1j] for area in range(7)}), monkeypatch)
        values = {"area 0": [-0.5 + 0.5j, -0.5 - 0.5j], "area 1": [-0.9]}
        figure = figures.spectra_of_areas(values)
        drawn = [panel.collections[0].get_offsets() for panel in figure.axes]
        np.testing.assert_allclose(drawn[0], [[-0.5, 0.5], [-0.5, -0.5]])
        np.testing.assert_allclose(drawn[1], [[-0.9, 0]])
        with pytest.raises(InputError, match="spectra: give one or more"):
            figures.spectra_of_areas({"area 0": []})

    def test_early_and_late(self, monkeypatch: pytest.MonkeyPatch):
        rng = np.random.default_rng(0)
        responses = {"early (1 ms)": rng.random((2, 5)), "late (2 ms)": rng.random((2, 5))}
        spectra = dict.fromkeys(responses, np.array([[0.5 + 1j], [-1.0]]))
        given: tuple[Any, ...] = (np.arange(5), responses, spectra)
        both = {"overshoot": [[1e-7, 2e-7], [3e-7, 5e-7]], "mean |imaginary part|": [[0.186, 0.185], [0.18, 0.185]]}
        assert_texts_are_readable(figures.early_and_late(*given, both), monkeypatch)
        over_time, plane, pairs = figures.early_and_late(*given, {"overshoot": [[1, 2], [3, 5]]}).axes
        means = [line.get_ydata() for line in over_time.lines if line.get_label() in responses]
        np.testing.assert_allclose(means, [course.mean(axis=0) for course in responses.values()])
        np.testing.assert_allclose(plane.collections[1].get_offsets(), [[0.5, 1], [-1, 0]])
        np.testing.assert_allclose([line.get_ydata() for line in pairs.lines], [[1, 3], [2, 5], [1.5, 4]])
        with pytest.raises(InputError, match="give for each measure as many"):
            figures.early_and_late(*given, {"overshoot": [[1, 2], [3]]})
        with pytest.raises(InputError, match="give the same two of both"):
            figures.early_and_late(np.arange(5), responses, {"early (1 ms)": [1.0]}, {})
        with pytest.raises(InputError, match="differ in their times"):
            figures.early_and_late(np.arange(4), responses, spectra, {})

    def test_eigenvalues(self):
        values = np.array([0.5 + 0.5j, 0.5 - 0.5j, -0.9])
        figure = figures.spectrum(values, title="area", theory=np.ones(5))
        drawn = figure.axes[0].collections[1].get_offsets()
        np.testing.assert_allclose(drawn, np.stack([values.real, values.imag], 1))


class TestRegimes:
    def test_theory_below_one_and_chaos_above(self):
        settings = Regimes(gains=(0.5, 3.0), channels=3, side=4, seeds=1, steps=400, transient=300)
        rows, examples = regimes_over_gain(settings)
        assert [(row["kind"], row["gain"]) for row in rows] == [
            ("convolutional", 0.5),
            ("convolutional", 3.0),
            ("fully connected", 0.5),
            ("fully connected", 3.0),
        ]
        for row in rows:
            if row["gain"] == 0.5:
                assert -0.8 < row["exponent"] < -0.3
                assert row["dimension"] is None
                assert row["deviation"] < 1e-6
        assert set(examples) == {0.5, 3.0}
        assert examples[3.0].shape == (400, 8)
        assert np.ptp(examples[3.0]) > 0.1

    @pytest.mark.parametrize("kind", ["convolutional", "fully connected"])
    def test_variance_and_derivative(self, kind: str):
        settings = Regimes(channels=4, side=5)
        network = random_network(kind, 1.5, settings, np.random.default_rng(0))
        weights = network.recurrence(np.eye(100))
        if kind == "convolutional":
            inputs = (weights != 0).sum(0)
            assert inputs.max() == 36
            assert weights[weights != 0].var() == pytest.approx(1.5**2 / 36, rel=0.1)
        else:
            assert weights.var() == pytest.approx(1.5**2 / 100, rel=0.1)
        rng = np.random.default_rng(1)
        x, v = rng.standard_normal((2, 3, 100))
        difference = (network.step(x + 1e-6 * v) - network.step(x - 1e-6 * v)) / 2e-6
        np.testing.assert_allclose(network.jvp(x, v), difference, atol=1e-7)
        assert isinstance(network, RandomNetwork)

    def test_the_command(self, tmp_path: Path):
        words: tuple[Any, ...] = ("--channels", 2, "--side", 3, "--seeds", 1, "--steps", 100, "--transient", 10)
        said = printed_by(main, "regimes", "--gains", 0.5, 2, *words, "--out", tmp_path / "regimes")
        assert "18 units" in said
        assert set(contents(tmp_path / "regimes")) == {"config.json", "networks.jsonl", "regimes.csv", "regimes.png"}

    def test_stopped_and_continued(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        settings = Regimes(gains=(0.5, 2.0), channels=2, side=3, seeds=2, steps=100, transient=10)
        whole = write_regimes(settings, tmp_path / "whole")
        made: list[float] = []

        def stopping(kind: str, gain: float, *more: Any) -> RandomNetwork:
            made.append(gain)
            if len(made) == 4:
                raise KeyboardInterrupt
            return random_network(kind, gain, *more)

        monkeypatch.setattr(regimes, "random_network", stopping)
        with pytest.raises(Interrupted, match="the same command"):
            write_regimes(settings, tmp_path / "again")
        assert write_regimes(settings, tmp_path / "again") == whole
        assert len(made) == 4 + 5  # those before the stop are not made again
        for name in ("regimes.csv", "regimes.png"):
            assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        write_regimes(settings, tmp_path / "again")
        assert len(made) == 9
        with pytest.raises(InputError, match=r"steps=200: the run in .* has 100; give the same, or use another folder"):
            write_regimes(Regimes(gains=(0.5, 2.0), channels=2, side=3, steps=200, transient=10), tmp_path / "again")

    def test_larger_convolutional_networks_have_no_matrix(self):
        settings = Regimes(channels=32, side=16, kinds=("convolutional",))
        network = random_network("convolutional", 1.2, settings, np.random.default_rng(0))
        tracemalloc.start()
        network.step(np.ones((1, 8192)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20e6  # the matrix would take 537 MB
        with pytest.raises(InputError, match=r"channels=32, side=32: .* 32768 units take 8.6 GB; add kinds=conv"):
            Regimes(channels=32, side=32)
        assert Regimes(channels=32, side=32, kinds=("convolutional",)).units == 32768

    def test_what_is_refused(self, tmp_path: Path):
        assert refused(main, "regimes", "--gains", -1, "--out", tmp_path / "a").startswith("--gains")
        assert refused(main, "regimes", "--steps", 9, "--out", tmp_path / "a").startswith("--steps 9")
        assert not (tmp_path / "a").exists()
        with pytest.raises(InputError, match=r"gains=\(1.0, 1.0\): give different numbers"):
            Regimes(gains=(1.0, 1.0))
        with pytest.raises(InputError, match=r"kinds=\('convolution',\): give one or both of 'convolutional'"):
            Regimes(kinds=("convolution",))
        with pytest.raises(InputError, match="dt=11: give an Euler step above 0 and at most 10"):
            Regimes(dt=11)
        assert refused(main, "regimes", "--kinds", "dense", "--out", tmp_path / "a").startswith("--kinds")
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "config.json").write_text('{"family": "visual"}')
        said = refused(main, "regimes", "--out", tmp_path / "b")
        assert said.startswith(f"--out {tmp_path / 'b'}: holds another run")
