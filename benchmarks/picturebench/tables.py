"""The report's tables as text, the same for HTML and Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.picturebench.edit_types import EditType
from benchmarks.picturebench.methods import METHODS, PAPERS
from benchmarks.picturebench.metrics_paper import PAPER_METRICS
from benchmarks.picturebench.results_file import Line
from benchmarks.picturebench.summary import Mean, Row, Share, by_type, summarise, summarise_one

SUCCESS, KEPT = 0.85, 28.0
"""What a paper's method should reach on its own types: success, and PSNR outside in dB."""


@dataclass(frozen=True)
class Table:
    """A title, the heads of the columns, and rows of as many cells."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def percent(value: Share | None, *, interval: bool = False) -> str:
    """Return a share, and its 95 % interval if asked for; nothing where there is none."""
    if value is None:
        return ""
    low, high = value.interval
    return f"{value.value:.0%} ({low:.0%} to {high:.0%})" if interval else f"{value.value:.0%}"


def number(value: Mean | None, digits: int, items: int, factor: float = 1.0) -> str:
    """Return a mean; in brackets of how many it is, where some have no value."""
    if value is None:
        return ""
    short = f" ({value.of})" if value.of < items else ""
    return f"{factor * value.value:.{digits}f}{short}"


def tables(lines: Sequence[Line]) -> list[Table]:
    """Return all tables of a run."""
    rows = summarise(lines)
    made = [
        success_table(rows),
        papers_table(lines),
        purpose_table(lines),
        type_table("Success by type of edit", lines, lambda row: percent(row.shares["success"])),
        type_table(
            "PSNR outside by type of edit, dB",
            lines,
            lambda row: number(row.means["psnr_outside"], 1, row.items),
        ),
        picture_table(rows),
    ]
    return [*made, paper_table(rows)] if any(row.means[PAPER_METRICS[0]] for row in rows) else made


def brief_table(lines: Sequence[Line]) -> Table:
    """Return what fits a terminal."""
    return Table(
        "PictureBench",
        ("method", "edits", "success", "edited", "kept", "outside dB", "s"),
        tuple(
            (
                row.method,
                str(row.items),
                *(percent(row.shares[name]) for name in ("success", "edited", "kept")),
                number(row.means["psnr_outside"], 1, 0),
                seconds(row),
            )
            for row in summarise(lines)
        ),
    )


def seconds(row: Row) -> str:
    """Return the median; nothing where no edit was timed."""
    return "" if row.seconds is None else f"{row.seconds:.2f}"


def success_table(rows: Sequence[Row]) -> Table:
    """Return what the judge says, by method."""
    names = ("edited", "kept", "object", "colour", "position", "size", "background", "style")
    heads = ("method", "told", "edits", "success (95 %)", "unseen", *names, "s an image", "errors")
    return Table(
        "Success by method",
        heads,
        tuple(
            (
                row.method,
                row.told,
                str(row.items),
                percent(row.shares["success"], interval=True),
                percent(row.unseen),
                *(percent(row.shares[name]) for name in names),
                seconds(row),
                str(row.errors),
            )
            for row in rows
        ),
    )


def purpose_table(lines: Sequence[Line]) -> Table:
    """Return how each method does on the types that its paper is for."""
    heads = ("method", "types", "told", "edits", "success (95 %)", "PSNR outside, dB")
    rows = tuple(
        (
            name,
            ", ".join(EditType(kind).title for kind in sorted(purpose)),
            row.told,
            str(row.items),
            percent(row.shares["success"], interval=True),
            number(row.means["psnr_outside"], 1, row.items),
        )
        for name, (purpose, row) in _on_purpose(lines).items()
    )
    return Table("The types that a method was made for", heads, rows)


def papers_table(lines: Sequence[Line]) -> Table:
    """Return which papers' methods reach `SUCCESS` and `KEPT` on the types that they are for."""
    found = _on_purpose(lines)
    rows = []
    for paper, name in PAPERS.items():
        if name in found:
            _, row = found[name]
            rows.append(
                (
                    paper,
                    name,
                    row.told,
                    str(row.items),
                    percent(row.shares["success"]),
                    number(row.means["psnr_outside"], 1, row.items),
                    "yes" if _reaches(row) else "no",
                )
            )
    heads = ("paper", "method", "told", "edits", "success", "PSNR outside, dB", "both")
    title = f"The papers' methods: {SUCCESS:.0%} success, {KEPT:.0f} dB outside"
    return Table(title, heads, tuple(rows))


