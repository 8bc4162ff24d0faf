"""Comparing the networks of a sweep over its hyperparameters: ``python -m cordstasks.compare --sweep``."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from cordstasks import analysis, compare
from cordstasks.errors import InputError
from cordstasks.experiments.architectures import compare_architectures, table, units_of
from cordstasks.experiments.groups import AbstractGroup, common_trials
from cordstasks.experiments.sweep import expand
from cordstasks.experiments.sweep_jobs import run_sweep
from cordstasks.training.matching import number_of_parameters
from helpers import output_of

# a task that all networks learn at once, since any score will do
SWEEP = {
    "tasks": ["perceptual-dm"],
    "connectivities": ["full", "lowrank", "sparse", "conv"],
    "activations": ["relu", "tanh"],
    "units": [9, 18],
    "seeds": 2,
    "settings": {"steps": 2, "evaluate_every": 1, "validation": 8, "heldout": 8, "batch": 4, "goal": -1.0},
}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of 32 tiny networks, all of which count as having learned."""
    folder = tmp_path_factory.mktemp("sweep")
    assert run_sweep(expand(SWEEP), folder, jobs_at_once=1, figures=False, progress=False) == 0
    return learned(folder)


def learned(folder: Path) -> Path:
    """A sweep of which all networks count as having learned."""
    for path in folder.glob("*/summary.json"):
        summary = json.loads(path.read_text())
        for row in summary["networks"]:
            row["learned"] = True
        path.write_text(json.dumps(summary))
    return folder


def run_other(folder: Path, connectivities: list[str]) -> Path:
    """A finished sweep of two networks of each connectivity on another task."""
    content = {**SWEEP, "tasks": ["dms"], "connectivities": connectivities, "activations": ["relu"], "units": [9]}
    assert run_sweep(expand(content), folder, jobs_at_once=1, figures=False, progress=False) == 0
    return learned(folder)


