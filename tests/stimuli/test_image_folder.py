"""A user's own pictures: a table or a folder for each category, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cordstasks.errors import InputError
from cordstasks.stimuli import Display, ImageFolder

DISPLAY = Display(pixels=32, field_of_view=8.0)  # 4 px/deg


def save(path: Path, colour: tuple[int, ...], size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGBA" if len(colour) == 4 else "RGB", size, colour).save(path)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Five pictures of a morph line, listed out of order."""
    rows = ["file,category,morph,line"]
    for level in (100, 0, 60, 20, 80):
        save(tmp_path / "set" / f"m{level}.png", (level, 100, 200))
        rows.append(f"set/m{level}.png,{'zebra' if level < 50 else 'ape'},{level / 100},a-b")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    for name, count in (("cats", 3), ("dogs", 2)):
        for number in range(count):
            save(tmp_path / name / f"{number}.jpg", (0, 40 * number, 250), size=(50, 20 + 10 * number))
    return tmp_path


class TestTable:
    def test_files_categories_morphs_and_lines(self, table: Path):
        folder = ImageFolder(table)
        assert folder.categories == ("zebra", "ape")  # the one of lower morph levels first
        found = [(p.file.name, p.category, p.morph, p.line) for p in folder.pictures]
        assert found[:3] == [("m100.png", 1, 1.0, "a-b"), ("m0.png", 0, 0.0, "a-b"), ("m60.png", 1, 0.6, "a-b")]
        assert folder.image(2, DISPLAY)[16, 16].tolist() == [60, 100, 200]

    def test_a_line_is_optional_and_a_byte_order_mark_is_no_letter(self, table: Path):
        text = (table / "labels.csv").read_text().replace(",line", "").replace(",a-b", "")
        (table / "labels.csv").write_text(text, encoding="utf-8-sig")
        assert {picture.line for picture in ImageFolder(str(table)).pictures} == {""}

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("morph", "level", r"labels.csv: has no column 'morph'; give file, category, morph"),
            ("set/m60.png", "set/m61.png", r"labels.csv, line 4: there is no file .*m61.png"),
            ("set/m60.png", "", r"labels.csv, line 4: has no file"),
            (
                "ape,0.6",
                "ape,60",
                r"labels.csv, line 4: morph is '60'; give the fraction of the second category, from 0 to 1",
            ),
            ("ape,0.6", "ape,", r"labels.csv, line 4: morph is ''; give"),
            ("ape,0.6", ",0.6", r"labels.csv, line 4: has no category"),
            ("ape,0.6", "cow,0.6", r"has 3 categories \(ape, cow, zebra\); give two"),
            ("set/m60.png,ape,0.6,a-b\n", "", r"m60.png: is not labelled; give it a row in labels.csv"),
            ("set/m60.png", "set/m80.png", r"labels.csv: lists a file twice"),
        ],
    )
    def test_what_is_wrong_is_named(self, table: Path, old: str, new: str, message: str):
        text = (table / "labels.csv").read_text()
        assert old in text
        (table / "labels.csv").write_text(text.replace(old, new))
        with pytest.raises(InputError, match=message):
            ImageFolder(table)

    def test_hidden_copies_are_neither_pictures_nor_tables(self, table: Path):
        (table / "._labels.csv").write_bytes(b"\x00\x05\x16\x07")
        for name in (".ipynb_checkpoints/m0-checkpoint.png", "__MACOSX/set/m0.png", "set/._m0.png"):
            save(table / name, (1, 2, 3))
        assert len(ImageFolder(table).pictures) == 5

    def test_two_tables_are_one_too_many(self, table: Path):
        (table / "other.csv").write_text("file,category,morph\n")
        with pytest.raises(InputError, match=r"has 2 tables"):
            ImageFolder(table)


