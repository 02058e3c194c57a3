"""The README's table of engines, from the latency benchmark's results.

python -m benchmarks.readme_table
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
TITLES = {"picturebook": "picturebook, 256x256", "sd15-size": "SD1.5 size, 512x512"}
WAYS = ("plain", "taps", "P2P")

Lines = Mapping[tuple[str, str], Mapping[str, Any]]


def render() -> str:
    """Return a Markdown table for each model that was measured."""
    return "\n".join(_table(model) for model in TITLES if _file(model).is_file())


def _file(model: str) -> Path:
    return RESULTS / f"latency-{model}.jsonl"


def _table(model: str) -> str:
    text = _file(model).read_text("utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    by_way = {(f"{line['contestant']} {line['dtype']}", line["way"]): line for line in lines}
    names = dict.fromkeys(name for name, _ in by_way)
    head = (TITLES[model], *WAYS, "plain, of diffusers", "P2P, of materialised")
    rows = [head, ("---",) * len(head), *(tuple(_row(name, by_way)) for name in names)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(name: str, lines: Lines) -> Iterator[str]:
    yield name
    for way in WAYS:
        yield _time(lines[name, way]["step_seconds"]["p50"]) if (name, way) in lines else ""
    for way in ("plain", "P2P"):
        ratio = lines.get((name, way), {}).get("peer_over_this")
        yield "" if ratio is None else f"{ratio:.2f}x"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.0f} ms"


if __name__ == "__main__":
    print(render())
