"""Sweeps: what a file asks for, a table that grows and goes on, jobs that fail, and a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cordstasks.abstract import sweep_run
from cordstasks.abstract.sweep_run import COLUMNS, read_results, run_sweep
from cordstasks.abstract.sweeping import expand, read_sweep
from cordstasks.errors import InputError
from cordstasks.files import read_json
from cordstasks.sweep import main

FILE = """
tasks = ["perceptual-dm", "dms"]
connectivities = ["full", "lowrank", "sparse"]
activations = ["relu", "tanh"]
ranks = [1, 2]
learning_rates = [0.001, 0.01]
units = [16]
seeds = 3

[settings]
steps = 2
batch = 4
validation = 10
heldout = 20

[task_parameters.dms]
delay = [60, 1100]
"""
SMALL: dict[str, Any] = {
    "tasks": ["perceptual-dm"],
    "connectivities": ["full", "lowrank"],
    "units": [12],
    "seeds": [4, 1],
    "settings": {"steps": 2, "batch": 4, "validation": 10, "heldout": 20},
}


class TestFiles:
    def test_every_combination_once(self, tmp_path: Path):
        (tmp_path / "sweep.toml").write_text(FILE)
        jobs = read_sweep(tmp_path / "sweep.toml")
        # a rank matters to low-rank networks only: (full + 2 low-rank + sparse) x tasks x activations x rates
        assert len(jobs) == 4 * 2 * 2 * 2
        assert len({job.name for job in jobs}) == len(jobs)
        assert {job.settings.seeds for job in jobs} == {(0, 1, 2)}
        assert {job.settings.rank for job in jobs if job.settings.connectivity == "lowrank"} == {1, 2}
        assert {(job.settings.steps, job.settings.batch) for job in jobs} == {(2, 4)}
        delays = {job.settings.abstract_task().delay for job in jobs if job.settings.task == "dms"}
        assert delays == {(60, 1100)}
        assert read_sweep(tmp_path / "sweep.toml") == jobs

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"connectivities": ["full"]}, "tasks is missing"),
            ({"tasks": "dms"}, "tasks = 'dms': give a list of at least one value"),
            ({"tasks": []}, r"tasks = \[\]: give a list"),
            ({"tasks": ["dmz"]}, r"task 'dmz' is unknown; did you mean 'dms'\?"),
            ({"tasks": ["dms"], "activation": ["relu"]}, "setting 'activation' is unknown; did you mean 'activations'"),
            (
                {"tasks": ["dms"], "settings": {"step": 3}},
                r"setting in \[settings\] 'step' is unknown; did you mean 'steps'",
            ),
            ({"tasks": ["dms"], "connectivities": ["lowrank"], "ranks": [200]}, "rank=200: must be from 1 to"),
            ({"tasks": ["dms"], "units": [50], "settings": {"units": 60}}, "units stands both in a list and in"),
            ({"tasks": ["dms"], "seeds": 0}, "seeds = 0: give how many, or a list"),
            ({"tasks": ["dms"], "learning_rates": ["fast"]}, "learning_rate='fast': must be a finite number above 0"),
        ],
    )
    def test_mistakes(self, content: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            expand(content)

    def test_unreadable_files(self, tmp_path: Path):
        with pytest.raises(InputError, match=r"none\.toml: cannot be read"):
            read_sweep(tmp_path / "none.toml")
        (tmp_path / "bad.toml").write_text("tasks = [")
        with pytest.raises(InputError, match=r"bad\.toml: is not TOML"):
            read_sweep(tmp_path / "bad.toml")
        (tmp_path / "odd.toml").write_text('tasks = ["dmz"]')
        with pytest.raises(InputError, match=r"odd\.toml: task 'dmz' is unknown"):
            main([str(tmp_path / "odd.toml")])


class TestRuns:
    def test_a_row_for_each_network_and_a_second_run_trains_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ):
        jobs = expand(SMALL)
        assert run_sweep(jobs, tmp_path, jobs_at_once=1, figures=False) == 0
        rows = read_results(tmp_path)
        assert list(rows[0]) == list(COLUMNS)
        assert [(row["connectivity"], row["seed"]) for row in rows] == [
            ("full", 4), ("full", 1), ("lowrank", 4), ("lowrank", 1),
        ]  # fmt: skip
        for job in jobs:
            summary = read_json(tmp_path / job.name / "summary.json")
            mine = [row for row in rows if row["job"] == job.name]
            assert [row["score"] for row in mine] == [network["score"] for network in summary["networks"]]
            assert {row["parameters"] for row in mine} == {summary["parameters"]}
        assert [row["rank"] for row in rows] == [None, None, 2, 2]
        printed = capsys.readouterr().out
        assert "2 jobs of 4 networks, 0 finished before" in printed
        before = (tmp_path / "results.csv").read_text()
        monkeypatch.setattr(sweep_run, "_work", lambda *_: pytest.fail("trained again"))
        assert run_sweep(jobs, tmp_path, jobs_at_once=1) == 0
        assert (tmp_path / "results.csv").read_text() == before
        assert "2 finished before" in capsys.readouterr().out

    def test_it_goes_on_where_it_was_stopped(self, tmp_path: Path):
        jobs = expand(SMALL)
        run_sweep(jobs, tmp_path / "whole", jobs_at_once=1, figures=False)
        run_sweep(jobs[1:], tmp_path / "cut", jobs_at_once=1, figures=False)
        assert {row["connectivity"] for row in read_results(tmp_path / "cut")} == {"lowrank"}
        run_sweep(jobs, tmp_path / "cut", jobs_at_once=1, figures=False)
        whole, cut = ([{**row, "seconds": 0} for row in read_results(tmp_path / name)] for name in ("whole", "cut"))
        assert whole == cut

    def test_a_job_that_fails_is_told_and_the_others_go_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        real = sweep_run.carry_out

        def failing(settings: Any, *args: Any, **kwargs: Any) -> Any:
            if settings.connectivity == "full":
                raise MemoryError("no room\nat all")
            return real(settings, *args, **kwargs)

        monkeypatch.setattr(sweep_run, "carry_out", failing)
        assert run_sweep(expand(SMALL), tmp_path, jobs_at_once=1, figures=False) == 0
        rows = read_results(tmp_path)
        assert [row["state"] for row in rows[:2]] == ["failed", "failed"]
        assert rows[0]["problem"] == "MemoryError: no room at all"
        assert all(row["state"] != "failed" for row in rows[2:])
        monkeypatch.setattr(sweep_run, "carry_out", real)
        run_sweep(expand(SMALL), tmp_path, jobs_at_once=1, figures=False)  # what failed is tried again
        assert all(row["state"] != "failed" for row in read_results(tmp_path))

    @pytest.mark.parametrize("content", ["", "[]", '{"networks": 3}'])
    def test_a_damaged_summary_is_made_again_and_costs_the_others_nothing(
        self, tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
    ):
        jobs = expand(SMALL)
        run_sweep(jobs, tmp_path, jobs_at_once=1, figures=False)
        before = (tmp_path / "results.csv").read_text()
        (tmp_path / jobs[0].name / "summary.json").write_text(content)
        capsys.readouterr()
        assert run_sweep(jobs, tmp_path, jobs_at_once=1, figures=False) == 0
        out = capsys.readouterr().out
        assert "1 finished before" in out
        assert out.count(f"note: {tmp_path}/{jobs[0].name}/summary.json: ") == 1
        assert (tmp_path / "results.csv").read_text() == before

    def test_in_processes(self, tmp_path: Path):
        (tmp_path / "small.toml").write_text(
            'tasks = ["perceptual-dm"]\nconnectivities = ["full", "lowrank"]\nunits = [12]\nseeds = [4, 1]\n'
            "[settings]\nsteps = 2\nbatch = 4\nvalidation = 10\nheldout = 20\n"
        )
        assert main([str(tmp_path / "small.toml"), "--out", str(tmp_path / "out"), "--jobs", "2", "--no-figures"]) == 0
        run_sweep(expand(SMALL), tmp_path / "here", jobs_at_once=1, figures=False)
        there, here = ([{**r, "seconds": 0} for r in read_results(tmp_path / name)] for name in ("out", "here"))
        assert there == here

    @pytest.mark.filterwarnings("ignore")  # of a third party's, while its processes start and stop
    def test_on_a_dask_cluster(self, tmp_path: Path):
        distributed = pytest.importorskip("distributed", reason="Dask comes with the extra `cluster`")
        with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
            jobs = expand(SMALL)
            address = cluster.scheduler_address
            assert run_sweep(jobs, tmp_path, backend="dask", scheduler=address, figures=False) == 0
            with distributed.Client(address) as client:
                workers = client.run(lambda: "cordstasks.abstract.training" in __import__("sys").modules)
        assert len(workers) == 2
        assert any(workers.values())  # the work was done there
        assert all(row["state"] != "failed" for row in read_results(tmp_path))
        assert len(read_results(tmp_path)) == 4


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--backend", "desk"], r"backend 'desk' is unknown; did you mean 'dask'\?"),
            (["--jobs", "0"], "--jobs 0: give a number of at least 1, or -1"),
            (["--scheduler", "tcp://x:1"], "--scheduler tcp://x:1: goes with --backend dask"),
        ],
    )
    def test_of_the_command(self, tmp_path: Path, arguments: list[str], message: str):
        (tmp_path / "small.toml").write_text('tasks = ["dms"]')
        with pytest.raises(InputError, match=message):
            main([str(tmp_path / "small.toml"), "--out", str(tmp_path / "out"), *arguments])

    def test_of_results(self, tmp_path: Path):
        with pytest.raises(InputError, match=r"results\.csv: cannot be read .* run the sweep first"):
            read_results(tmp_path)
