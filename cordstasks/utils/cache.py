"""Where downloads and computed features are kept."""

from __future__ import annotations

import os
from pathlib import Path


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
    import platformdirs  # only here, since benchmarks/gpu_check.sh runs where it may be missing

    return platformdirs.user_cache_path("cordstasks", appauthor=False, opinion=False)
