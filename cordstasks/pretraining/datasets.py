"""The data sets that a CordsNet can be made from: where their files are, and their normalisation."""

from __future__ import annotations

import gzip
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cordstasks.cordsnet.network import Preprocessing
from cordstasks.errors import InputError, Note
from cordstasks.pretraining.data import SHORTER_SIDE, ImageFiles, Images, ImageSet
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.stimuli.pictures import SUFFIXES, picture_files, read_picture, visible

__all__ = ["PREPROCESSING", "Pair", "read_dataset", "read_folder"]

CIFAR10 = Preprocessing((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
PREPROCESSING = {
    "mnist": Preprocessing((0.1307,), (0.3081,)),
    "fashion-mnist": Preprocessing((0.2860,), (0.3530,)),
    "cifar10": CIFAR10,
    "cifar100": Preprocessing((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "imagenet": Preprocessing(),
    "folder": CIFAR10,
}
"""Mean and standard deviation of each data set's values from 0 to 1, by channel; folders take CIFAR-10's."""

GREY = Preprocessing((0.4734,), (0.2516,))  # luminance of CIFAR-10, for folders of grey images
IDX = {"train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")}
IDX["test"] = tuple(name.replace("train", "t10k") for name in IDX["train"])  # type: ignore[assignment]
PLACES = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}  # as torchvision names the folder
SEVERAL = 5  # broken files that are named


@dataclass(frozen=True)
class Pair:
    """Training and test images with what prepares them.

    Attributes
    ----------
    train, test : Images
    preprocessing : Preprocessing
    broken : int
        Files that were left out because they cannot be read.
    """

    train: Images
    test: Images
    preprocessing: Preprocessing
    broken: int = 0


def read_dataset(data: Path, settings: PretrainSettings, *, download: bool = False) -> Pair:
    """The images that settings name.

    Parameters
    ----------
    data : Path
        Where they are: the folder that torchvision calls the root, one with the raw files, or, for ``"folder"`` and
        ``"imagenet"``, one that holds train/CLASS and test/CLASS (or val/CLASS).
    settings : PretrainSettings
    download : bool
        Fetch what is missing, by torchvision.

    Raises
    ------
    InputError
        If there are none, only one class, other classes in the test images, or too many broken files.
    """
    if settings.dataset in PLACES:
        pair = _read_idx(data, settings.dataset, download)
    elif settings.dataset in ("cifar10", "cifar100"):
        pair = _read_cifar(data, settings.dataset, download)
    else:
        if download:
            raise InputError(f"download=True: dataset={settings.dataset} has no free download; place its files in {data}")
        pair = _read_folders(data, settings)
    if pair.train.classes != pair.test.classes:
        raise InputError(f"data={data}: train/ and test/ have different classes")
    if len(pair.train.classes) < 2:
        raise InputError(f"data={data}: holds one class, {pair.train.classes[0]}; there must be at least two")
    return pair


def _read_idx(data: Path, dataset: str, download: bool) -> Pair:
    from torchvision import datasets

    place = _idx_folder(data, dataset)
    if place is None and download:
        _fetch({"mnist": datasets.MNIST, "fashion-mnist": datasets.FashionMNIST}[dataset], data)
        place = _idx_folder(data, dataset)
    if place is None:
        raise InputError(
            f"data={data}: has neither {IDX['train'][0]}[.gz] nor a folder {PLACES[dataset]}/raw/ with it; name the folder "
            f"of the raw files of {dataset}, or fetch them with download=True"
        )
    classes = tuple("0123456789") if dataset == "mnist" else tuple(map(str.lower, datasets.FashionMNIST.classes))
    sets = {}
    for part, names in IDX.items():
        images, labels = (_read_array(place, name) for name in names)
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or not len(images) or labels.max() > 9:
            raise InputError(f"{place}: the {part} images and labels do not fit together; fetch the files again")
        sets[part] = ImageSet(torch.from_numpy(images[..., None]), torch.from_numpy(labels).long(), classes)
    return Pair(sets["train"], sets["test"], PREPROCESSING[dataset])


def _idx_folder(data: Path, dataset: str) -> Path | None:
    for place in (data / PLACES[dataset] / "raw", data / "raw", data):
        if any((place / f"{IDX['train'][0]}{suffix}").is_file() for suffix in ("", ".gz")):
            return place
    return None


def _read_array(place: Path, name: str) -> NDArray[np.uint8]:
    """An array of LeCun's format: two zeros, the type 8 (uint8), the number of dimensions, their lengths, the content."""
    path = place / name
    try:
        content = path.read_bytes() if path.is_file() else gzip.decompress((place / f"{name}.gz").read_bytes())
        if content[:3] != b"\0\0\x08":
            raise ValueError("it does not begin as an array of bytes")
        lengths = np.frombuffer(content, ">i4", content[3], 4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(lengths).copy()
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise InputError(f"{path}: cannot be read ({error}); fetch it again") from error


def _read_cifar(data: Path, dataset: str, download: bool) -> Pair:
    from torchvision import datasets

    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[dataset]
    root = data.parent if data.name == kind.base_folder else data
    if download:
        _fetch(kind, root)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's of the way in which these files were pickled
            parts: list[Any] = [kind(str(root), train=train) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        raise InputError(
            f"data={data}: has no whole folder {kind.base_folder}/ of dataset={dataset}; name the folder that holds it, or "
            "fetch it with download=True"
        ) from error
    sets = [ImageSet(torch.from_numpy(part.data), torch.tensor(part.targets), tuple(part.classes)) for part in parts]
    return Pair(sets[0], sets[1], PREPROCESSING[dataset])


def _fetch(kind: Any, root: Path) -> None:
    try:
        for train in (True, False):
            kind(str(root), train=train, download=True)
    except Exception as error:  # urllib's, the system's, torchvision's own
        reason = " ".join(str(error).split())[:150]
        raise InputError(
            f"download=True: {kind.__name__} could not be fetched ({reason}); place its files in {root}"
        ) from error


def _read_folders(data: Path, settings: PretrainSettings) -> Pair:
    parts = {"train": data / "train", "test": data / "test"}
    if settings.dataset == "imagenet" and not parts["test"].is_dir():
        parts["test"] = data / "val"
    for part, folder in parts.items():
        if not folder.is_dir():
            raise InputError(
                f"data={data}: has no folder {folder.name}/; expected train/<class>/ and {parts['test'].name}/<class>/"
            )
    sets, broken = {}, 0
    for part, folder in parts.items():
        sets[part], left_out = read_folder(
            folder,
            settings.image_size,
            memory=settings.memory_images,
            most_broken=settings.broken_images,
            crops=settings.dataset == "imagenet",
        )
        broken += left_out
    train, test = sets["train"], sets["test"]
    channels = max(train.channels, test.channels)
    if train.channels != test.channels:
        train, test = _coloured(train), _coloured(test)
    preprocessing = GREY if channels == 1 else PREPROCESSING[settings.dataset]
    if isinstance(test, ImageFiles):
        preprocessing = replace(preprocessing, resize=round(SHORTER_SIDE * settings.image_size))
    return Pair(train, test, preprocessing, broken)


def _coloured(images: Images) -> Images:
    if isinstance(images, ImageFiles):
        return replace(images, channels=3)
    assert isinstance(images, ImageSet)
    return ImageSet(images.images.expand(-1, -1, -1, 3), images.labels, images.classes)


def read_folder(
    folder: Path, side: int, *, memory: float = 4.0, most_broken: float = 0.01, crops: bool = False
) -> tuple[Images, int]:
    """The images `folder`/<class>/<image>; hidden files and folders are ignored.

    Parameters
    ----------
    folder : Path
    side : int
        Height and width in px to which images of several sizes, and those read from disk, are resized and cropped.
    memory : float
        GB that images may take in memory; those of larger folders are read from disk.
    most_broken : float
        Largest fraction of files that may be broken; these are named in a note and left out.
    crops : bool
        Whether training shows random parts of images.

    Returns
    -------
    Images
        In memory, with their own size, if that is one and they fit there; else `ImageFiles`.
    int
        Number of broken files.

    Raises
    ------
    InputError
        If there are no class folders, a class has no images, or too many files are broken.
    """
    classes = [path for path in visible(folder) if path.is_dir()] if folder.is_dir() else []
    if not classes:
        raise InputError(f"{folder}: expected one folder of images per class; found none")
    paths: list[tuple[Path, int]] = []
    for label, place in enumerate(classes):
        own = picture_files(place)
        if not own:
            raise InputError(f"{place}: this class folder holds no images ({', '.join(SUFFIXES)}); fill or remove it")
        paths += [(path, label) for path in own]
    headers = _each([path for path, _ in paths], _header)
    known = [header for header in headers if header is not None]
    sizes = {size for size, _ in known}
    channels = 1 if known and all(grey for _, grey in known) else 3
    names = tuple(place.name for place in classes)
    if len(sizes) == 1 and not crops and sum(3 * width * height for (width, height), _ in known) <= memory * 1e9:
        contents = _each([path for path, _ in paths], _pixels)
    else:  # decoding them all may take hours, so what is broken beyond its header is found as it is read
        contents = [_pixels(path) if header is None else None for (path, _), header in zip(paths, headers, strict=True)]
    errors = [content for content in contents if isinstance(content, InputError)]
    _note_broken(folder, errors, len(paths), most_broken)
    rows = [row for row, content in enumerate(contents) if not isinstance(content, InputError)]
    labels = torch.tensor([paths[row][1] for row in rows])
    empty = sorted(set(range(len(names))) - set(labels.tolist()))
    if empty:
        raise InputError(f"{folder}/{names[empty[0]]}: every image of this class is broken; replace or remove them")
    if any(content is None for content in contents):
        side = _shared_side(sizes, side) if len(sizes) == 1 and not crops else side
        files = tuple(paths[row][0] for row in rows)
        return ImageFiles(files, labels, names, channels, side, crops, most_broken), len(errors)
    stacked = torch.from_numpy(np.stack([contents[row][..., :channels] for row in rows]))
    return ImageSet(stacked, labels, names), len(errors)


def _shared_side(sizes: set[tuple[int, int]], side: int) -> int:
    """Images of one square size stay as they are, so that reading them from disk changes nothing."""
    ((width, height),) = sizes
    return width if width == height else side


def _each(paths: list[Path], function: Any) -> list[Any]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(function, paths))


def _header(path: Path) -> tuple[tuple[int, int], bool] | None:
    """Width and height, and whether a picture is grey, without its pixels; None if that cannot be read."""
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(path) as opened:
            return opened.size, opened.mode in ("L", "1", "LA") or opened.mode.startswith(("I", "F"))
    except Exception:  # decoders raise whatever they stumble over; reading the pixels then says what it is
        return None


def _pixels(path: Path) -> NDArray[np.uint8] | InputError:
    try:
        return read_picture(path)
    except InputError as error:
        return error


def _note_broken(folder: Path, errors: list[InputError], count: int, most: float) -> None:
    if not errors:
        return
    first = str(errors[0])
    if len(errors) > most * count:
        also = f" (and {len(errors) - 1} more of {count})" if len(errors) > 1 else ""
        raise InputError(f"{first}{also}")
    for error in errors[:SEVERAL]:
        warnings.warn(f"left out: {error}", Note, stacklevel=2)
    warnings.warn(f"{folder}: {len(errors)} of {count} images are broken and left out", Note, stacklevel=2)
