"""Responses of areas to pictures, kept on disk in parts, so that a stopped command loses one part at most."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cordstasks.cordsnet.network import CordsNet
from cordstasks.cordsnet.simulator import Simulator
from cordstasks.errors import InputError
from cordstasks.experiments.predict_settings import PredictSettings
from cordstasks.recordings.responses import BATCH, FULL_SIZE, presented, projections
from cordstasks.utils.files import writable_folder, write_bytes

__all__ = ["AreaResponses"]


class AreaResponses:
    """The responses of some areas to the pictures of a recording.

    Parameters
    ----------
    folder : Path
        Where parts are kept.
    settings : PredictSettings
    areas : sequence of int
        In increasing order.
    bins : (model time, 2)
        In ms.
    """

    def __init__(self, folder: Path, settings: PredictSettings, areas: Sequence[int], bins: NDArray[np.float64]) -> None:
        self.folder, self.settings, self.areas, self.bins = folder, settings, tuple(areas), bins
        self._parts: list[Path] = []

    def compute(
        self,
        network: CordsNet,
        pictures: Callable[[Sequence[str]], list[NDArray[np.uint8]]],
        stimuli: Sequence[str],
        device: str,
    ) -> None:
        """Compute what is not on disk yet.

        Parameters
        ----------
        network : CordsNet
        pictures : callable
            Reads the pictures of some stimuli.
        stimuli : sequence of str
        device : str
        """
        writable_folder(self.folder, "out")
        settings = self.settings
        size = max(1, BATCH * FULL_SIZE**2 // max(FULL_SIZE**2, network.image_size**2))
        starts = range(0, len(stimuli), size)
        self._parts = [self.folder / f"stimuli-{start:06d}.npz" for start in starts]
        if all(path.is_file() for path in self._parts):
            return
        simulator = Simulator(network.to(device), areas=self.areas, device=device)
        matrices = projections(network, self.areas, settings.side, settings.projection, settings.seed)
        image_ms = settings.image_ms or max(float(self.bins[-1, 1]), network.dt)
        with tqdm(total=len(stimuli), desc="responses", unit="picture", leave=False) as bar:
            for start, path in zip(starts, self._parts, strict=True):
                some = stimuli[start : start + size]
                if not path.is_file():
                    blocks = presented(simulator, pictures(some), self.bins, image_ms, settings.side, matrices)
                    self.write(path, {f"area-{area}": each for area, each in zip(self.areas, blocks, strict=True)})
                bar.update(len(some))

    def area(self, area: int) -> NDArray[np.float32]:
        """Responses (stimulus, model time, feature) of one area."""
        return np.concatenate([self.read(path, f"area-{area}")[f"area-{area}"] for path in self._parts])

    @staticmethod
    def write(path: Path, arrays: dict[str, Any]) -> None:
        """Write arrays to one file, completely or not at all."""
        writable_folder(path.parent, "out")
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        write_bytes(path, content.getbuffer())

    @staticmethod
    def read(path: Path, *names: str) -> dict[str, NDArray[Any]]:
        """Read arrays of a file, by default all.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in names or archive.files}
        except Exception as error:  # those of zipfile, zlib and NumPy are of many kinds
            raise InputError(f"{path}: is damaged ({str(error)[:100]}); remove it, and it is computed again") from error
