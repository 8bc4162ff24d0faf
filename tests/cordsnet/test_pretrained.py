"""The weights registry: names and paths, and downloads from a local HTTP server that can misbehave."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cordstasks.cordsnet import pretrained as registry
from cordstasks.errors import InputError

CONTENT = bytes(range(251)) * 4001  # about 1 MB: several chunks
EMPTY_BLOB = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


def blob_id(content: bytes | bytearray) -> str:
    return hashlib.sha1(b"blob " + str(len(content)).encode() + b"\0" + content).hexdigest()


@dataclass
class Site:
    """A local web site with one file, and how it is to misbehave."""

    url: str = ""
    content: bytes = CONTENT
    sent: int | None = None  # bytes to send before the connection is closed; None for all
    announce: bool = True  # whether to send a Content-Length
    stalled: threading.Event | None = None  # after which the connection is closed; the client may give up sooner
    meeting: threading.Barrier | None = None  # requests wait here for one another
    requests: list[str] = field(default_factory=list)


class QuietServer(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close waits for the handlers, and no socket outlives its test

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests are about."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.requests.append(self.path)
            if site.meeting is not None:
                site.meeting.wait(timeout=20)
            if self.path != "/weights.pth":
                self.send_error(404)
                return
            self.send_response(200)
            if site.announce:
                self.send_header("Content-Length", str(len(site.content)))
            self.end_headers()
            self.wfile.write(site.content[: site.sent])
            if site.stalled is not None:
                site.stalled.wait(timeout=20)

        def log_message(self, format: str, *args: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "*")
    server = QuietServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_address[1]}/weights.pth"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "deep" / "cache"
    monkeypatch.setenv("CORDSTASKS_CACHE", str(folder))
    return folder


@pytest.fixture
def published(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Registers the site's file as `published`; returns where the cache will hold it."""
    entry = registry.Entry("published", "A test.", "published.pth", site.url, blob_id(CONTENT))
    monkeypatch.setitem(registry.REGISTRY, "published", entry)
    return cache / "published.pth"


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_first_use_downloads_and_later_ones_do_not(site: Site, published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert registry.locate("published") == published
    assert published.read_bytes() == CONTENT
    assert listing(published.parent) == ["published.pth"]
    screen = capsys.readouterr()
    assert screen.out == ""
    assert "published.pth" in screen.err  # the progress bar
    assert registry.locate("published") == published
    assert site.requests == ["/weights.pth"]


def test_content_without_announced_length(site: Site, published: Path) -> None:
    site.announce = False
    registry.locate("published")
    assert published.read_bytes() == CONTENT


def test_wrong_content_names_both_ids_and_leaves_nothing(site: Site, published: Path) -> None:
    site.content = b"<html>not the weights</html>"
    with pytest.raises(InputError, match=f"expected git blob {blob_id(CONTENT)}, found {blob_id(site.content)}"):
        registry.locate("published")
    assert listing(published.parent) == []


@pytest.mark.parametrize(
    "misbehaviour",
    [{"content": CONTENT[::-1]}, {"sent": 300_007}, {"sent": 300_007, "announce": False}, {"sent": 0}],
    ids=["other content", "cut short", "cut short, unannounced", "nothing sent"],
)
def test_failed_download_keeps_what_was_there(site: Site, tmp_path: Path, misbehaviour: dict[str, object]) -> None:
    target = tmp_path / "weights.pth"
    target.write_bytes(b"the user's own")
    for name, value in misbehaviour.items():
        setattr(site, name, value)
    with pytest.raises(InputError, match=r"expected git blob|IncompleteRead"):
        registry.download(site.url, target, blob_id(CONTENT))
    assert listing(tmp_path) == ["weights.pth"]
    assert target.read_bytes() == b"the user's own"


def test_dropped_connection(site: Site, published: Path) -> None:
    site.sent = 300_007
    with pytest.raises(
        InputError, match=rf"IncompleteRead\(300007 bytes read, {len(CONTENT) - 300007} more expected\)\); .*weights=FILE"
    ):
        registry.locate("published")
    assert listing(published.parent) == []
    site.sent = None
    assert registry.locate("published").read_bytes() == CONTENT


def test_cut_short_download_fails_although_what_came_has_the_blob(site: Site, tmp_path: Path) -> None:
    site.sent = 300_007
    with pytest.raises(InputError, match=r"IncompleteRead\(300007 bytes read"):
        registry.download(site.url, tmp_path / "weights.pth", blob_id(CONTENT[: site.sent]))
    assert listing(tmp_path) == []


def test_missing_page(site: Site, tmp_path: Path) -> None:
    url = site.url.replace("weights", "elsewhere")
    with pytest.raises(InputError) as caught:
        registry.download(url, tmp_path / "weights.pth", blob_id(CONTENT))
    assert str(caught.value) == (
        f"{url}: cannot be downloaded (404 Client Error: Not Found for url: {url}); download it by other means and pass "
        "weights=FILE, or set CORDSTASKS_CACHE to a folder that holds weights.pth"
    )
    assert listing(tmp_path) == []


def test_no_server(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/weights.pth"
        with pytest.raises(InputError, match=rf"^{url}: cannot be downloaded \([^<]*refused[^>]*\); .*weights=FILE"):
            registry.download(url, tmp_path / "weights.pth", blob_id(CONTENT))
    assert listing(tmp_path) == []


def test_silent_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "TIMEOUT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as mute:  # accepts, and never answers
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/weights.pth"
        with pytest.raises(InputError, match=rf"^{url}: cannot be downloaded \(timed out\)"):
            registry.download(url, tmp_path / "weights.pth", blob_id(CONTENT))
    assert listing(tmp_path) == []


def test_a_server_that_stops_in_the_middle(site: Site, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "TIMEOUT_SECONDS", 0.2)
    site.sent, site.stalled = 300_007, threading.Event()
    try:
        with pytest.raises(InputError, match=rf"^{site.url}: cannot be downloaded \(timed out\); .*weights=FILE"):
            registry.locate("published")
    finally:
        site.stalled.set()
    assert listing(published.parent) == []


def test_interruption_leaves_no_file(site: Site, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = http.client.HTTPResponse.read
    seen = []

    def interrupted(response: http.client.HTTPResponse, size: int | None = None) -> bytes:
        seen.append(listing(published.parent))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return read(response, size)

    with monkeypatch.context() as patch:
        patch.setattr(http.client.HTTPResponse, "read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            registry.locate("published")
    assert [name.endswith(".part") for name in seen[-1]] == [True]  # it was under way
    assert listing(published.parent) == []
    assert registry.locate("published").read_bytes() == CONTENT


def test_two_downloads_at_once_both_end_well(site: Site, tmp_path: Path) -> None:
    site.meeting = threading.Barrier(2)
    target = tmp_path / "weights.pth"
    errors: list[Exception] = []

    def fetch() -> None:
        try:
            registry.download(site.url, target, blob_id(CONTENT))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert site.requests == ["/weights.pth"] * 2
    assert target.read_bytes() == CONTENT
    assert listing(tmp_path) == ["weights.pth"]


def test_replacement_refused(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows while another process has the target open: well if that is the published file, else an error."""

    def refuse(path: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    target = tmp_path / "weights.pth"
    target.write_bytes(CONTENT)
    registry.download(site.url, target, blob_id(CONTENT))
    target.write_bytes(b"the user's own")
    with pytest.raises(InputError, match=r"CORDSTASKS_CACHE=.*weights\.pth: cannot be written \(Permission denied\)"):
        registry.download(site.url, target, blob_id(CONTENT))
    assert listing(tmp_path) == ["weights.pth"]
    assert target.read_bytes() == b"the user's own"


def test_damaged_cached_file_is_named_and_kept(site: Site, published: Path) -> None:
    registry.locate("published")
    damaged = bytearray(CONTENT)
    damaged[len(damaged) // 2] ^= 1
    published.write_bytes(damaged)
    with pytest.raises(InputError) as caught:
        registry.locate("published")
    for part in (str(published), blob_id(CONTENT), blob_id(damaged), "move it away", "weights=FILE"):
        assert part in str(caught.value)
    assert published.read_bytes() == damaged
    assert site.requests == ["/weights.pth"]


def test_cached_file_put_there_by_hand_needs_no_network(site: Site, published: Path) -> None:
    published.parent.mkdir(parents=True)
    published.write_bytes(CONTENT)
    assert registry.locate("published") == published
    assert site.requests == []


def test_dangling_link_in_the_cache_is_kept(site: Site, published: Path) -> None:
    published.parent.mkdir(parents=True)
    try:
        published.symlink_to(published.parent / "unmounted")
    except OSError:
        pytest.skip("this system makes no symbolic links")
    with pytest.raises(InputError, match="cannot be read"):
        registry.locate("published")
    assert published.is_symlink()
    assert site.requests == []


def test_unwritable_cache_is_named(site: Site, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("CORDSTASKS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match=r"CORDSTASKS_CACHE=.*file.cache: cannot write there .*choose another folder"):
        registry.locate("published")
    assert site.requests == []


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="weights 'cordsnet-r8-imagnet' is unknown; did you mean 'cordsnet-r8-imagen"):
        registry.locate("cordsnet-r8-imagnet")


@pytest.mark.parametrize("path", ["gone/weights", "gone.pth", "./cordsnet-r8"])
def test_missing_file(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"^weights '{path}': file does not exist"):
        registry.locate(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; name the file in it"):
        registry.locate(tmp_path)


def test_a_file_is_located_as_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").write_bytes(b"weights")
    assert registry.locate(tmp_path / "own") == tmp_path / "own"
    monkeypatch.chdir(tmp_path)
    assert registry.locate("own") == Path("own")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert registry.locate("~/own") == tmp_path / "own"


def test_packaged_weights_come_from_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(registry.__file__).parent / "weights" == registry.PACKAGED_WEIGHTS
    monkeypatch.setattr(registry, "PACKAGED_WEIGHTS", tmp_path)
    with pytest.raises(InputError, match=r"cordsnet-r8\.safetensors is missing.*install cordstasks again"):
        registry.locate("cordsnet-r8")
    (tmp_path / "cordsnet-r8.safetensors").write_bytes(b"weights")
    assert registry.locate("cordsnet-r8") == tmp_path / "cordsnet-r8.safetensors"


def test_every_entry_can_be_got_and_checked() -> None:
    assert registry.names() == ("cordsnet-r8", "cordsnet-r8-scratch", "cordsnet-r8-imagenet")
    for name, entry in registry.REGISTRY.items():
        assert entry.name == name
        assert entry.packaged == (entry.url == "") == (entry.blob == "")
        if not entry.packaged:
            assert entry.url.startswith("https://")
            assert len(bytes.fromhex(entry.blob)) == 20
    files = [entry.file_name for entry in registry.REGISTRY.values()]
    assert len(set(files)) == len(files)


def test_git_blob_id_of_known_files(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    assert registry.git_blob_id(path) == EMPTY_BLOB
    path.write_bytes(b"hello world\n")
    assert registry.git_blob_id(path) == "3b18e512dba79e4c8300dd08aeb37f8e728b8dad"


def test_git_blob_id_agrees_with_git(tmp_path: Path) -> None:
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    command = [git, "hash-object", "--no-filters", str(path)]
    expected = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout.strip()
    assert registry.git_blob_id(path) == expected


def test_import_is_light() -> None:
    heavy = "{'torch', 'numpy', 'tqdm', 'neurogym'}"
    code = f"import sys, cordstasks.cordsnet.pretrained; print(sorted({heavy} & set(sys.modules)))"
    root = Path(registry.__file__).parent.parent
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root).stdout
    assert found.strip() == "[]"