def _on_purpose(lines: Sequence[Line]) -> dict[str, tuple[frozenset[EditType], Row]]:
    """Return the types that methods were made for, and how they do on them."""
    found = {}
    for method in METHODS:
        own = [
            line
            for line in lines
            if line["method"] == method.name and line["type"] in method.purpose
        ]
        if own:
            found[method.name] = method.purpose, summarise_one(own)
    return found


def _reaches(row: Row) -> bool:
    success, outside = row.shares["success"], row.means["psnr_outside"]
    return (
        success is not None
        and outside is not None
        and success.value >= SUCCESS
        and outside.value >= KEPT
    )


def type_table(title: str, lines: Sequence[Line], cell: Callable[[Row], str]) -> Table:
    """Return one figure by method and type."""
    found = by_type(lines)
    kinds = sorted({kind for rows in found.values() for kind in rows})
    return Table(
        title,
        ("method", *(EditType(kind).title for kind in kinds)),
        tuple(
            (method, *(cell(rows[kind]) if kind in rows else "" for kind in kinds))
            for method, rows in found.items()
        ),
    )


def picture_table(rows: Sequence[Row]) -> Table:
    """Return the core metrics of the pictures, by method."""
    columns: tuple[tuple[str, str, int, float], ...] = (
        ("PSNR outside, dB", "psnr_outside", 1, 1),
        ("SSIM outside", "ssim_outside", 3, 1),
        ("MSE outside, 1e-4", "mse_outside", 1, 1e4),
        ("PSNR inside, dB", "psnr_inside", 1, 1),
        ("SSIM inside", "ssim_inside", 3, 1),
        ("MSE inside, 1e-4", "mse_inside", 1, 1e4),
        ("locality", "locality", 2, 1),
        ("seam", "seam", 1, 1),
        ("attention IoU", "attention_iou", 2, 1),
    )
    return _of_means(
        "The pictures: outside against the source, inside against the expected", columns, rows
    )


def paper_table(rows: Sequence[Row]) -> Table:
    """Return PIE-Bench's metrics, by method and in its units."""
    columns: tuple[tuple[str, str, int, float], ...] = (
        ("structure distance, 1e-3", "structure_distance", 1, 1e3),
        ("PSNR, dB", "psnr_unedit_part", 2, 1),
        ("LPIPS, 1e-3", "lpips_unedit_part", 1, 1e3),
        ("MSE, 1e-4", "mse_unedit_part", 1, 1e4),
        ("SSIM, 1e-2", "ssim_unedit_part", 1, 1e2),
        ("CLIP, source", "clip_similarity_source_image", 2, 1),
        ("CLIP, whole", "clip_similarity_target_image", 2, 1),
        ("CLIP, edited", "clip_similarity_target_image_edit_part", 2, 1),
    )
    return _of_means("As in PIE-Bench", columns, rows)


def _of_means(
    title: str, columns: Sequence[tuple[str, str, int, float]], rows: Sequence[Row]
) -> Table:
    def cells(row: Row) -> tuple[str, ...]:
        return tuple(
            number(row.means[name], digits, row.items, factor)
            for _, name, digits, factor in columns
        )

    heads = ("method", *(head for head, *_ in columns), "null values")
    return Table(title, heads, tuple((row.method, *cells(row), str(row.undefined)) for row in rows))
