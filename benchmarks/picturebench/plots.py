"""The plot of success against seconds, as SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from underpaint.sheet import ACCENT, INK, MUTED

from benchmarks.picturebench.summary import Row, Share

TOLD_COLOURS = {"prompts": INK, "words": "#0369a1", "mask": ACCENT, "place": "#15803d"}
"""By what a method was told besides the prompts, so that unlike ones are not compared by eye."""


SPACE = 0.05
"""Least distance of two labels, in parts of the plot's height."""


def latency_quality(rows: Sequence[Row]) -> str:
    """Return an ``<svg>`` element: seconds an image (log) and success with its 95 % interval.

    Rows without a time or without a success are left out.
    """
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    axes = figure.subplots()
    points = [
        (row.seconds, row.shares["success"], row)
        for row in rows
        if row.seconds and row.shares["success"]
    ]
    points.sort(key=lambda point: -point[1].value)
    height = 1.0 + SPACE
    for seconds, success, row in points:
        height = min(height - SPACE, success.value)
        _draw_point(axes, row, (seconds, success), height)
    for told in dict.fromkeys(row.told for _, _, row in points):
        axes.plot([], [], "o", color=TOLD_COLOURS.get(told, MUTED), label=f"told the {told}")
    axes.set(xscale="log", ylim=(-0.03, 1.03), ylabel="success")
    for axis_format in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        axis_format("{x:g}")  # seconds, not powers of ten
    axes.set_xlabel("seconds an image, with its inversion (median)")
    axes.grid(alpha=0.25)
    if points:
        axes.legend(loc="lower right", frameon=False)
    return _svg(figure)


def _draw_point(axes: Axes, row: Row, point: tuple[float, Share], height: float) -> None:
    """Draw a point with its interval, and its name at the right with a line to it."""
    seconds, success = point
    low, high = success.interval
    colour = TOLD_COLOURS.get(row.told, MUTED)
    axes.errorbar(
        seconds,
        success.value,
        yerr=[[success.value - low], [high - success.value]],
        fmt="o",
        color=colour,
        capsize=3,
        elinewidth=0.8,
    )
    axes.annotate(
        row.method,
        (seconds, success.value),
        xytext=(1.02, height),
        textcoords=("axes fraction", "data"),
        color=colour,
        fontsize=9,
        va="center",
        arrowprops={"arrowstyle": "-", "color": colour, "alpha": 0.3, "linewidth": 0.7},
    )


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
