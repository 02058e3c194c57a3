"""Edit every item with every method that fits it, measure, and keep what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from underpaint import Pipeline, UnderpaintError
from underpaint.sheet import heat_map
from underpaint_picturebook.judge import Judge

from benchmarks.picturebench.calls import Call
from benchmarks.picturebench.editor import Edited, Editor, Settings
from benchmarks.picturebench.expectations import look
from benchmarks.picturebench.items import Item
from benchmarks.picturebench.methods import EditMethod
from benchmarks.picturebench.metrics_core import core_metrics
from benchmarks.picturebench.results_file import Line, ResultsFile
from benchmarks.picturebench.scenes import Pixels

Metrics = Callable[[Item, Pixels], Mapping[str, float]]
"""Further metrics of an edited picture, by name."""

ITEMS, BEFORE, EXPECTED, ATTENTION = "items", "before", "expected", "attention"


@dataclass(frozen=True, eq=False)
class Bench:
    """The model, the judge, and where results go."""

    pipe: Pipeline
    judge: Judge
    settings: Settings
    results: ResultsFile
    further: Sequence[Metrics] = ()

    def run(self, item: Item, methods: Sequence[EditMethod]) -> Iterator[str]:
        """Edit an item with each method that fits it, and yield the method's name.

        An edit that is in the results already is not made again.
        """
        editor = Editor(self.pipe, self.settings, item)
        for method in methods:
            call = method.call(item)
            if call is None:
                continue
            facts = {"digest": item.digest, "call": call.describe()}
            if not self.results.has(method.name, item.key, facts):
                self._edit(editor, method, call, facts)
            yield method.name

    def _edit(
        self, editor: Editor, method: EditMethod, call: Call, facts: Mapping[str, Any]
    ) -> None:
        """Make one edit and keep its line; one that is refused counts as a failure."""
        line = {**describe(editor.item, method), **facts}
        try:
            edited = editor.edit(call)
        except UnderpaintError as error:
            refused = {"success": False, "error": f"{type(error).__name__}: {error}"}
            self.results.add({**line, **refused})
            return
        self._save_pictures(editor.item, method, edited)
        self.results.add({**line, **measure(editor.item, edited, self.judge, self.further)})

    def _save_pictures(self, item: Item, method: EditMethod, edited: Edited) -> None:
        save = self.results.save_picture
        save(f"{ITEMS}/{item.key}.{BEFORE}", item.picture)
        if item.truth:
            save(f"{ITEMS}/{item.key}.{EXPECTED}", item.truth.picture)
        save(f"{method.name}/{item.key}", edited.picture)
        if edited.attention is not None:
            heat = heat_map(Image.fromarray(edited.picture), edited.attention)
            save(f"{method.name}/{item.key}.{ATTENTION}", heat)


def describe(item: Item, method: EditMethod) -> Line:
    """Return what a line says of its item and method."""
    return {
        "method": method.name,
        "told": method.told,
        "item": item.key,
        "type": item.type.value,
        "split": item.split,
        "unseen": item.unseen,
        "source_prompt": item.source_prompt,
        "target_prompt": item.target_prompt,
        "instruction": item.instruction,
    }


def measure(item: Item, edited: Edited, judge: Judge, further: Sequence[Metrics] = ()) -> Line:
    """Return what a line says of an edited picture."""
    measured = {"seconds": edited.seconds, **core_metrics(item, edited.picture, edited.attention)}
    for metrics in further:
        measured |= metrics(item, edited.picture)
    seen: Line = {"success": None, "edited": None, "kept": None}
    if item.truth:
        outcome = look(item.truth, item.type, judge([edited.picture])[0])
        seen = {"success": outcome.success, "edited": outcome.edited, "kept": outcome.kept}
        seen |= outcome.aspects
    return {**seen, **measured, "warnings": list(edited.warnings), "error": None}