class TestCompareArchitectures:
    def test_networks_of_equal_settings_are_compared(self, sweep: Path, tmp_path: Path):
        summary = compare_architectures([sweep], tmp_path / "out", conditions=6, alphas=(1.0,))
        result = summary["tasks"]["perceptual-dm"]
        assert result["trained"] == {name: (8, 8) for name in ("full", "low-rank", "sparse", "convolutional")}
        assert set(result["closer_to_full"]) == {"alpha 1", "CKA"}
        for rows in result["closer_to_full"].values():
            assert [row["other"] for row in rows] == ["low-rank", "sparse"]
            for row in rows:
                assert row["interval"][0] <= row["difference"] <= row["interval"][1]
        assert (tmp_path / "out" / "differences.png").stat().st_size > 5000
        assert json.loads((tmp_path / "out" / "summary.json").read_text())["matched"][-1] == "units"
        assert summary["closer_to_full"] == result["closer_to_full"]  # there is one task

    def test_networks_of_as_many_parameters_are_compared(self, tmp_path: Path):
        """Full networks of fewer units match convolutional ones of more; those of another number are kept apart."""
        content = {**SWEEP, "activations": ["relu"], "units": [18], "trained_parameters": [150, 250]}
        jobs = expand(content)
        assert run_sweep(jobs, tmp_path, jobs_at_once=1, figures=False, progress=False) == 0
        learned(tmp_path)
        summary = compare_architectures([tmp_path], tmp_path / "out", conditions=6, alphas=(1.0,), match="parameters")
        assert summary["jobs"] == [job.name for job in jobs]
        result = summary["tasks"]["perceptual-dm"]
        for numbers in result["parameters"].values():
            assert numbers == pytest.approx([150, 250], rel=0.1)
        group, inputs = {}, common_trials(jobs[0].settings.abstract_task(), 6, dt=20.0)
        for job in jobs:
            kind, many = job.settings.connectivity, number_of_parameters(job.settings) > 200
            group[kind, many] = [each.rates for each in AbstractGroup(job.settings, tmp_path / job.name).trained(inputs)]
        apart = [
            np.arccos(analysis.linear_cka(*(rates.reshape(-1, rates.shape[2]) for rates in pair)))
            for many in (False, True)
            for pair in product(group["full", many], group["conv", many])
        ]
        assert result["closer_to_full"]["CKA"][0]["candidate_distance"] == pytest.approx(np.mean(apart))
        with pytest.raises(InputError, match=r"^no full network matches one of convolutional"):
            compare_architectures([tmp_path], tmp_path / "out", conditions=6, alphas=(1.0,))

    def test_all_tasks_together(self, sweep: Path, tmp_path: Path):
        """Distances over all tasks are the mean over pairs within tasks, and a task that fails is named."""
        other = run_other(tmp_path / "other", ["full", "conv", "sparse"])
        summary = compare_architectures([sweep, other], tmp_path / "out", conditions=4, alphas=(1.0,))
        rows = {
            task: next(row for row in result["closer_to_full"]["CKA"] if row["other"] == "sparse")
            for task, result in summary["tasks"].items()
        }
        pairs = {"perceptual-dm": 16, "dms": 4}
        expected = sum(pairs[task] * row["difference"] for task, row in rows.items()) / 20
        overall = next(row for row in summary["closer_to_full"]["CKA"] if row["other"] == "sparse")
        assert overall["difference"] == pytest.approx(expected)
        assert table(summary).count("all tasks        ") == 4
        lacking = run_other(tmp_path / "lacking", ["conv"])
        summary = compare_architectures([sweep, lacking], tmp_path / "out", conditions=4, alphas=(1.0,))
        assert summary["tasks"]["dms"]["problem"].startswith("task dms: no full network learned it")
        assert "dms: not compared: task dms: no full network" in table(summary)

    def test_the_command_prints_all_answers(self, sweep: Path, tmp_path: Path):
        code, out, err = output_of(
            compare.main, "--sweep", str(sweep), "--conditions", "6", "--out", str(tmp_path / "found")
        )
        assert code == 0, err
        for measure in ("alpha 1", "alpha 0.5", "alpha 0", "CKA"):
            assert len(re.findall(rf"^perceptual-dm +{measure} +than (low-rank|sparse) ", out, re.MULTILINE)) == 2
        assert "full 8 of 8 (" in out

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--sweep", "nowhere"], "nowhere/results.csv: cannot be read"),
            (["--sweep", "SWEEP", "--units", "50"], "--units: has no effect on the networks of --sweep"),
            (["--sweep", "SWEEP", "--tasks", "dms"], "--tasks dms: the sweep has no such task; choose from perceptual-dm"),
            (["--sweep", "SWEEP", "--conditions", "2"], "--conditions 2: must be at least 4"),
            (["--match", "units"], "--match units: matters to sweeps only"),
            (["--sweep", "SWEEP", "--match", "unit"], "match 'unit' is unknown; did you mean 'units'?"),
        ],
    )
    def test_bad_input(self, words: list[str], message: str, sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.chdir(tmp_path)
        words = [str(sweep) if word == "SWEEP" else word for word in words]
        code, _, err = output_of(compare.main, *words)
        assert code == 2
        assert message in err

    def test_kinds_that_the_question_needs(self, tmp_path: Path):
        content = {**SWEEP, "connectivities": ["full"], "activations": ["relu"], "units": [9]}
        run_sweep(expand(content), tmp_path, jobs_at_once=1, figures=False, progress=False)
        with pytest.raises(InputError, match=r"task perceptual-dm: no (full|convolutional) network learned it"):
            compare_architectures([tmp_path], tmp_path / "out", conditions=6)


class TestKernelAlignmentDistances:
    def test_the_angle_of_linear_cka(self):
        rng = np.random.default_rng(0)
        arrays = [rng.standard_normal((30, units)) for units in (3, 5, 4)]
        found = analysis.kernel_alignment_distances(arrays)
        for i in range(3):
            for j in range(3):
                expected = 0.0 if i == j else np.arccos(analysis.linear_cka(arrays[i], arrays[j]))
                assert found[i, j] == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ([np.eye(3)], "activities holds 1 networks; give at least 2"),
            ([np.eye(3), np.eye(4)], r"activities\[1\] has 4 samples and activities\[0\] 3"),
            ([np.eye(3), np.ones((3, 2))], r"activities\[1\] does not vary"),
            ([np.eye(3), np.ones(3)], r"activities\[1\] has shape \(3,\)"),
        ],
    )
    def test_bad_input(self, arrays: list[np.ndarray], message: str):
        with pytest.raises(InputError, match=message):
            analysis.kernel_alignment_distances(arrays)


def test_the_figure_needs_answers():
    with pytest.raises(InputError, match="panels holds no answers"):
        analysis.figures.closer_to_reference({"alpha 1": {"dms": []}})


def test_each_panel_has_the_unit_of_its_distance():
    answers = {"dms": [{"other": "sparse", "difference": 0.1, "interval": (0.0, 0.2)}]}
    panels = {"alpha 1": answers, "CKA": answers, "DSA": answers}
    figure = analysis.figures.closer_to_reference(panels, units=units_of(panels))
    assert [axis.get_xlabel() for axis in figure.axes] == ["rad", "rad", ""]
    assert "rad" not in figure.get_supxlabel()
