"""``underpaint cache list | verify | prune``."""

from __future__ import annotations

import time
from typing import Annotated

from cyclopts import App, Parameter
from underpaint.commands.answer import Answer, answer_table
from underpaint.commands.options import JsonFlag

cache = App(name="cache", help="What is kept for the next time: exports, plans, inversions.")


@cache.command(name="list")
def list_(*, json: JsonFlag = False) -> Answer:
    """List exported models, plans and inversions, the longest unused first."""
    del json
    return _answer(check=False)


@cache.command
def verify(*, json: JsonFlag = False) -> Answer:
    """Compare every file with its digest; exits 1 where one has changed."""
    del json
    return _answer(check=True)


@cache.command
def prune(
    *,
    everything: Annotated[
        bool, Parameter(name="--all", negative=(), help="Remove every entry.")
    ] = False,
    json: JsonFlag = False,
) -> Answer:
    """Remove broken entries, and the longest unused ones above the limit ($UNDERPAINT_CACHE_GB)."""
    del json
    from underpaint_engines.cache import prune as remove

    gone = [str(folder) for folder in remove(everything=everything)]
    return answer_table({"removed": gone}, "\n".join(gone) or "Nothing to remove.")


def _answer(*, check: bool) -> Answer:
    from rich.table import Table
    from underpaint.cache_folder import cache_folder

    from underpaint_engines.cache import describe, entries

    found = entries(check=check)
    table = Table("model", "dtype", "MB", "last used", "state", box=None)
    for entry in found:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        state = entry.problem or ("whole" if check else "")
        table.add_row(entry.model, entry.dtype, f"{entry.size / 1e6:.0f}", used, state)
    broken = any(entry.problem for entry in found)
    return answer_table(
        describe(found),
        table if found else "The cache is empty.",
        f"In {cache_folder()}.",
        exit_code=int(broken and check),
    )