class TestClasses:
    def test_each_folder_is_a_category(self, classes: Path):
        folder = ImageFolder(classes)
        assert folder.categories == ("cats", "dogs")
        assert [(p.category, p.morph) for p in folder.pictures] == [(0, 0.0)] * 3 + [(1, 1.0)] * 2

    def test_photographs_beside_the_folders_are_not_labelled(self, classes: Path):
        save(classes / "stray.png", (1, 2, 3))
        with pytest.raises(InputError, match=r"stray.png: is not labelled; put it in the folder of its category"):
            ImageFolder(classes)

    def test_hidden_copies_are_neither_pictures_nor_categories(self, classes: Path):
        before = ImageFolder(classes).pictures
        for name in (".ipynb_checkpoints", "__MACOSX", "cats/.ipynb_checkpoints", "dogs/@eaDir/0.jpg"):
            save(classes / name / "0-checkpoint.jpg", (1, 2, 3))
        for name in ("cats/._0.jpg", "dogs/.0.jpg", ".stray.png"):
            save(classes / name, (1, 2, 3))
        (classes / "Thumbs.db").touch()
        assert ImageFolder(classes).pictures == before

    def test_two_folders_with_pictures_are_needed(self, classes: Path):
        (classes / "cows").mkdir()
        with pytest.raises(InputError, match=r"and 3 folders; give a table, or two folders of pictures"):
            ImageFolder(classes)
        for path in (classes / "cats").iterdir():
            path.unlink()
        (classes / "cows").rmdir()
        with pytest.raises(InputError, match=r"cats: holds no pictures \(.bmp"):
            ImageFolder(classes)
        with pytest.raises(InputError, match=r"stimuli_dir .*nowhere: there is no such folder"):
            ImageFolder(classes / "nowhere")

    @pytest.mark.parametrize("damage", ["text", "cut", "empty"])
    def test_a_damaged_picture_is_named(self, classes: Path, damage: str):
        path = classes / "dogs" / "1.jpg"
        whole = path.read_bytes()
        path.write_bytes({"text": b"no picture", "cut": whole[: len(whole) // 2], "empty": b""}[damage])
        with pytest.raises(InputError, match=r"dogs/1.jpg: cannot be read as a picture \(.+\); replace or remove it"):
            ImageFolder(classes)


class TestPictures:
    def test_the_central_square_is_shown_where_and_as_large_as_asked(self, tmp_path: Path):
        wide = np.zeros((20, 60, 3), np.uint8)
        wide[:, 20:40] = (10, 200, 90)  # what is left of it is this square
        (tmp_path / "a").mkdir()
        Image.fromarray(wide).save(tmp_path / "a" / "wide.png")
        save(tmp_path / "b" / "clear.png", (50, 60, 70, 0))
        folder = ImageFolder(tmp_path)
        image = folder.image(0, DISPLAY, size=3.0, x=-1.5, y=1.0)
        expected = np.zeros((32, 32, 3), np.uint8)
        expected[6:18, 4:16] = (10, 200, 90)  # 12 px about column 10 and row 12
        assert np.array_equal(image, expected)
        assert not folder.image(1, DISPLAY).any()  # what is transparent shows the black screen

    def test_sixteen_bits_and_the_cameras_orientation_are_heeded(self, tmp_path: Path):
        exif = Image.Exif()
        exif[274] = 6  # held upright: the stored left is the top
        ramp = np.linspace(0, 65535, 32).astype(np.uint16)
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            Image.fromarray(np.tile(ramp, (32, 1))).save(tmp_path / name / "0.png", exif=exif)
        image = ImageFolder(tmp_path).image(0, DISPLAY, size=8.0)[:, :, 0]
        np.testing.assert_allclose(image, np.tile(ramp[:, None] / 257, (1, 32)), atol=1)

    def test_what_does_not_fit_is_refused(self, classes: Path):
        folder = ImageFolder(classes)
        with pytest.raises(InputError, match=r"size is 9 deg at \(0, 0\) deg: the picture leaves the screen of 8 deg"):
            folder.image(0, DISPLAY, size=9.0)
        with pytest.raises(InputError, match=r"size is -1.0; give a number above 0"):
            folder.image(0, DISPLAY, size=-1.0)
