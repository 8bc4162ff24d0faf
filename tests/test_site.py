"""The documentation as a site: whole, without anything from elsewhere, and as a real browser shows it."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

import browser
from helpers import ROOT

pytestmark = pytest.mark.slow
SIZES = {"desktop": (1280, 900, False), "phone": (390, 844, True)}  # width, height, dark


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site: the one that the variable CORDSTASKS_SITE names, or a new one."""
    if os.environ.get("CORDSTASKS_SITE"):
        return Path(os.environ["CORDSTASKS_SITE"])
    pytest.importorskip("mkdocs", reason="the documentation needs cordstasks[docs]")
    pytest.importorskip("material", reason="the documentation needs cordstasks[docs]")
    folder = tmp_path_factory.mktemp("site")
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": paths}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@dataclass
class Page(HTMLParser):
    """What a page refers to."""

    text: str
    links: list[str] = field(default_factory=list)  # addresses that a reader may follow
    parts: list[str] = field(default_factory=list)  # addresses that the browser fetches by itself
    anchors: set[str] = field(default_factory=set)
    unnamed: list[str] = field(default_factory=list)  # pictures without an alternative text

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("prev", "next", "canonical"):
            self.parts.append(given["href"])
        elif "src" in given:
            self.parts.append(given["src"])
            if tag == "img" and not given.get("alt", "").strip():
                self.unnamed.append(given["src"])


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    """By address within the site."""
    found = {}
    for path in sorted(site.rglob("*.html")):
        if path.name != "404.html":  # its addresses are those of a site at the root of a server
            found["/" + path.relative_to(site).as_posix().removesuffix("index.html")] = Page(
                path.read_text(encoding="utf-8")
            )
    return found


class TestFiles:
    def test_there_is_a_page_for_everything(self, pages: dict[str, Page]):
        for path in (ROOT / "docs").rglob("*.md"):
            name = path.relative_to(ROOT / "docs").with_suffix("").as_posix()
            assert ("/" if name == "index" else f"/{name}/") in pages
        for path in (ROOT / "examples").glob("*.ipynb"):
            assert f"/notebooks/{path.stem}/" in pages

    def test_links_lead_somewhere(self, site: Path, pages: dict[str, Page]):
        broken = []
        for name, page in pages.items():
            for link in [*page.links, *page.parts]:
                if urlsplit(link).scheme or link.startswith("//"):
                    continue
                target, anchor = urldefrag(urljoin(name, link))
                target = unquote(target)
                file = site / target.lstrip("/")
                if not (file / "index.html" if target.endswith("/") else file).is_file():
                    broken.append(f"{name}: {link}")
                elif anchor and target in pages and unquote(anchor) not in pages[target].anchors | {"__skip"}:
                    broken.append(f"{name}: {link} (no such anchor)")
        assert not broken, "\n".join(broken)

    def test_nothing_is_fetched_from_elsewhere(self, site: Path, pages: dict[str, Page]):
        outside = [f"{name}: {part}" for name, page in pages.items() for part in page.parts if urlsplit(part).scheme]
        assert not [each for each in outside if ": data:" not in each]
        for path in site.rglob("*.css"):
            addresses = re.findall(r"url\(['\"]?([^)'\"]+)|@import\s+['\"]([^'\"]+)", path.read_text(encoding="utf-8"))
            assert not [found for pair in addresses for found in pair if found.startswith(("http", "//"))], path

    def test_pictures_have_texts(self, pages: dict[str, Page]):
        assert not {name: page.unnamed for name, page in pages.items() if page.unnamed}

    def test_the_gallery_shows_every_figure_of_every_notebook(self, pages: dict[str, Page]):
        import json

        links = {urljoin("/gallery/", link) for link in pages["/gallery/"].links}
        for path in (ROOT / "examples").glob("*.ipynb"):
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            outputs = [output for cell in cells for output in cell.get("outputs", [])]
            count = sum("image/png" in output.get("data", {}) for output in outputs)
            assert count
            assert {f"/notebooks/{path.stem}/#figure-{number}" for number in range(1, count + 1)} <= links


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The site on a server of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[browser.Browser]:
    if browser.program() is None:
        pytest.skip("there is no Chromium; Debian's package is chromium, or set the variable CHROMIUM to the program")
    with browser.browser() as made:
        yield made


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where screenshots go. To look at whole pages, let the variable CORDSTASKS_SCREENSHOTS name a folder."""
    folder = Path(os.environ.get("CORDSTASKS_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


BROKEN = "[...document.images].filter(each => !each.complete || !each.naturalWidth).map(each => each.src)"
LUMINANCE = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3).map(Number)"


class TestInABrowser:
    @pytest.mark.parametrize("size", SIZES)
    def test_every_page(self, size: str, chromium: browser.Browser, address: str, pages: dict[str, Page], shots: Path):
        width, height, dark = SIZES[size]
        chromium.size(width, height, dark=dark)
        found = []
        for name in pages:
            chromium.open(address + name)
            found += [f"{name}: {problem}" for problem in chromium.problems]
            found += [f"{name}: broken picture {source}" for source in chromium.value(BROKEN)]
            elsewhere = [each for each in chromium.requests() if not each.startswith((address, "data:"))]
            found += [f"{name}: asks for {each}" for each in elsewhere]
            shown = chromium.value("document.documentElement.scrollWidth")
            if shown > width:
                found.append(f"{name}: {shown} px wide on a screen of {width}")
            path = shots / f"{name.strip('/').replace('/', '-') or 'index'}-{size}.png"
            chromium.screenshot(path, whole="CORDSTASKS_SCREENSHOTS" in os.environ)  # a whole page may be 40 screens long
        assert not found, "\n".join(found)
        assert len(list(shots.glob(f"*-{size}.png"))) == len(pages)
        assert (max(chromium.value(LUMINANCE)) < 80) == dark

    @pytest.mark.parametrize(("size", "visible"), [("desktop", "wide"), ("phone", "tall")])
    def test_the_start_page_shows_the_picture_that_fits(
        self, size: str, visible: str, chromium: browser.Browser, address: str
    ):
        width, height, dark = SIZES[size]
        chromium.size(width, height, dark=dark)
        chromium.open(address + "/")
        widths = {
            kind: chromium.value(f"document.querySelector('.only-{kind} svg').clientWidth") for kind in ("wide", "tall")
        }
        assert 250 < widths.pop(visible) < width
        assert list(widths.values()) == [0]

    @pytest.mark.parametrize(("words", "page"), [("Weibull threshold", "psychophysics"), ("shared histories", "concepts")])
    def test_search_finds(self, words: str, page: str, chromium: browser.Browser, address: str):
        chromium.size(*SIZES["desktop"][:2])
        chromium.open(address + "/")
        chromium.value("document.querySelector('.md-search__input').focus()")
        chromium.call("Input.insertText", text=words)
        chromium.wait("document.querySelectorAll('.md-search-result__item').length > 0")
        found = chromium.value("[...document.querySelectorAll('.md-search-result__link')].map(each => each.href)")
        assert any(f"/{page}/" in each for each in found), found
        assert chromium.problems == []
