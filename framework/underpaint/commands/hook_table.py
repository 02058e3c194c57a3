"""What ``--trace-hooks`` says: a table of plugins and hooks on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from underpaint.commands.options import Talk

if TYPE_CHECKING:
    from underpaint.hook_times import HookTimes


def show_times(times: HookTimes | None, total: float, talk: Talk) -> None:
    """Show the times of a call that took `total` seconds, unless ``--quiet``."""
    if times is None or talk.quiet:
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("plugin", "hook", box=None)
    for heading in ("calls", "ms", "ms a call", "share"):
        table.add_column(heading, justify="right")
    rest = total
    for (plugin, hook), (calls, seconds) in times.totals().items():
        rest -= seconds
        each = f"{1000 * seconds / calls:.2f}"
        table.add_row(
            plugin, hook, str(calls), f"{1000 * seconds:.1f}", each, _share(seconds, total)
        )
    table.add_row("(outside of hooks)", "", "", f"{1000 * rest:.1f}", "", _share(rest, total))
    Console(stderr=True).print(table)


def _share(seconds: float, total: float) -> str:
    return f"{seconds / total:.1%}"
