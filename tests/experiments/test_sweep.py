"""Sweeps: what a file asks for, a table that grows and goes on, jobs that fail, and a cluster."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from cordstasks.errors import InputError
from cordstasks.experiments import sweep_jobs as sweep_run
from cordstasks.experiments.sweep import expand, read_sweep
from cordstasks.experiments.sweep_jobs import COLUMNS, read_results, run_sweep
from cordstasks.sweep import main
from cordstasks.training.matching import number_of_parameters
from cordstasks.utils.files import read_json
from helpers import contents

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

    def test_as_many_trained_parameters(self):
        """Full networks do not depend on the units that low-rank ones keep: there is one such job for each number."""
        kinds = ["full", "lowrank", "sparse", "conv"]
        jobs = expand({"tasks": ["dms"], "connectivities": kinds, "units": [50, 100], "trained_parameters": [1500, 2500]})
        numbers: dict[str, list[int]] = {kind: [] for kind in kinds}
        for each in jobs:
            numbers[each.settings.connectivity].append(number_of_parameters(each.settings))
        assert {kind: len(found) for kind, found in numbers.items()} == {"full": 2, "lowrank": 4, "sparse": 4, "conv": 2}
        for found in numbers.values():
            wanted = [1500 if number < 2000 else 2500 for number in found]
            assert found == pytest.approx(wanted, rel=0.1)
            assert set(wanted) == {1500, 2500}
        assert {each.settings.units for each in jobs if each.settings.connectivity == "sparse"} == {50, 100}

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
            ({"tasks": ["dms"], "trained_parameters": 900}, "trained_parameters = 900: give a list"),
            ({"tasks": ["dms"], "trained_parameters": [0]}, r"trained_parameters\[0\]=0: give a whole number of at least 1"),
            ({"tasks": ["dms"], "settings": {"trained_parameters": [9]}}, r"stands below the line \[settings\]"),
            (
                {"tasks": ["dms"], "connectivities": ["lowrank"], "ranks": [1], "trained_parameters": [900]},
                "trained_parameters: chooses the rank of lowrank networks; leave the rank out",
            ),
            (
                {"tasks": ["dms"], "connectivities": ["full", "sparse"], "trained_parameters": [401]},
                r"tasks\[0\], connectivities\[1\]: trained_parameters=401: no density gives sparse networks of 100 ",
            ),
            (
                {"tasks": ["dms"], "learning_rates": [0.1, "fast"]},
                r"learning_rates\[1\]: learning_rate='fast': give a finite number above 0",
            ),
            ({"tasks": ["dms"], "units": [50, True]}, r"units\[1\]: units=True: give a whole number"),
            ({"tasks": ["dms"], "units": [50, 50.0]}, r"units\[1\]: units=50\.0: give a whole number"),
            ({"tasks": ["dms", ["dms"]]}, r"tasks\[1\]: task=.*: give a name"),
            ({"tasks": ["dms", "dms"]}, r"tasks\[1\] = 'dms': comes twice; leave one out"),
            ({"tasks": ["dms"], "gains": [1, 0.9, 1.0]}, r"gains\[2\] = 1\.0: comes twice"),
            ({"tasks": ["dms"], "seeds": [0, 1, 0]}, r"seeds=\(0, 1, 0\): give one or more different seeds"),
            ({"tasks": ["dms"], "seeds": ["0"]}, r"seeds=\('0',\): give one or more different seeds"),
            ({"tasks": ["dms"], "seeds": True}, "seeds = True: give how many"),
            ({"tasks": ["dms"], "seeds": 10**12}, "seeds = 1000000000000: are too many networks; give at most 100000"),
            (
                {"tasks": ["dms"], "settings": {"train_inputs": "false"}},
                r"\[settings\]: train_inputs='false': give true or false",
            ),
            ({"tasks": ["dms"], "settings": {"steps": 1.5}}, r"\[settings\]: steps=1\.5: give a whole number"),
            ({"tasks": ["dms"], "settings": {"dt": "20"}}, r"\[settings\]: dt='20': give a finite number above 0"),
            ({"tasks": ["dms"], "settings": {"connectivity": "ful"}}, "connectivity 'ful' is unknown; did you mean 'full'"),
            (
                {"tasks": ["dms"], "settings": {"shape": [4, 5]}},
                r"\[settings\]: shape=\(4, 5\): give channels, height and width",
            ),
            ({"tasks": ["dms"], "settings": {"excitatory": "0.8"}}, r"\[settings\]: excitatory='0\.8': give a fraction"),
            ({"tasks": ["dms"], "settings": 5}, r"settings = 5: must be a table, which begins with a line \[settings\]"),
            ({"tasks": ["dms"], "settings": [{}]}, r"settings = \[\{\}\]: must be a table"),
            (
                {"tasks": ["dms"], "settings": {"seeds": 3}},
                r"\[settings\] seeds: stands below the line \[settings\]; move it above",
            ),
            ({"settings": {"tasks": ["dms"]}}, r"\[settings\] tasks: stands below the line \[settings\]; move it above"),
            (
                {"tasks": ["dms"], "steps": 3},
                r"steps = 3: is the same for all networks; move it into the table \[settings\]",
            ),
            ({"tasks": ["dms"], "setting": {}}, r"table 'setting' is unknown; did you mean 'settings'\?"),
            (
                {"tasks": ["dms"], "parameters": {"dms": {}}},
                r"table 'parameters' is unknown; did you mean 'task_parameters'\?",
            ),
            ({"tasks": ["dms"], "ranks": [1, 2]}, "ranks: matters to lowrank networks only, and the sweep has none"),
            ({"tasks": ["dms"], "settings": {"density": 0.5}}, r"\[settings\] density: matters to sparse networks only"),
        ],
    )
    def test_mistakes(self, content: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message) as caught:
            expand(content)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"dsm": {"delay": 500}}, r"\[task_parameters\.dsm\]: task 'dsm' is unknown; did you mean 'dms'\?"),
            ({"delay": 500}, r"\[task_parameters\.delay\]: task 'delay' is unknown"),
            ({"dms": 500}, r"\[task_parameters\] dms = 500: must be a table"),
            (
                {"dms": {"delays": 500}},
                r"\[task_parameters\.dms\]: parameter of task dms 'delays' is unknown; did you mean 'delay'",
            ),
            ({"dms": {"delay": "500"}}, r"\[task_parameters\.dms\]: delay='500': give a duration"),
            ({"dms": {"delay": [500, "x"]}}, r"\[task_parameters\.dms\]: delay=\(500, 'x'\): give a duration"),
            ({"dms": {"delay": [900, 500]}}, r"\[task_parameters\.dms\]: delay=\(900, 500\): give a duration"),
            ({"dms": {"noise": True}}, r"\[task_parameters\.dms\]: noise=True: give a finite number"),
            ({"dms": {"delay": {"low": 1}}}, r"\[task_parameters\.dms\]: delay=\{'low': 1\}: give a duration"),
            ({"memory-pro": {"delay": 500}}, r"\[task_parameters\.memory-pro\]: the sweep has no task memory-pro"),
            (["dms"], r"task_parameters = \['dms'\]: must be a table"),
        ],
    )
    def test_task_parameters(self, parameters: Any, message: str):
        with pytest.raises(InputError, match=message):
            expand({"tasks": ["dms"], "task_parameters": parameters})

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (
                {"tasks": ["dms"], "connectivities": ["full", "lowrank"], "units": [300, 100], "ranks": [2, 200]},
                r"tasks\[0\], connectivities\[1\], units\[1\], ranks\[1\]: rank=200: must be from 1 to the number",
            ),
            (
                {"tasks": ["memory-pro", "perceptual-dm"], "settings": {"dt": 50}},
                r"tasks\[1\]: dt=50 ms is longer than decision can be \(20 ms\)",
            ),
            (
                {"tasks": ["dms"], "connectivities": ["full", "conv"], "units": [14]},
                r"tasks\[0\], connectivities\[1\], units\[0\]: units=14: no square maps",
            ),
            (
                {"tasks": ["dms"], "activations": ["relu", "tanh"], "settings": {"excitatory": 0.8}},
                r"activations\[1\]: activation='tanh'",
            ),
            ({"tasks": ["dms", "parametric-wm"], "settings": {"validation": 1}}, r"tasks\[1\]: validation=1: R2"),
        ],
    )
    def test_values_that_do_not_go_together_are_named_by_their_places(self, content: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            expand(content)

    def test_a_number_is_the_same_job_however_it_is_written(self):
        one, two = ({"tasks": ["dms"], "gains": [gain], "settings": {"dt": dt}} for gain, dt in ((1, 20), (1.0, 20.0)))
        assert expand(one) == expand(two)

    def test_the_command_says_it_before_anything_is_written(self, tmp_path: Path):
        (tmp_path / "typo.toml").write_text('tasks = ["dms"]\n[task_parameters.dsm]\ndelay = 500\n')
        with pytest.raises(
            InputError, match=r"typo\.toml: \[task_parameters\.dsm\]: task 'dsm' is unknown; did you mean 'dms'"
        ):
            main([str(tmp_path / "typo.toml"), "--out", str(tmp_path / "out")])
        assert not (tmp_path / "out").exists()

    def test_unreadable_files(self, tmp_path: Path):
        with pytest.raises(InputError, match=r"none\.toml: cannot be read"):
            read_sweep(tmp_path / "none.toml")
        (tmp_path / "bad.toml").write_text("tasks = [")
        with pytest.raises(InputError, match=r"bad\.toml: is not TOML"):
            read_sweep(tmp_path / "bad.toml")
        (tmp_path / "odd.toml").write_text('tasks = ["dmz"]')
        with pytest.raises(InputError, match=r"odd\.toml: tasks\[0\]: task 'dmz' is unknown"):
            main([str(tmp_path / "odd.toml")])


class TestRuns:
    def test_a_row_for_each_network_and_a_second_run_trains_nothing(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
        before = contents(tmp_path)  # with the seconds of each training
        assert run_sweep(jobs, tmp_path, jobs_at_once=1) == 0
        assert contents(tmp_path) == before
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

    def test_the_whole_traceback_of_a_failed_job_is_in_the_log(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ):
        def a_function_deep_down(*_: Any, **__: Any) -> Any:
            raise MemoryError("no room\nat all")

        monkeypatch.setattr(sweep_run, "carry_out", a_function_deep_down)
        jobs = expand(SMALL)
        assert run_sweep(jobs, tmp_path, jobs_at_once=1, figures=False) == 0
        printed = capsys.readouterr().out
        assert f"failed: 2 of 2 jobs; {jobs[0].name}: MemoryError: no room at all; whole tracebacks are in" in printed
        assert str(tmp_path / "sweep.log") in printed
        assert "Traceback" not in printed
        log = (tmp_path / "sweep.log").read_text()
        assert log.count("Traceback (most recent call last)") == 2
        assert log.count("in a_function_deep_down") == 2
        assert all(job.name in log for job in jobs)
        assert "MemoryError: no room\nat all" in log

    def test_the_median_of_an_even_number_of_scores_lies_between_them(self):
        jobs = expand({**SMALL, "connectivities": ["full"], "seeds": 4})
        rows = {jobs[0].name: [{"state": "reached", "learned": True, "score": score} for score in (0.2, 0.9, 0.4, 1.0)]}
        assert sweep_run._table(jobs, rows).splitlines()[-1].split()[-1] == "0.650"

    def test_a_process_that_is_killed_ends_the_sweep_in_one_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ):
        def killed(*_: Any) -> Any:
            yield from ()
            raise BrokenExecutor("a worker process was terminated")

        monkeypatch.setattr(sweep_run, "_results", killed)
        assert run_sweep(expand(SMALL), tmp_path, jobs_at_once=1, figures=False) == 1
        printed = capsys.readouterr()
        assert "was killed, perhaps for want of memory" in printed.err
        assert "Traceback" not in printed.err + printed.out
        assert "BrokenExecutor" in (tmp_path / "sweep.log").read_text()

    def test_the_device_is_passed_on_and_recorded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        real, used = sweep_run.carry_out, []

        def noting(settings: Any, run: Any, device: Any, **options: Any) -> Any:
            used.append(device)
            return real(settings, run, device, **options)

        monkeypatch.setattr(sweep_run, "carry_out", noting)
        (tmp_path / "small.toml").write_text(
            'tasks = ["perceptual-dm"]\nunits = [12]\nseeds = 1\n[settings]\nsteps = 2\nvalidation = 10\nheldout = 20\n'
        )
        words = [str(tmp_path / "small.toml"), "--out", str(tmp_path / "out"), "--jobs", "1", "--no-figures"]
        assert main([*words, "--device", "cpu:0"]) == 0
        assert used == [torch.device("cpu:0")]
        assert [row["device"] for row in read_results(tmp_path / "out")] == ["cpu:0"]

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
                workers = client.run(lambda: "cordstasks.training.abstract" in __import__("sys").modules)
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
            (["--device", "gpu"], "device 'gpu' is unknown"),
            (["--device", "cuda:x"], "device 'cuda:x': "),
            (["--device", ""], "device '' is unknown"),
            (["--device", "gpu", "--backend", "dask", "--scheduler", "tcp://x:1"], "device 'gpu' is unknown"),
        ],
    )
    def test_of_the_command(self, tmp_path: Path, arguments: list[str], message: str):
        (tmp_path / "small.toml").write_text('tasks = ["dms"]')
        with pytest.raises(InputError, match=message):
            main([str(tmp_path / "small.toml"), "--out", str(tmp_path / "out"), *arguments])
        assert not (tmp_path / "out").exists()

    def test_of_an_address_without_a_port(self, tmp_path: Path):
        pytest.importorskip("distributed")
        (tmp_path / "small.toml").write_text('tasks = ["dms"]')
        with pytest.raises(InputError, match=r"scheduler=nowhere: no Dask scheduler answers there \(missing port"):
            main(
                [str(tmp_path / "small.toml"), "--out", str(tmp_path / "out"), "--backend", "dask", "--scheduler", "nowhere"]
            )

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
    def test_of_a_device_that_is_not_there(self, tmp_path: Path):
        (tmp_path / "small.toml").write_text('tasks = ["dms"]')
        with pytest.raises(InputError, match="device 'cuda': this machine has no CUDA device that torch can use"):
            main([str(tmp_path / "small.toml"), "--out", str(tmp_path / "out"), "--device", "cuda"])

    def test_of_results(self, tmp_path: Path):
        with pytest.raises(InputError, match=r"results\.csv: cannot be read .* run the sweep first"):
            read_results(tmp_path)
