"""Where downloads and computed features are kept."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """The folder for what can be downloaded or computed again; it need not exist yet.

    Returns
    -------
    pathlib.Path
        ``$CORDSTASKS_CACHE`` if it is set, else ``cordstasks`` in the platform's own cache folder.
    """
    chosen = os.environ.get("CORDSTASKS_CACHE")
    if chosen:
        return Path(os.path.expanduser(chosen))
    return platformdirs.user_cache_path("cordstasks", appauthor=False, opinion=False)
