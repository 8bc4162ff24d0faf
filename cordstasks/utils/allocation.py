"""Memory that stays with the process while work of the same kind is repeated."""

from __future__ import annotations

import contextlib
import ctypes
import platform
from collections.abc import Iterator

__all__ = ["kept_memory"]

# parameters of glibc's mallopt, see `man mallopt`
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER, _LARGEST, _USUAL_MAPS = -1, 1 << 25, 1 << 16


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """While open, memory that is freed is not given back to the system, but used for what is allocated next.

    A batch of training allocates and frees hundreds of MB. By default, glibc gives these back at once, and with every new
    batch the system clears and maps each page again, which takes longer than the arithmetic on it. At the end, what
    is free is given back. The process takes no more than it does at its peak anyway. With other C libraries (macOS, Windows,
    musl), nothing is changed.
    """
    library = _glibc()
    if library is None:
        yield
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        # glibc raises its thresholds by itself to at most these, but no longer does once they have been set
        library.mallopt(_MMAP_MAX, _USUAL_MAPS)
        library.mallopt(_MMAP_THRESHOLD, _LARGEST)
        library.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST)
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if platform.libc_ver()[0] != "glibc":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
