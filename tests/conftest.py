"""Fixtures that several test files share."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before PyTorch is loaded, for these tests and the processes that they start: what goes wrong only in threads, or only
# without them, is then found on every machine. Tests that need another number set it.
os.environ["OMP_NUM_THREADS"] = "2"

import pytest

from cordstasks.tasks import registry
from helpers import ROOT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `cuda` on machines without such a device."""
    if not any(item.get_closest_marker("cuda") for item in items):
        return
    import torch

    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device that torch can use"))


def _visible() -> set[str]:
    return {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}


@pytest.fixture(scope="session", autouse=True)
def _the_checkout_stays_as_it_is() -> Iterator[None]:
    """A test that forgets to write into a folder of its own leaves files beside the sources, where they get committed."""
    before = _visible()
    yield
    left = sorted(_visible() - before)
    assert not left, f"tests left {', '.join(left)} in the checkout; they should write into tmp_path"


@pytest.fixture(scope="session", autouse=True)
def _a_cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither find nor leave features in the user's cache, which other versions may have filled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CORDSTASKS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", autouse=True)
def _tasks_of_a_module_are_forgotten() -> Iterator[None]:
    """A task that a module's fixtures register is not known to the next module."""
    with registry.as_before():
        yield


@pytest.fixture(autouse=True)
def _tasks_of_a_test_are_forgotten() -> Iterator[None]:
    """A task that a test registers is not known to the next test."""
    with registry.as_before():
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The project's shared folder, which stands beside a checkout of its developers."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder}")
    return folder


@pytest.fixture(scope="session")
def random_network() -> Callable[..., object]:
    """A maker of CordsNets in which no two parameters that could be mistaken for one another are alike.

    Gains are not the norms of their directions, every unit has a bias of its own, and the recurrence is stable.
    """
    import torch

    from cordstasks.cordsnet import CordsNet

    @torch.no_grad()
    def make(depth: int = 2, *, seed: int = 0, **options: object) -> CordsNet:
        generator = torch.Generator().manual_seed(seed)
        network = CordsNet(depth, **{"classes": 7, "image_size": 32, **options})  # type: ignore[arg-type]
        for name, parameter in network.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
            if name.endswith("original0"):
                parameter.abs_().mul_(0.3).add_(0.4)
            elif "bias" in name:
                parameter.mul_(0.3)
        return network.eval()

    return make


@pytest.fixture
def full_disk() -> Callable[[int], contextlib.AbstractContextManager[None]]:
    """A maker of contexts in which no file grows beyond so many bytes, as on a disk with room for no more."""
    resource = pytest.importorskip("resource", reason="this system limits no file sizes")

    @contextlib.contextmanager
    def limited(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


# folders that tests have made read-only, each with what was tried there; an audit hook cannot be removed
_READ_ONLY: dict[Path, list[str]] = {}
_CHANGES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.utime", "os.chmod", "os.truncate", "os.link", "os.symlink"}


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if not _READ_ONLY or not (event == "open" or event in _CHANGES) or not isinstance(arguments[0], (str, os.PathLike)):
        return
    path = Path(os.path.abspath(os.fspath(arguments[0])))
    for folder, tried in _READ_ONLY.items():
        writes = event != "open" or arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and path.is_relative_to(folder):
            tried.append(f"{event} {path}")
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))


@pytest.fixture(scope="session")
def read_only() -> Callable[[Path], contextlib.AbstractContextManager[list[str]]]:
    """A maker of contexts in which a folder is on a read-only file system; they give the list of what was tried there."""
    sys.addaudithook(_refuse)

    @contextlib.contextmanager
    def refusing(folder: Path) -> Iterator[list[str]]:
        _READ_ONLY[folder] = tried = []
        try:
            yield tried
        finally:
            del _READ_ONLY[folder]

    return refusing
