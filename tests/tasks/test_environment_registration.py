"""Registration of the environments: what is loaded for it, and where Gymnasium finds them."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import gymnasium
import pytest

from cordstasks.tasks import abstract_names, names, register
from cordstasks.tasks.environments.registration import environments
from helpers import ROOT, environment_of

register()

ENTRY = "cordstasks.tasks.environments.registration:register"
ENVIRONMENTS = {**environments(abstract=False), **environments(abstract=True)}
EVERY = pytest.mark.parametrize("name", ENVIRONMENTS)


def python(code: str, *path: Path) -> str:
    """What a fresh interpreter, in which warnings are errors, prints."""
    places = os.pathsep.join(map(str, [*path, ROOT]))
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": places},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


class TestRegistration:
    def test_importing_the_package_and_registering_load_neither_torch_nor_neurogym(self):
        modules = "cordstasks, cordstasks.stimuli, cordstasks.tasks, cordstasks.tasks.environments.registration"
        heavy = "print([name for name in ('torch', 'neurogym') if name in sys.modules])"
        assert python(f"import sys, {modules}; {heavy}") == "[]"
        sampled = "cordstasks.tasks.register(); cordstasks.tasks.get('dms').sample(3, seed=0)"
        assert python(f"import sys, cordstasks.tasks; {sampled}; {heavy}") == "[]"

    def test_registering_again_changes_nothing(self):
        before = {name: gymnasium.spec(name) for name in ENVIRONMENTS}
        register()  # Gymnasium would warn, and a warning is an error here
        assert all(gymnasium.spec(name) is spec for name, spec in before.items())

    def test_the_projects_entry_point_is_the_function_that_registers(self):
        group, line = (
            '[project.entry-points."gymnasium.envs"]',
            f'__root__ = "{ENTRY}"',
        )
        assert f"{group}\n{line}\n" in (ROOT / "pyproject.toml").read_text()
        assert EntryPoint("__root__", ENTRY, "gymnasium.envs").load() is register

    @pytest.mark.parametrize(
        "first", ["", "import cordstasks.tasks.environments.registration; ", "import cordstasks.tasks as t; t.register(); "]
    )
    def test_gymnasium_alone_makes_the_environments_of_an_installed_copy(self, tmp_path: Path, first: str):
        installed = tmp_path / "copy_of_cordstasks-0.dist-info"
        installed.mkdir()
        (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: copy-of-cordstasks\nVersion: 0\n")
        (installed / "entry_points.txt").write_text(
            "[gymnasium.envs]\n__root__ = cordstasks.tasks.environments.registration:register\n"
        )
        known = f"{first}import gymnasium; print([name in gymnasium.registry for name in {list(ENVIRONMENTS)}])"
        assert python(known, tmp_path) == str([True] * len(ENVIRONMENTS))

    @EVERY
    def test_the_place_named_is_a_class_of_that_name(self, name: str):
        module, _, class_name = ENVIRONMENTS[name].partition(":")
        assert name == f"cordstasks/{class_name.removesuffix('Env')}-v0" != f"cordstasks/{class_name}-v0"
        made = type(environment_of(name))
        assert (made.__name__, made.__module__) == (class_name, module)

    @pytest.mark.parametrize(("abstract", "known"), [(False, names()), (True, abstract_names())])
    def test_every_task_has_one(self, abstract: bool, known: tuple[str, ...]):
        assert sorted(environment_of(name).task.id for name in environments(abstract=abstract)) == sorted(known)
