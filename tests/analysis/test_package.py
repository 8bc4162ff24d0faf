import json
import subprocess
import sys

import pytest

import cordstasks.analysis as analysis


def _modules_after(code: str) -> set[str]:
    program = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_every_public_name_exists_and_is_listed():
    for name in analysis.__all__:
        assert getattr(analysis, name) is not None
    assert dir(analysis) == sorted(analysis.__all__)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match=r"cordstasks\.analysis .*fit_choises"):
        _ = analysis.fit_choises


def test_importing_the_package_loads_nothing_heavy():
    loaded = _modules_after("import cordstasks.analysis")
    assert not loaded & {"scipy", "sklearn", "matplotlib", "torch"}


def test_figures_need_neither_pyplot_nor_torch():
    loaded = _modules_after("import cordstasks.analysis; cordstasks.analysis.figures.save")
    assert "matplotlib.figure" in loaded
    assert not loaded & {"matplotlib.pyplot", "torch", "neurogym"}
