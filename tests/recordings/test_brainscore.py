"""The template of a Brain-Score plugin, against a stub of Brain-Score's interface."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cordstasks.cordsnet import save
from cordstasks.recordings import from_xarray, respond
from cordstasks.stimuli import read_picture
from helpers import ROOT, settling_cordsnet

xarray = pytest.importorskip("xarray", reason="needs cordstasks[recordings]")


class Assembly(xarray.DataArray):
    """Stands for brainio's NeuroidAssembly."""

    __slots__ = ()


class BrainModel:
    """What a plugin inherits: see brainscore_vision.model_interface."""

    class Task:
        """Tasks."""

        passive, label = "passive", "label"


class StimulusSet:
    """What a plugin uses of brainio's StimulusSet, which is a table."""

    columns = ("stimulus_id", "object_name")

    def __init__(self, paths: dict[str, Path]) -> None:
        self._paths = paths

    def __getitem__(self, name: str) -> list[str]:
        return list(self._paths) if name == "stimulus_id" else ["thing"] * len(self._paths)

    def get_stimulus(self, stimulus_id: str) -> Path:
        """The picture's file."""
        return self._paths[stimulus_id]


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The template, imported as Brain-Score imports it."""
    stubs = {
        "brainscore_vision": {"model_registry": {}, "__path__": []},
        "brainscore_vision.model_interface": {"BrainModel": BrainModel},
        "brainio": {"__path__": []},
        "brainio.assemblies": {"NeuroidAssembly": Assembly},
    }
    for name, content in stubs.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    folder = ROOT / "examples" / "brainscore_cordsnet"
    spec = importlib.util.spec_from_file_location(
        "plugged", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "plugged", made)
    spec.loader.exec_module(made)
    yield made
    sys.modules.pop("plugged.model", None)


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, Path]:
    rng = np.random.default_rng(0)
    paths = {f"s{place}": tmp_path / f"picture{place}.png" for place in range(3)}
    for path in paths.values():
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    return paths


def test_it_registers_the_shipped_network(plugin: Any):
    assert list(sys.modules["brainscore_vision"].model_registry) == ["cordsnet-r8"]


def test_recordings_are_resolved_in_time_and_bins_may_overlap(plugin: Any, pictures: dict[str, Path], tmp_path: Path):
    network = settling_cordsnet(depth=4)
    save(network, tmp_path / "tiny.safetensors")
    subject = plugin.CordsNetBrain(str(tmp_path / "tiny.safetensors"), areas={"IT": 3, "V4": 2}, latency_ms=50)
    assert subject.identifier == "tiny"
    assert subject.visual_degrees() == 8
    subject.start_task(BrainModel.Task.passive)
    subject.start_recording("IT", time_bins=[(60, 80), (70, 90), (80, 100)])
    found = subject.look_at(StimulusSet(pictures), number_of_trials=10)
    assert isinstance(found, Assembly)
    assert found.dims == ("presentation", "neuroid", "time_bin")
    assert found["stimulus_id"].values.tolist() == ["s0", "s1", "s2"]
    assert found["object_name"].values.tolist() == ["thing"] * 3
    assert found["time_bin_start"].values.tolist() == [60, 70, 80]
    images = [read_picture(path) for path in pictures.values()]
    for place, bins in enumerate(([10, 30], [20, 40], [30, 50])):
        expected = respond(network, images, bins_ms=[bins], image_ms=50.0, areas=3, progress=False)
        np.testing.assert_allclose(found.values[:, :, place], expected.rates[:, 0], atol=1e-5)
    recording = from_xarray(found.isel(time_bin=[0, 2]))
    assert recording.areas == ("IT",)
    assert recording.bins_ms.tolist() == [[60, 80], [80, 100]]


def test_paths_alone_do_and_other_tasks_and_regions_are_refused(plugin: Any, pictures: dict[str, Path], tmp_path: Path):
    save(settling_cordsnet(depth=4), tmp_path / "tiny.safetensors")
    subject = plugin.CordsNetBrain(str(tmp_path / "tiny.safetensors"), areas={"V4": 0})
    with pytest.raises(RuntimeError, match="call start_recording before look_at"):
        subject.look_at(list(pictures.values()))
    with pytest.raises(ValueError, match="recording_target IT: give one of V4"):
        subject.start_recording("IT", [(70, 170)])
    with pytest.raises(NotImplementedError, match="performs no task"):
        subject.start_task(BrainModel.Task.label, ["dog", "cat"])
    subject.start_recording("V4", [(10, 20)])
    found = subject.look_at(list(pictures.values()))
    assert found["stimulus_id"].values.tolist() == ["picture0", "picture1", "picture2"]
    assert found.sizes["time_bin"] == 1
