"""Reading of HTML pages, and what every report promises."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "hr"}


class Reader(HTMLParser):
    """Parses a page; fails if tags are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def assert_whole(text: str) -> Reader:
    """A page needs nothing beside it: no script, no address but its own anchors, every picture with a text."""
    reader = Reader(text)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in reader.tags}
    anchors = {attributes["id"] for _, attributes in reader.tags if "id" in attributes}
    for tag, attributes in reader.tags:
        assert not {name for name in attributes if name.startswith("on")}, tag
        for name in ("src", "href", "srcset", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:image/") or value[1:] in anchors, value
    (style,) = [part for part in reader.texts if "prefers-color-scheme: dark" in part]
    assert "url(" not in style
    assert "@import" not in style
    assert "@media print" in style
    for image in reader.all("img"):
        assert (image["alt"] or "").strip()
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in reader.all("meta")
    return reader
