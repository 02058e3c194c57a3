"""The plot of success against seconds, as SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.figure import Figure
from underpaint.sheet import ACCENT, INK, MUTED

from benchmarks.picturebench.summary import Row

TOLD_COLOURS = {"prompts": INK, "words": "#0369a1", "mask": ACCENT, "place": "#15803d"}
"""By what a method was told besides the prompts, so that unlike ones are not compared by eye."""


def latency_quality(rows: Sequence[Row]) -> str:
    """Return an ``<svg>`` element: seconds an image (log) and success with its 95 % interval.

    Rows without a time or without a success are left out.
    """
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    axes = figure.subplots()
    shown = [row for row in rows if row.seconds and row.shares["success"]]
    for row in sorted(shown, key=lambda each: each.seconds or 0):
        _draw_point(axes, row)
    for told, colour in TOLD_COLOURS.items():
        if any(row.told == told for row in shown):
            axes.plot([], [], "o", color=colour, label=f"told the {told}")
    axes.set_xscale("log")
    axes.set_ylim(-0.03, 1.03)
    axes.margins(x=0.25)
    axes.set_xlabel("seconds an image, with its inversion (median)")
    axes.set_ylabel("success")
    axes.grid(alpha=0.25)
    if shown:
        axes.legend(loc="upper left", frameon=False)
    return _svg(figure)


def _draw_point(axes: object, row: Row) -> None:
    success, seconds = row.shares["success"], row.seconds
    assert success is not None
    low, high = success.interval
    error = [[success.value - low], [high - success.value]]
    colour = TOLD_COLOURS.get(row.told, MUTED)
    axes.errorbar(seconds, success.value, yerr=error, fmt="o", color=colour, capsize=3, alpha=0.85)  # type: ignore[attr-defined]
    place = {"xytext": (6, 4), "textcoords": "offset points", "fontsize": 8, "color": colour}
    axes.annotate(row.method, (seconds, success.value), **place)  # type: ignore[attr-defined]


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
