"""A user's own pictures of two categories, from a folder."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError
from cordstasks.stimuli._checks import positive
from cordstasks.stimuli.display import Display
from cordstasks.stimuli.pictures import SUFFIXES, picture_files, read_picture, visible

COLUMNS = ("file", "category", "morph")


@dataclass(frozen=True)
class LabelledPicture:
    """A picture file and its labels.

    Attributes
    ----------
    file : Path
        Its path.
    category : int
        Index into the folder's two categories.
    morph : float
        Fraction of the second category, from 0 to 1.
    line : str
        The morph line that it belongs to; empty where the folder names none.
    """

    file: Path
    category: int
    morph: float
    line: str = ""


class ImageFolder:
    """Pictures of two categories.

    The folder has either a table (one CSV file with the columns ``file``, ``category``, ``morph``, and ``line`` if the
    pictures belong to morph lines), or a folder of photographs for each category, in the alphabetical order of their
    names. Hidden files and folders, such as ``.ipynb_checkpoints``, are ignored. Every picture is read once when the folder
    is opened, so that a damaged picture is found at once; `cordstasks.stimuli.read_picture` describes how it is read.

    Parameters
    ----------
    folder : str or Path
        Where the pictures are. In a table, files are relative to it, and every picture in it must be listed.

    Attributes
    ----------
    categories : (str, str)
        Names of the categories; that of lower morph levels first.
    pictures : tuple of LabelledPicture

    Raises
    ------
    InputError
        If the folder is not as described, or a picture cannot be read.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise InputError(f"stimuli_dir {self.folder}: there is no such folder")
        tables = [path for path in visible(self.folder) if path.suffix.lower() == ".csv"]
        if len(tables) > 1:
            raise InputError(f"stimuli_dir {self.folder}: has {len(tables)} tables (*.csv); leave one")
        rows = _from_table(tables[0]) if tables else _from_classes(self.folder)
        names = sorted({name for _, name, _, _ in rows})
        if len(names) != 2:
            raise InputError(f"stimuli_dir {self.folder}: has {len(names)} categories ({', '.join(names)}); give two")
        levels = [np.mean([morph for _, name, morph, _ in rows if name == own]) for own in names]
        first, second = names if levels[0] <= levels[1] else reversed(names)
        self.categories = (first, second)
        self.pictures = tuple(
            LabelledPicture(file, self.categories.index(name), morph, line) for file, name, morph, line in rows
        )
        for picture in self.pictures:
            read_picture(picture.file)

    def image(self, index: int, display: Display, *, size: float = 4.2, x: float = 0.0, y: float = 0.0) -> NDArray[np.uint8]:
        """A picture on black, cut to its central square.

        Parameters
        ----------
        index : int
            Number of the picture in `pictures`.
        display : Display
            The screen.
        size : float
            Side of the square in deg, rounded to whole pixels.
        x, y : float
            Its centre in deg, rightward and upward from the screen's centre, rounded to whole pixels.

        Returns
        -------
        uint8 (height, width, 3)

        Raises
        ------
        InputError
            If the picture does not fit on the screen, or its file can no longer be read.
        """
        from PIL import Image

        positive("size", size, "deg")
        side = max(1, round(size * display.pixels_per_degree))
        left = round(float(display.columns(np.array(x))) - side / 2)
        top = round(float(display.rows(np.array(y))) - side / 2)
        if min(left, top) < 0 or max(left, top) + side > display.pixels:
            raise InputError(
                f"size is {size:g} deg at ({x:g}, {y:g}) deg: the picture leaves the screen of "
                f"{display.field_of_view:g} deg; give a smaller size, or a Display with a wider field_of_view"
            )
        square = _square(read_picture(self.pictures[index].file))
        shown = Image.fromarray(square).resize((side, side), Image.Resampling.BICUBIC)
        screen = np.zeros((display.pixels, display.pixels, 3), np.uint8)
        screen[top : top + side, left : left + side] = np.asarray(shown)
        return screen


_Row = tuple[Path, str, float, str]


def _from_table(table: Path) -> list[_Row]:
    folder = table.parent
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"{table}: has no column {missing[0]!r}; give {', '.join(COLUMNS)}")
            rows = [_row(table, reader.line_num, entry) for entry in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: cannot be read ({error}); save it as a CSV file in UTF-8") from None
    listed = {row[0].resolve() for row in rows}
    if len(listed) < len(rows):
        raise InputError(f"{table}: lists a file twice; give each picture one row")
    for path in picture_files(folder):
        if path.resolve() not in listed:
            raise InputError(f"{path}: is not labelled; give it a row in {table.name}, or take it out of the folder")
    return rows


def _row(table: Path, line: int, entry: dict[str, str | None]) -> _Row:
    values = {name: (entry.get(name) or "").strip() for name in (*COLUMNS, "line")}
    for name in ("file", "category"):
        if not values[name]:
            raise InputError(f"{table}, line {line}: has no {name}")
    file = table.parent / values["file"]
    if not file.is_file():
        raise InputError(f"{table}, line {line}: there is no file {file}")
    try:
        morph = float(values["morph"])
    except ValueError:
        morph = math.nan
    if not 0 <= morph <= 1:
        raise InputError(
            f"{table}, line {line}: morph is {values['morph']!r}; give the fraction of the second category, from 0 to 1"
        )
    return file, values["category"], morph, values["line"]


def _from_classes(folder: Path) -> list[_Row]:
    classes = [path for path in visible(folder) if path.is_dir()]
    if len(classes) != 2:
        raise InputError(
            f"stimuli_dir {folder}: has no table (*.csv with {', '.join(COLUMNS)}) and {len(classes)} folders; "
            "give a table, or two folders of pictures, one for each category"
        )
    for path in picture_files(folder):
        if path.parent == folder:
            raise InputError(f"{path}: is not labelled; put it in the folder of its category")
    rows: list[_Row] = []
    for morph, place in enumerate(classes):
        files = picture_files(place)
        if not files:
            raise InputError(f"{place}: holds no pictures ({', '.join(SUFFIXES)})")
        rows += [(path, place.name, float(morph), "") for path in files]
    return rows


def _square(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The central square of a picture (height, width, 3)."""
    height, width, _ = picture.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return picture[top : top + side, left : left + side]
