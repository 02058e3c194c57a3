"""Try settings on the tuning split: which ones the table in `methods` then takes.

    python -m benchmarks.picturebench.sweep p2p-blend --engine openvino --steps 12

Each line is one setting: success, and PSNR outside of the mask, over the items of the kinds that
the method is tried on. Held-out items are never looked at here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from cyclopts import App
from rich.console import Console
from rich.progress import track
from rich.table import Table
from underpaint import Pipeline
from underpaint_picturebook.judge import Judge

from benchmarks.picturebench.calls import (
    Call,
    diffuse_it,
    null_text_blend,
    p2p_blend,
    pix2pix_zero,
    pix2pix_zero_blend,
    self_guidance,
)
from benchmarks.picturebench.edit_types import EditType
from benchmarks.picturebench.editor import Editor, Settings
from benchmarks.picturebench.items import Item
from benchmarks.picturebench.methods import ADDED, PLACED, SWAPPED, SWAPS
from benchmarks.picturebench.picture_set import picture_set
from benchmarks.picturebench.runner import measure
from benchmarks.report import write_lines

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Sweep:
    """Settings to try, and the kinds of edits to try them on."""

    types: frozenset[EditType]
    make: Callable[[Item, Values], Call | None]
    grid: Sequence[Values]


def _blend(cross: float, own: float, threshold: float) -> Values:
    return {"cross_replace": cross, "self_replace": own, "threshold": threshold}


def _guide(guidance: float, negative: str) -> Values:
    return {"attention_guidance": guidance, "negative": negative}


SWEEPS: Mapping[str, Sweep] = {
    "p2p-blend": Sweep(
        SWAPPED | ADDED,
        lambda item, values: p2p_blend(follow=True, **values)(item),
        [
            _blend(0.8, 0.4, 0.3),  # the plugin's defaults
            _blend(0.8, 0.2, 0.3),
            _blend(0.4, 0.2, 0.3),
            _blend(0.4, 0.0, 0.3),
            _blend(0.8, 0.2, 0.5),
            _blend(0.6, 0.0, 0.4),
            _blend(0.4, 0.1, 0.4),
            _blend(0.4, 0.0, 0.4),
            _blend(0.2, 0.0, 0.4),
        ],
    ),
    "null-text-blend": Sweep(
        SWAPS,
        lambda item, values: null_text_blend(item, **values),
        [
            {"learning_rate": rate, "follow": follow}
            for follow in (False, True)
            for rate in (0.01, 0.02, 0.05)  # 0.01 is the published one
        ],
    ),
    "pix2pix-zero": Sweep(
        SWAPS,
        lambda item, values: pix2pix_zero(item, **values),
        [
            _guide(1.0, "source"),  # the negative prompt as published
            _guide(0.3, "call"),
            _guide(1.0, "call"),
            _guide(3.0, "call"),
            _guide(10.0, "call"),
        ],
    ),
    "pix2pix-zero-blend": Sweep(
        SWAPS,
        lambda item, values: pix2pix_zero_blend(item, **values),
        [{"threshold": threshold} for threshold in (0.3, 0.4, 0.5)],
    ),
    "diffuse-it": Sweep(
        SWAPS,
        lambda item, values: diffuse_it(item, **values),
        [{"strength": strength} for strength in (0.4, 0.5, 0.6)],
    ),
    "self-guidance": Sweep(
        PLACED,
        lambda item, values: self_guidance(item, **values),
        [
            {"prompt": prompt, "overshoot": overshoot}
            for prompt in ("source", "target")
            for overshoot in (1.5, 1.0)
        ],
    ),
}

app = App(name="sweep", help=__doc__)


@app.default
def main(
    name: str,
    /,
    *,
    engine: str = "pytorch",
    model: str = "picturebook",
    steps: int | None = None,
    json_out: Path | None = None,
) -> None:
    """Try all settings of a sweep; print a table, write JSON lines.

    Parameters
    ----------
    name : p2p-blend, null-text-blend, pix2pix-zero, pix2pix-zero-blend, diffuse-it or
        self-guidance.
    engine, model : what edits the pictures.
    steps : of every edit; left out, what the model recommends.
    json_out : a file for one JSON line a setting.
    """
    if name not in SWEEPS:
        raise SystemExit(f"No sweep {name!r}. Valid: {', '.join(SWEEPS)}.")
    sweep = SWEEPS[name]
    pipe, judge = Pipeline.from_pretrained(model, engine), Judge.load()
    settings = Settings.of(pipe.engine.info, steps=steps, guidance=None, seed=0)
    items = [item for item in picture_set("tune") if item.type in sweep.types]
    editors = [Editor(pipe, settings, item) for item in items]
    about = {"sweep": name, "engine": engine, "steps": settings.steps}
    lines: list[dict[str, Any]] = []
    for values in track(sweep.grid, "trying", console=Console(stderr=True)):
        lines.append({**about, **values, **_try(sweep, values, editors, judge)})
        write_lines(json_out, lines)
    table = Table(*lines[0], box=None)
    for line in lines:
        table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in line.values()))
    Console().print(table)


def _try(
    sweep: Sweep, values: Values, editors: Iterable[Editor], judge: Judge
) -> dict[str, float | int]:
    """Return the shares and the mean of one setting."""
    seen = []
    for editor in editors:
        call = sweep.make(editor.item, values)
        if call is not None:
            seen.append(measure(editor.item, editor.edit(call), judge))
    return {
        "items": len(seen),
        **{share: fmean(line[share] for line in seen) for share in ("success", "edited", "kept")},
        "psnr_outside": fmean(line["psnr_outside"] for line in seen),
    }


if __name__ == "__main__":
    app()
