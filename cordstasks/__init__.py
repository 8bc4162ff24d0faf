"""cordstasks: multi-area models of the brain that see real images.

A frozen, pretrained CordsNet (Soo, Battista, Radmard & Wang, NeurIPS 2024) feeds a trainable recurrent network that
remembers, compares and decides. Importing this package imports neither torch nor neurogym.
"""

import sys

if sys.argv[:1] == ["-m"]:  # what Python has here while it looks for the module of `python -m cordstasks.train`
    from cordstasks.utils.interrupt import stop_at_once

    stop_at_once()  # Ctrl-C while the command's modules are loaded gives no traceback

from pathlib import Path
from typing import Any

__version__ = "0.1.0"

# In a checkout, stimuli/, tasks/ and analysis/ stand beside this folder and not inside it. Put the checkout's root on the
# package's path, so that `cordstasks.stimuli` is the folder stimuli/ whether or not an editable install maps it there.
_root = Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file():
    __path__.append(str(_root))


def __getattr__(name: str) -> Any:
    if name == "load_run":  # when it is used: it loads torch
        from cordstasks.runs.loading import load_run

        return load_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
