"""``python -m benchmarks.picturebench``: run, report, export."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable
from underpaint import Pipeline, UnderpaintError
from underpaint_picturebook.judge import Judge

from benchmarks.picturebench.editor import Settings
from benchmarks.picturebench.items import Item
from benchmarks.picturebench.methods import EditMethod, UnknownMethodError, choose
from benchmarks.picturebench.metrics_paper import MissingWeightsError, PaperMetrics
from benchmarks.picturebench.picture_set import SEED, Split, picture_set
from benchmarks.picturebench.pie_bench import PieBenchError, load_folder, save_folder
from benchmarks.picturebench.report import CARDS, Report, write_report
from benchmarks.picturebench.results_file import ResultsError, ResultsFile
from benchmarks.picturebench.runner import Bench, Metrics
from benchmarks.picturebench.tables import Table, brief_table
from benchmarks.report import hardware

Profile = Literal["core", "paper"]

app = App(name="picturebench", help=__doc__)


@app.default
def run(
    *,
    methods: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = ("all",),
    engine: str = "pytorch",
    model: str = "picturebook",
    split: Split = "test",
    pie_bench: Path | None = None,
    limit: int | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    seed: int = 0,
    profile: Profile = "core",
    dino: Path | None = None,
    clip: Path | None = None,
    lpips: Path | None = None,
    out: Path = Path("picturebench-out"),
) -> None:
    """Edit, measure, and write results and report; a stopped run goes on where it was.

    Parameters
    ----------
    methods : names of the table in methods.py; "all", or "quick".
    engine, model : what edits the pictures.
    split : tune, for choosing settings, or test, for reporting them.
    pie_bench : the folder of the published PIE-Bench, in place of a split; nothing is judged.
    limit : so many items, types by turns.
    steps, guidance : of every edit; left out, what the model recommends.
    seed : of every edit's noise.
    profile : core needs no weights; paper adds PIE-Bench's metrics, from the next three folders.
    dino, clip, lpips : folders of networks; see the README.
    out : the run's folder.
    """
    chosen = choose(methods)
    further: list[Metrics] = []
    if profile == "paper":
        further.append(PaperMetrics.load({"dino": dino, "clip": clip, "lpips": lpips}))
    pipe = Pipeline.from_pretrained(model, engine)
    settings = Settings.of(pipe.engine.info, steps=steps, guidance=guidance, seed=seed)
    facts = {**asdict(settings), "model": model, "engine": engine, "profile": profile}
    facts["items"] = str(pie_bench) if pie_bench else f"{split}, seed {SEED}"
    results = ResultsFile.open(out, facts, hardware())
    items = load_folder(pie_bench, limit) if pie_bench else picture_set(split, limit)
    _edit_all(Bench(pipe, Judge.load(), settings, results, further), items, chosen)
    report(out)


@app.command
def report(out: Path = Path("picturebench-out"), /, *, cards: int = CARDS) -> None:
    """Write the report of a run's folder once more, and print the main table.

    Parameters
    ----------
    out : the run's folder.
    cards : edits that the page shows with pictures.
    """
    paths = write_report(out, cards)
    console = Console()
    console.print(_rich(brief_table(Report.of(out).lines)))
    console.print(*paths, sep="\n")


@app.command
def export(folder: Path, /, *, split: Split = "test", limit: int | None = None) -> None:
    """Write a split in PIE-Bench's form.

    Parameters
    ----------
    folder : where to.
    split, limit : as of a run.
    """
    save_folder(picture_set(split, limit), folder)


def _edit_all(bench: Bench, items: list[Item], methods: list[EditMethod]) -> None:
    planned = sum(method.call(item) is not None for item in items for method in methods)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("editing", total=planned)
        for item, name in _edits(bench, items, methods):
            progress.update(task, advance=1, description=f"{item.key} {name}")


def _edits(
    bench: Bench, items: list[Item], methods: list[EditMethod]
) -> Iterator[tuple[Item, str]]:
    for item in items:
        for name in bench.run(item, methods):
            yield item, name


def _rich(table: Table) -> RichTable:
    made = RichTable(title=table.title, box=None)
    for number, head in enumerate(table.heads):
        made.add_column(head, justify="right" if number else "left", no_wrap=not number)
    for row in table.rows:
        made.add_row(*row)
    return made


def main() -> None:
    """Run the command; what is wrong on purpose ends it with its message alone."""
    try:
        app(sys.argv[1:])
    except (
        MissingWeightsError,
        PieBenchError,
        ResultsError,
        UnderpaintError,
        UnknownMethodError,
    ) as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
