"""Picture files: which files of a folder are pictures, and their pixels as they are meant to be seen."""

from __future__ import annotations

import os
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""How the names of picture files end, in small or capital letters."""

# Files that operating systems and file servers leave in folders, in addition to files whose name begins with a dot.
_CLUTTER = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information", "thumbs.db", "desktop.ini"})
_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
_ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")  # further images of other formats (TIFF, MPO) are previews or pages
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # of TIFF
_OPENING = threading.Lock()


def is_hidden(name: str) -> bool:
    """Whether a file or folder with this name is not part of a user's data.

    Parameters
    ----------
    name : str
        Without its folder, such as ``".ipynb_checkpoints"``, ``"__MACOSX"`` or ``"Thumbs.db"``.

    Returns
    -------
    bool
    """
    return name.startswith(".") or name.lower() in _CLUTTER


def visible(folder: Path) -> list[Path]:
    """The files and folders in a folder that are not hidden.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of Path
        Files and folders, in alphabetical order.

    Raises
    ------
    InputError
        If the folder cannot be listed.
    """
    try:
        return sorted(path for path in folder.iterdir() if not is_hidden(path.name))
    except OSError as error:
        raise _unlisted(error) from None


def picture_files(folder: Path) -> list[Path]:
    """The pictures in a folder and its subfolders, sorted by name; hidden files are left out.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of Path
        In alphabetical order. A link to nothing is among them, so that reading it names it.

    Raises
    ------
    InputError
        If one of the folders cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise _unlisted(error) from None

    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not is_hidden(name)]
        found += [Path(place, name) for name in files if not is_hidden(name)]
    return sorted(path for path in found if path.suffix.lower() in SUFFIXES)


def _unlisted(error: OSError) -> InputError:
    return InputError(f"{error.filename}: cannot be listed ({error.strerror}); change its permissions, or remove it")


def read_picture(path: str | Path) -> NDArray[np.uint8]:
    """Read a picture file as it is meant to be seen.

    The orientation that the camera recorded is applied. Transparent pixels are black. Grey levels of 16 bits are scaled to 8
    bits, and floating-point grey levels are scaled from the range 0 to 1.

    Parameters
    ----------
    path : str or Path
        A file in any format that Pillow reads; its content counts, not how its name ends.

    Returns
    -------
    uint8 (height, width, 3)

    Raises
    ------
    InputError
        If the file is missing, damaged, not a picture, an animation, or too large, or if its pixels are numbers of which
        none is known to be white. The message names the file.
    """
    from PIL import Image, ImageOps

    file = Path(path)
    try:
        # From a stream, since Pillow maps a named file into memory, and confuses width and height if a TIFF is rotated.
        with file.open("rb") as stream, _open(stream) as opened:
            if opened.format in _ANIMATED and getattr(opened, "is_animated", False):
                raise InputError(f"{file}: is an animation; save one of its frames as a still picture")
            opened.load()
            upright = ImageOps.exif_transpose(opened)
            if upright.mode[0] in "IF":
                return _scaled(file, opened, upright)
            if upright.mode in _ALPHA or "transparency" in upright.info:
                clear = (upright.convert("LA") if upright.mode == "La" else upright).convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", clear.size, (0, 0, 0, 255)), clear)
            return np.array(upright.convert("RGB"))
    except InputError:
        raise
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise InputError(f"{file}: has more than {limit:.0f} million pixels; make it smaller") from None
    except Exception as error:  # on damaged data, decoders may raise any error
        raise InputError(f"{file}: cannot be read as a picture ({_reason(file, error)}); replace or remove it") from None


def _open(stream: BinaryIO) -> Image.Image:
    """Open a picture without Pillow's warnings about large (but not too large) or damaged pictures."""
    from PIL import Image

    # Warning filters belong to the process, so threads must not set and restore them at the same time.
    with _OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Image.open(stream)


def _scaled(file: Path, opened: Image.Image, upright: Image.Image) -> NDArray[np.uint8]:
    """Grey levels of more than 8 bits (height, width), as uint8 (height, width, 3) from black to white."""
    tags = getattr(opened, "tag_v2", {})
    values = np.asarray(upright)
    if upright.mode.startswith("I;16") or opened.format in ("PNG", "PPM"):  # older Pillow has mode I for these
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
        grey = values / np.float32(2**bits - 1)
    elif upright.mode == "F":
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 1):  # in this form, NaN is refused too
            raise InputError(
                f"{file}: has floating-point pixels from {low:g} to {high:g}; scale them to the range from 0 (black) to "
                "1 (white), or save it with 8 or 16 bits"
            )
        grey = values
    else:
        raise InputError(
            f"{file}: has pixels of 32 bits or with a sign, of which none is known to be white; save it with 8 or 16 bits"
        )
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow does this itself for 8 bits
        grey = 1 - grey
    if "transparency" in upright.info:
        grey = np.where(values == upright.info["transparency"], 0, grey)
    return np.rint(255 * grey).astype(np.uint8)[:, :, None].repeat(3, axis=2)


def _reason(file: Path, error: Exception) -> str:
    """Why a file could not be read, in a few words on one line."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "the file is empty" if not file.stat().st_size else "its content is in no known format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
