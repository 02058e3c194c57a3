"""Where what was computed once is kept for the next time."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

FOLDER_VARIABLE = "UNDERPAINT_CACHE"


def cache_folder() -> Path:
    """Return $UNDERPAINT_CACHE, or underpaint's folder in the user's cache."""
    own = os.environ.get(FOLDER_VARIABLE)
    return Path(own) if own else user_cache_path("underpaint")
