r"""Latency: engines x {plain, taps, P2P}, a step and an image, beside what else a user would run.

A step is one UNet call of four rows: uncond and cond, of source and target. ``plain`` neither
edits nor reads, ``taps`` reads the words' maps, ``P2P`` swaps a word and reads the same maps.
Each contestant runs in a process of its own, one after the other, its ways in turn:

* diffusers: its StableDiffusionPipeline with DDIM, as it is, and with torch.compile;
* materialised: diffusers with processors that write out and edit every map, as its community
  pipeline and the published code do. It makes the same P2P edit, and that is checked;
* pytorch, onnxruntime, openvino: underpaint's engines.

The table's ratios: ``/plain`` this way to the same engine's plain one; ``peer/`` diffusers (for
P2P: materialised) of the same precision to this; ``mat.fp32/`` materialised fp32 to this; ``peak``
the share of what a large matrix product reaches in the same process.

    python -m benchmarks.latency --json-out benchmarks/results/latency-picturebook.jsonl
    python -m benchmarks.latency --model sd15-size --rounds 3 --image-steps 2 \
        --json-out benchmarks/results/latency-sd15-size.jsonl
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import track
from rich.table import Table
from safetensors.torch import load_file
from torch import Tensor
from underpaint.commands.machine import processor

from benchmarks import models
from benchmarks.report import write_lines
from benchmarks.roofline import unet_flops
from benchmarks.steps import ROWS, WAYS

CONTESTANTS = (
    ("diffusers", "fp32"),
    ("diffusers", "bf16"),
    ("diffusers compiled", "fp32"),
    ("materialised", "fp32"),
    ("materialised", "bf16"),
    ("pytorch", "fp32"),
    ("pytorch", "bf16"),
    ("onnxruntime", "fp32"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
)

WIDTH = 112  # of the table, also where it is written to a file

app = App(help=__doc__)


@dataclass(frozen=True)
class Measured:
    """What one contestant reports; see `benchmarks.worker`."""

    who: str
    dtype: str
    report: dict[str, Any]
    noises: dict[str, Tensor]

    @property
    def label(self) -> str:
        """The contestant's name and precision."""
        return f"{self.who} {self.dtype}"

    def median(self, way: str) -> float | None:
        """Return the median seconds of a step, if it has that way."""
        seconds = self.report["steps"].get(way)
        return statistics.median(seconds) if seconds else None


@app.default
def main(
    *,
    model: str = "picturebook",
    rounds: int = 25,
    image_steps: int = 25,
    ways: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    only: Annotated[list[str], Parameter(consume_multiple=True)] | None = None,
    json_out: Path | None = None,
) -> None:
    """Run the contestants, print a table, and write JSON lines.

    `only` names contestants, e.g. "openvino bf16"; all that this processor can run otherwise.
    `ways` are all by default; each takes an engine of its own, and so its memory. `image_steps` 0
    measures no whole images.
    """
    folder = models.locate(model)
    able = [c for c in CONTESTANTS if c[1] == "fp32" or "bf16" in processor()[1]]
    chosen = [c for c in able if not only or " ".join(c) in only]
    flops = unet_flops(folder, ROWS)
    measured: list[Measured] = []
    for each in track(chosen, "measuring", console=Console(stderr=True)):
        flags = [f"--rounds={rounds}", f"--image-steps={image_steps}", "--ways", *(ways or WAYS)]
        measured.append(_measure(*each, folder, flags))
        lines = list(_lines(measured, model, flops, image_steps))
        write_lines(json_out, lines)  # what is measured is kept if the next fails
    Console(width=WIDTH).print(_table(lines, model))


def _measure(who: str, dtype: str, folder: str, flags: Sequence[str]) -> Measured:
    with tempfile.TemporaryDirectory() as temporary:
        noise = Path(temporary) / "noise.safetensors"
        worker = [sys.executable, "-m", "benchmarks.worker", who, dtype, folder, str(noise)]
        done = subprocess.run(  # noqa: S603
            [*worker, f"--started={time.time()}", *flags],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        report = json.loads(done.stdout.splitlines()[-1])
        return Measured(who, dtype, report, load_file(noise))


def _lines(
    measured: Sequence[Measured], model: str, flops: int, image_steps: int
) -> Iterable[dict[str, Any]]:
    by_label = {each.label: each for each in measured}
    for each in measured:
        for way, seconds in each.report["steps"].items():
            peer = by_label.get(f"{'materialised' if way == 'P2P' else 'diffusers'} {each.dtype}")
            median = statistics.median(seconds)
            quantiles = np.percentile(seconds, [50, 90, 99])
            image = each.report["images"].get(way)
            same = by_label.get("materialised fp32") if way == "P2P" else None
            yield {
                "benchmark": "latency",
                "model": model,
                "contestant": each.who,
                "dtype": each.dtype,
                "way": way,
                "rows": ROWS,
                "rounds": len(seconds),
                "step_seconds": dict(zip(("p50", "p90", "p99"), quantiles, strict=True)),
                "of_its_plain": _ratio(median, each.median("plain")),
                "peer_over_this": _ratio(_of(peer, way), median),
                "materialised_fp32_over_this": _ratio(_of(same, way), median),
                "difference_from_materialised_fp32": same
                and float((each.noises[way] - same.noises["P2P"]).abs().max()),
                "image_seconds": statistics.median(image) if image else None,
                "image_steps": image_steps,
                "cold_start_seconds": each.report["cold_start_seconds"],
                "export_seconds": each.report["export_seconds"],
                "peak_rss_gib": each.report["peak_rss_gib"],
                "flops": flops,
                "matmul_flops_per_second": each.report["matmul_flops"],
                "share_of_matmul_peak": flops / median / each.report["matmul_flops"],
            }


def _of(peer: Measured | None, way: str) -> float | None:
    """Return a peer's median: diffusers reads no maps, so its plain step is that of ``taps``."""
    return peer.median("P2P" if way == "P2P" else "plain") if peer else None


def _ratio(a: float | None, b: float | None) -> float | None:
    return a / b if a and b else None


def _table(lines: Sequence[dict[str, Any]], model: str) -> Table:
    title = f"One step of {ROWS} rows, {model}, {processor()[0]}, {torch.get_num_threads()} threads"
    columns = ("contestant", "way", "p50 ms", "p90", "p99", "/plain", "peer/", "mat.fp32/", "peak")
    table = Table(*columns, "image s", "cold s", "GiB", title=title, box=None)
    for line in sorted(lines, key=lambda each: WAYS.index(each["way"])):
        times = [f"{line['step_seconds'][p] * 1e3:.1f}" for p in ("p50", "p90", "p99")]
        table.add_row(
            f"{line['contestant']} {line['dtype']}",
            line["way"],
            *times,
            *(_number(line[name]) for name in ("of_its_plain", "peer_over_this")),
            _number(line["materialised_fp32_over_this"]),
            f"{line['share_of_matmul_peak']:.0%}",
            *(_number(line[n]) for n in ("image_seconds", "cold_start_seconds", "peak_rss_gib")),
        )
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    app()
