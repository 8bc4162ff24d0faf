"""Reports as one HTML file: nothing is fetched, everything is escaped, every picture has a text, and bytes repeat."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from matplotlib.figure import Figure

from cordstasks.analysis import figures
from cordstasks.errors import InputError
from cordstasks.utils.html import Code, Fold, Paragraph, Picture, Section, Table, described_in, page, shown, tables_of
from html_reader import assert_whole

NASTY = "<script>alert('1')</script> & \"quoted\" </table>"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def drawing(title: str = "accuracy & more", y: tuple[float, ...] = (0.5, 0.75)) -> Figure:
    figure = Figure()
    axis = figure.add_subplot()
    axis.set_title(title)
    axis.plot([1, 2][: len(y)], y, label="full")
    axis.set(xlabel="coherence", ylabel="accuracy")
    return figure


def png(tmp_path: Any, figure: Figure) -> bytes:
    figures.save(figure, tmp_path / "figure.png")
    return bytes((tmp_path / "figure.png").read_bytes())


class TestPage:
    def test_every_text_is_escaped(self, tmp_path: Any):
        parts = [
            Paragraph(NASTY),
            Code(NASTY, NASTY),
            Table([NASTY, "b"], [[NASTY, 1]], NASTY),
            Picture(png(tmp_path, drawing()), NASTY, NASTY),
            Fold(NASTY, [Paragraph(NASTY)]),
        ]
        reader = assert_whole(page(NASTY, [Section(NASTY, parts)], lead=NASTY))
        assert "".join(reader.texts).count(NASTY) == 13
        assert [image["alt"] for image in reader.all("img")] == [NASTY]

    def test_pictures_are_in_the_file(self, tmp_path: Any):
        content = png(tmp_path, drawing())
        reader = assert_whole(page("a", [Section("b", [Picture(content, "one"), Picture(SVG, "two")])]))
        first, second = reader.all("img")
        assert base64.b64decode((first["src"] or "").partition("base64,")[2]) == content
        assert (first["src"] or "").startswith("data:image/png;")
        assert (first["width"], first["height"]) == ("960", "720")  # Matplotlib's 6.4 x 4.8 inches at 150 dpi
        assert base64.b64decode((second["src"] or "").partition("data:image/svg+xml;base64,")[2]) == SVG

    def test_sections_of_one_title_have_anchors_of_their_own(self):
        reader = assert_whole(page("a", [Section(title, [Paragraph("c")]) for title in ("Ü!", "b b", "b b")]))
        assert [each["href"] for each in reader.all("a")] == ["#section", "#b-b", "#b-b-2"]

    def test_sections_without_parts_are_left_out(self):
        assert "Empty" not in page("a", [Section("Empty", []), Section("b", [Paragraph("c")])])

    @pytest.mark.parametrize(
        ("content", "text", "message"),
        [(SVG, " ", "text='': a picture needs an alternative text"), (b"GIF89a", "a", "neither a PNG nor an SVG file")],
    )
    def test_pictures_that_cannot_be_shown(self, content: bytes, text: str, message: str):
        with pytest.raises(InputError, match=message):
            Picture(content, text)


class TestTables:
    def test_everything_in_a_nested_mapping_is_there_once(self):
        value = {
            "accuracy": 0.123456,
            "interval": [0.1, 0.25],
            "none": None,
            "lapse_rate": {"left": 1, "deeper": {"right": True}},
            "rows": [{"a": 1}, {"b_b": "x"}],
            "many": list(range(13)),
            "few": ["p", 2],
            "nothing": {},
        }
        found = {
            table.title: (list(table.columns), [list(map(shown, row)) for row in table.rows]) for table in tables_of(value)
        }
        names = ["name", "value"]
        assert found == {
            "": (
                names,
                [
                    ["accuracy", "0.1235"],
                    ["interval", "0.1 to 0.25"],
                    ["none", "none"],
                    ["many", "13 values"],
                    ["few", "p, 2"],
                    ["nothing", "none"],
                ],
            ),
            "lapse rate": (names, [["left", "1"]]),
            "lapse rate, deeper": (names, [["right", "yes"]]),
            "rows": (["a", "b b"], [["1", "none"], ["none", "x"]]),
        }

    def test_what_is_no_number_is_not_shown_as_one(self):
        assert [shown(value) for value in (float("nan"), float("inf"), False, 12345.678)] == [
            "none",
            "none",
            "no",
            "1.235e+04",
        ]


class TestDescriptions:
    def test_saved_figures_hold_theirs(self, tmp_path: Any):
        figure = drawing()
        text = "accuracy & more; accuracy against coherence; full goes from 0.5 at 1 to 0.75 at 2."
        assert figures.describe(figure) == text
        assert described_in(png(tmp_path, figure)) == text
        figures.save(figure, tmp_path / "figure.svg")
        assert "accuracy &amp; more; accuracy against" in (tmp_path / "figure.svg").read_text()

    def test_panels_bars_and_legends(self):
        figure = Figure()
        figure.suptitle("all of it")
        left, right = figure.subplots(1, 2)
        left.plot([3], [4], label="point")
        left.plot([1, 2], [1, 2])
        image = right.imshow([[1, 2, 3], [4, 5, 6]])
        right.set_title("map", loc="left")
        figure.colorbar(image, ax=right).set_label("distance $d_1$")
        figure.legend(left.lines[:1], ["the point"])
        assert figures.describe(figure) == (
            "all of it. 2 panels. Panel 1: point: 4 at 3. Panel 2: map. Colours show distance d 1. Legend: the point."
        )

    def test_points_with_error_bars_and_lines_across(self):
        figure = Figure()
        axis = figure.add_subplot()
        axis.errorbar([1, 2, 4], [0.5, 0.25, 0.75], yerr=0.1, label="choices", linestyle="none", marker="o")
        axis.axhline(0.5, label="chance")
        axis.axvline(3, label="threshold")
        axis.legend()
        assert figures.describe(figure) == "choices goes from 0.5 at 1 to 0.75 at 4; chance at 0.5; threshold at 3."

    def test_a_long_one_is_cut_between_words(self):
        text = figures.describe(drawing("word " * 400))
        assert len(text) <= 900
        assert text.endswith("word...")

    def test_lines_without_numbers_are_left_out(self):
        assert "goes from" not in figures.describe(drawing(y=(float("nan"), float("nan"))))

    @pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\nand then nothing", SVG])
    def test_files_without_one(self, content: bytes):
        assert described_in(content) == ""

    def test_pictures_of_other_programs(self):
        from PIL import Image

        stream = io.BytesIO()
        Image.new("RGB", (2, 3)).save(stream, format="PNG")
        assert described_in(stream.getvalue()) == ""
