"""CordsNet as a subject of Brain-Score, with activations that are resolved in time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from brainio.assemblies import NeuroidAssembly
from brainscore_vision.model_interface import BrainModel

from cordstasks.cordsnet import load
from cordstasks.recordings import respond
from cordstasks.stimuli import read_picture

AREAS = {"V1": 1, "V2": 2, "V4": 4, "IT": 7}  # which area stands for which region; yours may differ
DEGREES = 8


class CordsNetBrain(BrainModel):
    """A CordsNet that looks at pictures.

    Parameters
    ----------
    weights : str
        A registry name or a file, see `cordstasks.cordsnet.load`.
    areas : dict of str to int
        The area that stands for each region.
    latency_ms : float
        How much later neurons are than the model: a time bin from 70 to 170 ms is read from 70 - latency to 170 - latency.
    """

    def __init__(self, weights: str, *, areas: dict[str, int] | None = None, latency_ms: float = 0.0) -> None:
        self._weights, self._areas, self._latency = weights, dict(areas or AREAS), latency_ms
        self._network = load(weights)
        self._region: str | None = None
        self._bins: list[tuple[float, float]] = []

    @property
    def identifier(self) -> str:
        """The model's name."""
        return Path(self._weights).stem

    def visual_degrees(self) -> int:
        """The visual angle that the network's input covers."""
        return DEGREES

    def start_task(self, task: Any, fitting_stimuli: Any = None) -> None:
        """Passive fixation is the only task: there is no behavioural read-out."""
        if task != BrainModel.Task.passive:
            raise NotImplementedError(f"task {task}: CordsNetBrain is recorded from, and performs no task")

    def start_recording(self, recording_target: str, time_bins: list[tuple[int, int]]) -> None:
        """Record the area that stands for a region, in these time bins (ms after onset), which may overlap."""
        region = str(recording_target)
        if region not in self._areas:
            raise ValueError(f"recording_target {region}: give one of {', '.join(self._areas)}")
        self._region, self._bins = region, [(float(start), float(end)) for start, end in time_bins]

    def look_at(self, stimuli: Any, number_of_trials: int = 1) -> NeuroidAssembly:
        """The responses (presentation, neuroid, time_bin) to a StimulusSet or to a list of paths of pictures.

        The network has no noise, so the number of trials changes nothing.
        """
        if self._region is None:
            raise RuntimeError("call start_recording before look_at")
        columns = _columns(stimuli)
        images = [read_picture(path) for path in columns["stimulus_path"]]
        area = self._areas[self._region]
        shifted = [(start - self._latency, end - self._latency) for start, end in self._bins]
        shown = max(end for _, end in shifted)
        rates: dict[int, np.ndarray] = {}
        for group in _apart(shifted):  # overlapping bins are read in turn
            seen = respond(
                self._network, images, bins_ms=[shifted[i] for i in group], image_ms=shown, areas=area, progress=False
            )
            rates |= {place: seen.rates[:, number] for number, place in enumerate(group)}
        units = next(iter(rates.values())).shape[1]
        return NeuroidAssembly(
            np.stack([rates[place] for place in range(len(self._bins))], axis=2),
            dims=("presentation", "neuroid", "time_bin"),
            coords={
                **{name: ("presentation", values) for name, values in columns.items()},
                "neuroid_id": ("neuroid", [f"{self.identifier}.{area}.{unit}" for unit in range(units)]),
                "region": ("neuroid", [self._region] * units),
                "layer": ("neuroid", [f"area {area}"] * units),
                "time_bin_start": ("time_bin", [start for start, _ in self._bins]),
                "time_bin_end": ("time_bin", [end for _, end in self._bins]),
            },
        )


def _columns(stimuli: Any) -> dict[str, list[Any]]:
    """All columns of a StimulusSet, with the path of each picture; or ids and paths of a list of paths."""
    if hasattr(stimuli, "get_stimulus"):
        found = {name: list(stimuli[name]) for name in stimuli.columns}
        return {**found, "stimulus_path": [str(stimuli.get_stimulus(each)) for each in found["stimulus_id"]]}
    paths = [str(path) for path in stimuli]
    return {"stimulus_id": [Path(path).stem for path in paths], "stimulus_path": paths}


def _apart(bins: list[tuple[float, float]]) -> list[list[int]]:
    """Numbers of the bins in groups, each in order and without overlap."""
    groups: list[list[int]] = []
    for place in sorted(range(len(bins)), key=lambda i: bins[i]):
        group = next((each for each in groups if bins[each[-1]][1] <= bins[place][0]), None)
        if group is None:
            groups.append([place])
        else:
            group.append(place)
    return groups
