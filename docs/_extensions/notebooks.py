"""Hook of the documentation: the notebooks of examples/ as pages with their stored outputs, and a gallery of them.

The notebooks are turned into Markdown, so that search, links, code and colours are those of all pages, and nothing is
fetched from elsewhere. They are not run. Where a page says ``{{ notebooks }}``, cards of all of them are shown.
"""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FOLDER = "notebooks"
THUMBNAIL = (480, 300)  # px, of a card
FIRST = ("random_dots", "numerosity", "cat_dog", "memory_saccade")  # as in the navigation; others follow


@dataclass
class Notebook:
    """A notebook as Markdown, and its pictures."""

    name: str
    title: str = ""
    lead: str = ""
    markdown: str = ""
    pictures: list[tuple[bytes, str]] = field(default_factory=list)  # PNG files, each with what it shows

    @classmethod
    def read(cls, path: Path) -> Notebook:
        """A stored notebook."""
        found, heading, parts = cls(path.stem), "", []
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"]).strip()
            if cell["cell_type"] == "markdown":
                headings = re.findall(r"(?m)^#+ +(.+)$", source)
                heading = headings[-1] if headings else heading
                if not found.title and headings:
                    found.title = headings[0]
                    found.lead = " ".join(source.split("\n\n")[1].split()) if "\n\n" in source else ""
                parts.append(source)
                continue
            if source:
                parts.append(f"```python\n{source}\n```")
            printed = "".join("".join(output["text"]) for output in cell["outputs"] if output.get("name") == "stdout")
            if printed.strip():
                parts.append(f"```text\n{printed.rstrip()}\n```")
            for output in cell["outputs"]:
                data = output.get("data", {})
                if "image/png" in data:
                    parts.append(found._add(base64.b64decode("".join(data["image/png"])), heading))
                elif "text/plain" in data:
                    parts.append(f"```text\n{''.join(data['text/plain']).rstrip()}\n```")
        note = f'!!! note "This page is the notebook `examples/{path.name}` with its stored outputs."\n'
        found.markdown = "\n\n".join([*parts[:1], note, *parts[1:]]) + "\n"
        return found

    def _add(self, content: bytes, heading: str) -> str:
        """Keep a picture; its Markdown."""
        number = len(self.pictures) + 1
        text = f"Figure {number}: {heading}".replace("[", "(").replace("]", ")")
        self.pictures.append((content, text))
        return f"![{text}]({self.name}-{number}.png){{ #figure-{number} }}"

    def card(self) -> str:
        """A card of the gallery: the last picture, the title, the beginning, and small pictures of all figures."""
        page = f"{FOLDER}/{self.name}.md"
        sentence = re.split(r"(?<=[a-z)][.?!]) (?=[A-Z])", self.lead, maxsplit=1)[0]
        small = " ".join(
            f"[![{text}]({FOLDER}/{self.name}-{number}-small.png){{ .small }}]({page}#figure-{number})"
            for number, (_, text) in enumerate(self.pictures, 1)
        )
        cover = f"[![{self.pictures[-1][1]}]({FOLDER}/{self.name}-{len(self.pictures)}-small.png)]({page})"
        return f"-   {cover}\n\n    **[{self.title}]({page})**\n\n    {sentence}\n\n    {small}\n"


_notebooks: list[Notebook] = []


def on_config(config: Any) -> Any:
    """Put notebooks that the navigation does not name at the end of its gallery."""
    gallery = next(section["Gallery"] for section in config["nav"] if "Gallery" in section)
    named = {path for entry in gallery if isinstance(entry, dict) for path in entry.values()}
    pages = [f"{FOLDER}/{path.stem}.md" for path in sorted(EXAMPLES.glob("*.ipynb"))]
    gallery += [page for page in pages if page not in named]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add a page for each notebook, its pictures, and their small versions."""
    paths = sorted(EXAMPLES.glob("*.ipynb"))
    paths.sort(key=lambda path: FIRST.index(path.stem) if path.stem in FIRST else len(FIRST))
    _notebooks[:] = [Notebook.read(path) for path in paths]
    for notebook in _notebooks:
        files.append(File.generated(config, f"{FOLDER}/{notebook.name}.md", content=notebook.markdown))
        for number, (content, _) in enumerate(notebook.pictures, 1):
            stem = f"{FOLDER}/{notebook.name}-{number}"
            files.append(File.generated(config, f"{stem}.png", content=content))
            files.append(File.generated(config, f"{stem}-small.png", content=_small(content)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the cards where a line says ``{{ notebooks }}``."""
    cards = "\n".join(["<div class='grid cards gallery' markdown>", "", *(each.card() for each in _notebooks), "</div>"])
    return re.sub(r"(?m)^\{\{ notebooks \}\}$", lambda _: cards, markdown)


def _small(content: bytes) -> bytes:
    """A picture of the size of a thumbnail: its upper left part on white."""
    with Image.open(io.BytesIO(content)) as image:
        whole = Image.new("RGB", image.size, "white")
        whole.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
    width, height = THUMBNAIL
    whole = whole.resize((width, round(whole.height * width / whole.width)), Image.Resampling.LANCZOS)
    if whole.height > height:
        whole = whole.crop((0, 0, width, height))
    stream = io.BytesIO()
    whole.save(stream, format="PNG", optimize=True)
    return stream.getvalue()
