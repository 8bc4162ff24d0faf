"""One reader of picture files: every kind of pixel, orientation, damage; and which files of a folder are pictures."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cordstasks.errors import InputError
from cordstasks.stimuli import read_picture
from cordstasks.stimuli.pictures import is_hidden, picture_files, visible

GREY = np.linspace(0, 255, 12).round().astype(np.uint8).reshape(3, 4)  # black at the upper left, white at the lower right
GREY16 = np.linspace(0, 65535, 12).round().astype(np.uint16).reshape(3, 4)
RGB = np.stack([GREY, GREY[::-1], np.full_like(GREY, 77)], axis=-1)
ORIENTED = {  # EXIF orientation: what a viewer does with the stored array
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: lambda a: np.rot90(a, 1),
}


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def write_png(
    path: Path, values: np.ndarray, *, bits: int, colour: int, more: bytes = b"", size: tuple[int, int] | None = None
):
    """A PNG of rows (height, bytes) as the standard says, for kinds that Pillow does not write."""
    width, height = size or (values.shape[1], values.shape[0])
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + more + body)
    return path


def grey(picture: np.ndarray) -> np.ndarray:
    """The grey levels (height, width) of a picture that must have no colour."""
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    assert (picture == picture[:, :, :1]).all()
    return picture[:, :, 0]


class TestPixels:
    @pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.gif"])
    def test_eight_bits_stay_as_they_are(self, tmp_path: Path, name: str):
        Image.fromarray(GREY).save(tmp_path / name)
        np.testing.assert_array_equal(grey(read_picture(tmp_path / name)), GREY)
        if not name.endswith("gif"):
            Image.fromarray(RGB).save(tmp_path / name)
            np.testing.assert_array_equal(read_picture(tmp_path / name), RGB)

    @pytest.mark.parametrize("bits", [1, 2, 4])
    def test_fewer_bits_reach_from_black_to_white(self, tmp_path: Path, bits: int):
        most = 2**bits - 1
        row = np.array([[most << (8 - 2 * bits)]], np.uint8)  # black, white
        picture = read_picture(write_png(tmp_path / "a.png", row, bits=bits, colour=0, size=(2, 1)))
        assert grey(picture).tolist() == [[0, 255]]

    @pytest.mark.parametrize("order", ["<u2", ">u2"])
    def test_sixteen_bits_of_grey_are_scaled(self, tmp_path: Path, order: str):
        picture = Image.fromarray(GREY16.astype(order))
        picture.save(tmp_path / "a.tif")
        np.testing.assert_array_equal(grey(read_picture(tmp_path / "a.tif")), GREY)
        write_png(tmp_path / "a.png", GREY16.astype(">u2"), bits=16, colour=0)
        np.testing.assert_array_equal(grey(read_picture(tmp_path / "a.png")), GREY)

    def test_twelve_bits_of_grey_are_scaled_from_their_own_white(self, tmp_path: Path):
        tags = {256: 2, 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 3}
        entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
        pixels = bytes([0xFF, 0xF8, 0x00])  # 4095 and 2048
        file = b"II*\0" + struct.pack("<I", 12) + pixels + b"\0" + struct.pack("<H", len(tags)) + entries + bytes(4)
        (tmp_path / "a.tif").write_bytes(file)
        assert grey(read_picture(tmp_path / "a.tif")).tolist() == [[255, 128]]

    @pytest.mark.parametrize("kind", ["sixteen bits", "float"])
    def test_white_may_be_zero(self, tmp_path: Path, kind: str):
        values = GREY16 if kind == "sixteen bits" else (GREY16 / 65535).astype(np.float32)
        Image.fromarray(values).save(tmp_path / "a.tif")
        file, tag = (tmp_path / "a.tif").read_bytes(), struct.Struct("<HHIHH")
        assert tag.pack(262, 3, 1, 1, 0) in file
        (tmp_path / "a.tif").write_bytes(file.replace(tag.pack(262, 3, 1, 1, 0), tag.pack(262, 3, 1, 0, 0)))
        np.testing.assert_array_equal(grey(read_picture(tmp_path / "a.tif")), 255 - GREY)

    def test_sixteen_bits_of_colour_are_scaled(self, tmp_path: Path):
        colour = np.stack([GREY16, GREY16[::-1], np.full_like(GREY16, 77 * 257)], axis=-1)
        opaque = np.full((3, 4, 1), 65535)
        for kind, values in ((2, colour), (6, np.concatenate([colour, opaque], axis=-1))):
            picture = read_picture(write_png(tmp_path / "a.png", values.astype(">u2"), bits=16, colour=kind))
            np.testing.assert_allclose(picture, RGB.astype(int), atol=1)

    def test_floating_point_pixels_are_scaled_from_one(self, tmp_path: Path):
        Image.fromarray((GREY16 / 65535).astype(np.float32)).save(tmp_path / "a.tif")
        np.testing.assert_array_equal(grey(read_picture(tmp_path / "a.tif")), GREY)

    @pytest.mark.parametrize("worst", [255.0, -0.5, np.nan, np.inf])
    def test_floating_point_pixels_of_another_range_are_refused(self, tmp_path: Path, worst: float):
        values = (GREY16 / 65535).astype(np.float32)
        values[1, 2] = worst
        Image.fromarray(values).save(tmp_path / "a.tif")
        with pytest.raises(InputError, match=r"a.tif: has floating-point pixels from .*; scale them to the range from 0 \("):
            read_picture(tmp_path / "a.tif")

    def test_whole_numbers_of_which_none_is_white_are_refused(self, tmp_path: Path):
        Image.fromarray(GREY16.astype(np.int32)).save(tmp_path / "a.tif")
        with pytest.raises(InputError, match=r"a.tif: has pixels of 32 bits or with a sign, .*; save it with 8 or 16 bits"):
            read_picture(tmp_path / "a.tif")

    def test_inks_are_colours(self, tmp_path: Path):
        Image.fromarray(RGB).convert("CMYK").save(tmp_path / "a.tif")
        np.testing.assert_allclose(read_picture(tmp_path / "a.tif"), RGB.astype(int), atol=1)

    def test_what_is_transparent_is_black(self, tmp_path: Path):
        clear = np.zeros((3, 4), bool)
        clear[2, 3] = True  # the lower right, where there is colour
        expected = np.where(clear[:, :, None], 0, RGB)
        alpha = np.where(clear, 0, 255).astype(np.uint8)[:, :, None]
        Image.fromarray(np.concatenate([RGB, alpha], axis=-1)).save(tmp_path / "rgba.png")
        np.testing.assert_array_equal(read_picture(tmp_path / "rgba.png"), expected)
        Image.fromarray(np.concatenate([GREY[:, :, None], alpha], axis=-1)).save(tmp_path / "la.png")
        np.testing.assert_array_equal(grey(read_picture(tmp_path / "la.png")), np.where(clear, 0, GREY))
        palette = Image.fromarray(RGB).quantize(12)
        for name in ("p.png", "p.gif"):
            palette.save(tmp_path / name, transparency=palette.getpixel((3, 2)))
            picture = read_picture(tmp_path / name)
            np.testing.assert_array_equal(picture[~clear], np.asarray(palette.convert("RGB"))[~clear])
            assert not picture[clear].any()
        white = chunk(b"tRNS", struct.pack(">H", 65535))
        write_png(tmp_path / "l.png", GREY16.astype(">u2"), bits=16, colour=0, more=white)
        np.testing.assert_array_equal(grey(read_picture(tmp_path / "l.png")), np.where(clear, 0, GREY))

    def test_the_caller_may_write_into_the_array(self, tmp_path: Path):
        Image.fromarray(RGB).save(tmp_path / "a.png")
        assert read_picture(str(tmp_path / "a.png")).flags.writeable


class TestOrientation:
    @pytest.mark.parametrize("orientation", ORIENTED)
    @pytest.mark.parametrize("name", ["a.png", "a.tif", "lzw.tif", "a.webp", "a.jpg"])
    def test_a_picture_stands_as_its_camera_was_held(self, tmp_path: Path, name: str, orientation: int):
        values = np.kron(GREY, np.ones((16, 16), np.uint8))  # blocks that JPEG keeps
        exif = Image.Exif()
        exif[274] = orientation
        how = {"a.webp": {"lossless": True}, "lzw.tif": {"compression": "tiff_lzw"}}.get(name, {})
        Image.fromarray(values).save(tmp_path / name, exif=exif, **how)
        expected = ORIENTED[orientation](values).astype(int)
        np.testing.assert_allclose(grey(read_picture(tmp_path / name)), expected, atol=6 if name == "a.jpg" else 0)

    def test_so_does_one_of_sixteen_bits(self, tmp_path: Path):
        exif = Image.Exif()
        exif[274] = 6
        for name in ("a.png", "a.tif"):
            Image.fromarray(GREY16).save(tmp_path / name, exif=exif)
            np.testing.assert_array_equal(grey(read_picture(tmp_path / name)), np.rot90(GREY, -1))


class TestRefusals:
    @pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.webp", "a.bmp", "a.tif"])
    def test_damage_is_named_in_one_line(self, tmp_path: Path, name: str):
        path = tmp_path / name
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
        whole = path.read_bytes()
        for damaged in (whole[: len(whole) // 2], whole[:10], b"", b"<html>no picture</html>"):
            path.write_bytes(damaged)
            with pytest.raises(
                InputError, match=rf"{name}: cannot be read as a picture \(.+\); replace or remove it"
            ) as caught:
                read_picture(path)
            assert "\n" not in str(caught.value)

    def test_the_reason_is_given_in_words(self, tmp_path: Path):
        (tmp_path / "empty.png").touch()
        (tmp_path / "words.png").write_text("no picture")
        (tmp_path / "folder.png").mkdir()
        (tmp_path / "link.png").symlink_to(tmp_path / "nothing.png")
        for name, reason in (
            ("empty.png", "the file is empty"),
            ("words.png", "its content is in no known format"),
            ("folder.png", "Is a directory"),
            ("link.png", "No such file or directory"),
        ):
            with pytest.raises(InputError, match=rf"{name}: cannot be read as a picture \({reason}\)"):
                read_picture(tmp_path / name)

    def test_a_misleading_name_does_no_harm(self, tmp_path: Path):
        Image.fromarray(RGB).save(tmp_path / "a.png")
        (tmp_path / "a.png").rename(tmp_path / "a.jpg")
        np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg"), RGB)

    @pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
    def test_an_animation_is_no_picture(self, tmp_path: Path, name: str):
        frames = [Image.fromarray(np.full((5, 6), level, np.uint8)) for level in (0, 100, 200)]
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.raises(InputError, match=rf"{name}: is an animation; save one of its frames as a still picture"):
            read_picture(tmp_path / name)

    def test_a_scan_that_is_too_large_is_named(self, tmp_path: Path):
        scan = write_png(tmp_path / "scan.png", np.zeros((14000, 1750), np.uint8), bits=1, colour=0, size=(14000, 14000))
        with pytest.raises(InputError, match=r"scan.png: has more than \d+ million pixels; make it smaller"):
            read_picture(scan)

    def test_one_that_is_merely_large_is_read_without_a_warning(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        Image.fromarray(RGB).save(tmp_path / "a.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow warns from here on, and refuses from twice as many on
        np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), RGB)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
        with pytest.raises(InputError, match=r"a.png: has more than \d+ million pixels"):
            read_picture(tmp_path / "a.png")


class TestFolders:
    def test_hidden_files_and_folders_are_left_out(self, tmp_path: Path):
        shown = ["b.JPG", "a.png", "deep/er/c.tif", "deep/gone.png"]
        hidden = [".a.png", "._a.png", ".ipynb_checkpoints/a.png", "deep/.cache/x/a.png", "__MACOSX/a.png", "@eaDir/b.jpg"]
        for name in [*shown[:3], *hidden, "notes.txt", "Thumbs.db", "deep/desktop.ini"]:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "deep" / "gone.png").symlink_to("nothing")
        assert picture_files(tmp_path) == sorted(tmp_path / name for name in shown)
        assert [path.name for path in visible(tmp_path)] == ["a.png", "b.JPG", "deep", "notes.txt"]

    def test_a_folder_within_a_hidden_one_is_the_users_choice(self, tmp_path: Path):
        (tmp_path / ".data").mkdir()
        (tmp_path / ".data" / "a.png").touch()
        assert picture_files(tmp_path / ".data") == [tmp_path / ".data" / "a.png"]

    def test_names_are_known_whatever_their_case(self):
        assert all(is_hidden(name) for name in (".git", "THUMBS.DB", "__macosx"))
        assert not any(is_hidden(name) for name in ("a.png", "_masked", "thumbs"))

    def test_a_folder_that_cannot_be_listed_is_named(self, tmp_path: Path):
        for listing in (visible, picture_files):
            with pytest.raises(InputError, match=r"nowhere: cannot be listed \(No such file or directory\)"):
                listing(tmp_path / "nowhere")
