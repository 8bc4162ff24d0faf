"""Areas of a CordsNet beside macaque and human IT: dissimilarities of the 92 images of Kriegeskorte et al. (2008)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.io import loadmat

from cordstasks import analysis
from cordstasks.analysis import rsa
from cordstasks.cordsnet import CordsNet, load
from cordstasks.errors import InputError
from cordstasks.recordings import respond

__all__ = ["BIN_MS", "HUMAN", "MACAQUE", "Similarity", "compare_with_it", "read_92_images", "similarity_figure"]

BIN_MS, SHOWN_MS = 10.0, 200.0
EARLY = 1  # the time bin of 10 to 20 ms
MACAQUE, HUMAN = "macaque IT", "human IT"


@dataclass(frozen=True, eq=False)
class Similarity:
    """How similar areas are to one IT, by Spearman's correlation of dissimilarities.

    Attributes
    ----------
    courses : float64 (area, time bin)
        Of the trained network.
    best : int64 (area,)
        The time bin in which each area is most similar.
    compared : cordstasks.analysis.rsa.RsaComparison
        With intervals over stimuli, of: for each area the bin of 10 to 20 ms, the last and the best one; each area of a
        network of random weights in the last bin; pixels. See `early`, `late`, `untrained` and `pixels`.
    """

    courses: NDArray[np.float64]
    best: NDArray[np.int64]
    compared: rsa.RsaComparison

    @property
    def areas(self) -> int:
        """Number of areas."""
        return len(self.courses)

    def early(self, area: int) -> int:
        """The row of `compared` of an area from 10 to 20 ms.

        Parameters
        ----------
        area : int
            Numbered from 0.

        Returns
        -------
        int
        """
        return 3 * area

    def late(self, area: int) -> int:
        """The row of `compared` of an area in the last time bin.

        Parameters
        ----------
        area : int
            Numbered from 0.

        Returns
        -------
        int
        """
        return 3 * area + 1

    def untrained(self, area: int) -> int:
        """The row of `compared` of an area of the network of random weights.

        Parameters
        ----------
        area : int
            Numbered from 0.

        Returns
        -------
        int
        """
        return 3 * self.areas + area

    @property
    def pixels(self) -> int:
        """The row of `compared` of the pixels."""
        return 4 * self.areas


def read_92_images(file: Path) -> tuple[list[NDArray[np.uint8]], dict[str, NDArray[np.float64]]]:
    """The images and the dissimilarities of macaque and human IT.

    Parameters
    ----------
    file : Path
        The supplement as rsatoolbox distributes it, a MATLAB file.

    Returns
    -------
    images : list of uint8 ndarray of shape (height, width, 3)
    references : dict of str to ndarray of shape (pair,)
        By the name of the recording.

    Raises
    ------
    InputError
        If the file cannot be read, or is another one.
    """
    try:
        content = loadmat(file, squeeze_me=True, struct_as_record=False)
        images = [np.asarray(each.image) for each in content["stimuli_92objs"]]
        found = [np.asarray(each.RDM, np.float64) for each in content["RDMs_mIT_hIT_fig1"]]
    except (OSError, ValueError, KeyError, AttributeError, TypeError, NotImplementedError) as error:
        raise InputError(f"{file}: is not the supplement of Kriegeskorte et al. 2008 ({error}); give that file") from error
    return images, dict(zip((MACAQUE, HUMAN), found, strict=False))


def compare_with_it(file: Path, *, resamples: int = 1000, seed: int = 0, device: str = "cpu") -> dict[str, Similarity]:
    """Compare each area of ``cordsnet-r8`` over time, an R8 of random weights, and pixels with IT.

    Parameters
    ----------
    file : Path
        See `read_92_images`.
    resamples : int, default 1000
        Bootstrapped sets of stimuli.
    seed : int, default 0
        Of the random network and the bootstrap.
    device : str, default "cpu"
        Where networks are simulated.

    Returns
    -------
    dict of str to Similarity
        For macaque IT and for human IT.

    Raises
    ------
    InputError
        If the file cannot be read, or is another one.
    """
    images, references = read_92_images(file)
    trained = _dissimilarities("cordsnet-r8", images, device)
    untrained = _dissimilarities(_random_network(seed), images, device)[:, -1]
    pixels = rsa.dissimilarities(np.stack([image.reshape(1, -1) for image in images]).astype(float))
    found = {}
    for name, target in references.items():
        courses = np.array([[rsa.rank_correlation(each, target) for each in area] for area in trained])
        best = courses.argmax(axis=1)
        shown = [(area, time) for area in range(len(trained)) for time in (EARLY, trained.shape[1] - 1, int(best[area]))]
        rows = np.stack([*(trained[each] for each in shown), *untrained, pixels[0]])
        compared = rsa.compare_dissimilarities(rows, target, resamples=resamples, rng=seed)
        found[name] = Similarity(courses, best, compared)
    return found


def similarity_figure(similarities: Mapping[str, Similarity]) -> Figure:
    """Draw the similarity of each area over time, beside that of pixels and of the best area of random weights.

    Parameters
    ----------
    similarities : mapping of str to Similarity
        What `compare_with_it` returned.

    Returns
    -------
    matplotlib.figure.Figure
    """
    panels, lines = {}, {}
    for name, each in similarities.items():
        areas, values = range(each.areas), each.compared.values
        panels[name] = each.courses, each.compared.intervals[[each.late(area) for area in areas]]
        best = max(values[each.untrained(area)] for area in areas)
        lines[name] = {"pixels": float(values[each.pixels]), "best random area": float(best)}
    courses = next(iter(similarities.values())).courses
    times = (np.arange(courses.shape[1]) + 0.5) * BIN_MS
    names = [f"area {area}" for area in range(len(courses))]
    return analysis.figures.similarity_over_time(times, panels, names, beside=lines)


def _dissimilarities(network: CordsNet | str, images: list[NDArray[np.uint8]], device: str) -> NDArray[np.float64]:
    """Correlation distances (area, time bin, pair)."""
    found = respond(network, images, bins_ms=BIN_MS, image_ms=SHOWN_MS, device=device)
    return np.stack([rsa.dissimilarities(found.select(region=area).rates) for area in found.areas])


def _random_network(seed: int) -> CordsNet:
    """An R8 of the shape and preprocessing of the shipped one, with the weights that training starts from."""
    shipped = load("cordsnet-r8")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = CordsNet(8, classes=shipped.classes, image_size=shipped.image_size, preprocessing=shipped.preprocessing)
    return made.eval()
