"""The report of a run's folder: one HTML page that needs no network, and the same as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmarks.picturebench.edit_types import EditType
from benchmarks.picturebench.gallery import cards, failures_first
from benchmarks.picturebench.judge_check import error_note
from benchmarks.picturebench.plots import latency_quality
from benchmarks.picturebench.results_file import LINES, Line, read_lines
from benchmarks.picturebench.summary import summarise
from benchmarks.picturebench.tables import Table, tables

HTML, MARKDOWN, PLOT = "report.html", "report.md", "latency-quality.svg"
CARDS, FAILURES = 60, 20
"""Edits that the page shows with pictures, and failures that the Markdown lists."""


@dataclass(frozen=True)
class Report:
    """What both forms are made of."""

    folder: Path
    header: Line
    lines: list[Line]

    @classmethod
    def of(cls, folder: Path) -> Report:
        """Read a run's folder."""
        header, lines = read_lines(folder / LINES)
        return cls(folder, header, lines)

    @property
    def about(self) -> str:
        """Say how much was run."""
        items = {line["item"] for line in self.lines}
        methods = {line["method"] for line in self.lines}
        settings = ", ".join(f"{name} {value}" for name, value in self.header["settings"].items())
        return f"{len(self.lines)} edits: {len(items)} items, {len(methods)} methods; {settings}."

    @property
    def facts(self) -> list[tuple[str, str]]:
        """The machine, the versions and the settings."""
        return [(name, _plain(value)) for name, value in self.header.items()]

    def warnings(self) -> list[tuple[str, int]]:
        """Return what the edits warned of, with the method, most frequent first."""
        texts = (f"{line['method']}: {text}" for line in self.lines for text in _warned(line))
        return Counter(texts).most_common()


def write_report(folder: Path, shown: int = CARDS) -> tuple[Path, Path]:
    """Write both forms into the run's folder and return their paths."""
    report = Report.of(folder)
    plot = latency_quality(summarise(report.lines))
    (folder / PLOT).write_text(plot, encoding="utf-8")
    page, text = folder / HTML, folder / MARKDOWN
    page.write_text(render_html(report, plot, shown), encoding="utf-8")
    text.write_text(render_markdown(report), encoding="utf-8")
    return page, text


def render_html(report: Report, plot: str, shown: int) -> str:
    """Return the page; its pictures and the plot are inside."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    return templates.get_template("report.html.j2").render(
        about=report.about,
        judge=error_note(),
        tables=tables(report.lines),
        plot=Markup(plot),  # noqa: S704 - matplotlib's own
        cards=cards(report.folder, report.lines, shown),
        edits=len(failures_first(report.lines)),
        warnings=report.warnings(),
        facts=report.facts,
    )


def render_markdown(report: Report) -> str:
    """Return the tables, the first failures, and how it was made."""
    parts = ["# PictureBench", report.about, error_note()]
    for table in tables(report.lines):
        parts += [f"## {table.title}", markdown_table(table)]
    parts += ["## Success and seconds", f"![Success against seconds an image]({PLOT})"]
    parts += ["## Failures", "\n".join(_failures(report.lines)) or "None."]
    parts += ["## How it was made", "\n".join(f"- {n}: {v}" for n, v in report.facts)]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: Table) -> str:
    """Return a table as Markdown, numbers to the right."""
    rule = ("---", *("---:" for _ in table.heads[1:]))
    rows = (table.heads, rule, *table.rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _failures(lines: list[Line]) -> Iterator[str]:
    for line in [each for each in failures_first(lines) if each["success"] is False][:FAILURES]:
        change = f"{line['source_prompt']} -> {line['target_prompt']}"
        why = f": {line['error']}" if line["error"] else ""
        kind = EditType(line["type"]).title
        yield f"- {line['method']}, {kind}, {line['item']}: {change}{why}"


def _warned(line: Line) -> list[str]:
    return list(line.get("warnings") or ())


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(each)}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
