"""``underpaint plugins list``."""

from __future__ import annotations

from underpaint import registry
from underpaint.commands.answer import Answer, answer_table
from underpaint.commands.options import JsonFlag
from underpaint.commands.plugins.facts import facts_of, summary_of


def list_(*, json: JsonFlag = False) -> Answer:
    """List the installed methods; as JSON, with all that `plugins info` says of each."""
    from rich.table import Table

    # Asking each method what it needs takes a second, and the table has no column for it.
    tell = facts_of if json else summary_of
    data = [tell(point) for point in registry.find("methods").values()]
    table = Table("method", "version", "distribution", "what it does", box=None)
    for entry in data:
        told = entry.get("problem", entry["summary"])
        table.add_row(entry["name"], entry["version"], entry["distribution"], told)
    hint = "`underpaint plugins info NAME` shows the parameters of one."
    return answer_table(data, table if data else "No methods are installed.", hint)
