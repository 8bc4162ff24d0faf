"""The weights that can be loaded by name, and where their files are: in the package, or downloaded and verified."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cordstasks.errors import InputError, WriteError, unknown
from cordstasks.utils.cache import cache_folder
from cordstasks.utils.files import atomic, writable_folder

CHUNK_BYTES = 1 << 18
TIMEOUT_SECONDS = 30.0  # to connect, and for each read: a download that trickles on is not cut off
PACKAGED_WEIGHTS = Path(__file__).resolve().parent / "weights"


@dataclass(frozen=True)
class Entry:
    """One set of weights that has a name.

    Attributes
    ----------
    name : str
        What `locate` and `--weights` call it.
    description : str
        Input size, training data and origin, in a sentence or two.
    file_name : str
        Its file, in the package's folder of weights or, if it is downloaded, in the cache folder.
    url : str
        Where it is downloaded from; empty if it is part of the package.
    blob : str
        Git blob id that the downloaded file must have (see `git_blob_id`); empty if it is part of the package.
    """

    name: str
    description: str
    file_name: str
    url: str = ""
    blob: str = ""

    @property
    def packaged(self) -> bool:
        """Whether the file is part of the package, so that it needs no network."""
        return not self.url


_ENTRIES = (
    Entry(
        name="cordsnet-r8",
        description="CordsNet-R8, 64 px, CIFAR-10 (ten classes), trained by cordstasks; part of the package.",
        file_name="cordsnet-r8.safetensors",
    ),
    Entry(
        name="cordsnet-r8-scratch",
        description=(
            "CordsNet-R8, 64 px, CIFAR-10 (ten classes), made from random weights by one command of cordstasks, with a "
            "higher accuracy than cordsnet-r8; part of the package."
        ),
        file_name="cordsnet-r8-scratch.safetensors",
    ),
    Entry(
        name="cordsnet-r8-imagenet",
        description=(
            "CordsNet-R8, 224 px, ImageNet (1000 classes), published by Soo et al. (NeurIPS 2024). Its repository "
            "has no licence, so cordstasks does not redistribute it but downloads it for you from its authors' repository."
        ),
        file_name="cordsnetr8.pth",
        url="https://raw.githubusercontent.com/wmws2/cordsnet/main/cordsnetr8.pth",
        blob="94ed91f2c3eaefb1666ee12dc3cab01513f69143",
    ),
)
REGISTRY: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}


def names() -> tuple[str, ...]:
    """The names that `locate` knows, the default first.

    Returns
    -------
    tuple of str
        In the order of the registry.
    """
    return tuple(REGISTRY)


def locate(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a set of weights, downloaded first if need be.

    A downloaded file is verified each time it is asked for, not only when it arrives. A file that fails is reported
    and left as it is.

    Parameters
    ----------
    name_or_path : str or os.PathLike
        A name in `REGISTRY`, or else a path to a file. (For a file that bears a registry's name write `./name`.)

    Returns
    -------
    pathlib.Path
        An existing file.

    Raises
    ------
    InputError
        If there are no weights of that name and no such file, if the download fails, or if the file in the cache is
        not the published one.
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise unknown("weights", name_or_path, names())
    text = os.fspath(name_or_path)
    if text in REGISTRY:
        entry = REGISTRY[text]
        return _packaged_file(entry) if entry.packaged else _cached_file(entry)
    path = Path(os.path.expanduser(text))
    if os.path.isfile(path):
        return path
    if not ({"/", os.sep} & set(text) or path.suffix):
        raise unknown("weights", text, names())
    problem = "is a folder; name the file in it" if os.path.isdir(path) else "file does not exist; correct the path"
    raise InputError(f"weights {text!r}: {problem}, or choose one of {', '.join(names())}")


def download(url: str, target: Path, blob: str) -> None:
    """Download `url` to `target`, verified by its git blob id, with a progress bar on standard error.

    The file takes the name `target` in one step and only after the check, so neither an interruption nor a second
    process that downloads the same file leaves half of one. Whatever stood at `target` before stays there unless the
    download is good. The target's folder is made if need be.

    Parameters
    ----------
    url : str
        An http or https address.
    target : pathlib.Path
        The file to write.
    blob : str
        The git blob id that the content must have.

    Raises
    ------
    InputError
        If the folder cannot be written, the network fails, or the content has another blob id.
    """
    import requests

    writable_folder(target.parent, "CORDSTASKS_CACHE")
    try:
        with atomic(target) as temporary:
            try:
                _fetch(url, temporary, target.name)
            except requests.RequestException as error:
                raise InputError(f"{url}: cannot be downloaded ({_reason(error)}); {_by_hand(target.name)}") from error
            found = git_blob_id(temporary)
            if found != blob:
                raise InputError(
                    f"{url}: the download is not the published file: expected git blob {blob}, found {found}; nothing "
                    f"was kept of it; try again, or {_by_hand(target.name)}"
                )
    except WriteError as error:
        if target.is_file() and git_blob_id(target) == blob:
            return  # another process was first and has the file open, which Windows does not let us replace
        raise WriteError(f"CORDSTASKS_CACHE={target.parent}: {error}", error.errno) from error


def git_blob_id(path: str | os.PathLike[str]) -> str:
    r"""The id git gives to a file's content: sha1 of `b"blob " + str(size) + b"\0" + content`, in hexadecimal.

    Returns
    -------
    str
        40 digits.
    """
    with open(path, "rb") as stream:
        digest = hashlib.sha1(b"blob %d\0" % os.fstat(stream.fileno()).st_size, usedforsecurity=False)
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _packaged_file(entry: Entry) -> Path:
    path = PACKAGED_WEIGHTS / entry.file_name
    if not path.is_file():
        raise InputError(
            f"weights {entry.name!r}: {path} is missing, so the installation is not whole; install cordstasks again, "
            "or pass weights=FILE"
        )
    return path


def _cached_file(entry: Entry) -> Path:
    path = cache_folder() / entry.file_name
    if not os.path.lexists(path):  # lexists: a dangling link is the user's, not ours to replace
        download(entry.url, path, entry.blob)
        return path
    try:
        found = git_blob_id(path)
    except OSError as error:
        raise InputError(
            f"weights {entry.name!r}: {path} cannot be read ({_reason(error)}); fix that or move it away, and it is "
            "downloaded again"
        ) from error
    if found != entry.blob:
        raise InputError(
            f"weights {entry.name!r}: {path} is damaged or another file: expected git blob {entry.blob}, found "
            f"{found}; it was left as it is; move it away and it is downloaded again, or pass weights=FILE"
        )
    return path


def _fetch(url: str, path: Path, name: str) -> None:
    """Write what is at `url` to `path`; a connection that ends too early is an error."""
    import requests
    from tqdm import tqdm

    with requests.get(url, stream=True, timeout=TIMEOUT_SECONDS) as response, path.open("wb") as stream:
        response.raise_for_status()
        size = response.headers.get("Content-Length", "")
        with tqdm(desc=name, total=int(size) if size.isdigit() else None, unit="B", unit_scale=True, leave=False) as bar:
            for chunk in response.iter_content(CHUNK_BYTES):
                stream.write(chunk)
                bar.update(len(chunk))


def _by_hand(file_name: str) -> str:
    return f"download it by other means and pass weights=FILE, or set CORDSTASKS_CACHE to a folder that holds {file_name}"


def _reason(error: BaseException) -> str:
    """What went wrong, on one line, without what requests and urllib3 wrap around it."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
