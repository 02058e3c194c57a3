"""Throughput: images a second against the images that share a batch.

python -m benchmarks.throughput --json-out benchmarks/results/throughput.jsonl
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import torch
from cyclopts import App
from rich.console import Console
from rich.table import Table
from underpaint import Pipeline
from underpaint.commands.machine import processor
from underpaint.precision import Dtype, torch_dtype

from benchmarks.report import write_lines

PROMPT, STEPS = "a cat on grass", 25
IMAGES = (1, 2, 4, 8)
CONTESTANTS: tuple[tuple[str, Dtype], ...] = (
    ("pytorch", "fp32"),
    ("onnxruntime", "fp32"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
)

app = App(help=__doc__)


@app.default
def main(*, rounds: int = 3, json_out: Path | None = None) -> None:
    """Measure all engines in turn, print a table, and write JSON lines."""
    able = [c for c in CONTESTANTS if c[1] == "fp32" or "bf16" in processor()[1]]
    pipes = {
        f"{name} {dtype}": Pipeline.from_pretrained(
            "picturebook", engine=name, dtype=torch_dtype(dtype), max_rows=2 * max(IMAGES)
        )
        for name, dtype in able
    }
    seconds: dict[tuple[str, int], list[float]] = {}
    for round_number in range(rounds + 1):
        for images in IMAGES:
            for name, pipe in pipes.items():
                started = time.perf_counter()
                pipe(PROMPT, seed=1, num_images_per_prompt=images, num_inference_steps=STEPS)
                if round_number:  # the first compiles and warms up
                    seconds.setdefault((name, images), []).append(time.perf_counter() - started)
    rates = {key: key[1] / statistics.median(values) for key, values in seconds.items()}
    write_lines(
        json_out,
        (
            {
                "benchmark": "throughput",
                "model": "picturebook",
                "contestant": name,
                "images": images,
                "rows": 2 * images,
                "inference_steps": STEPS,
                "images_per_second": rate,
                "rounds": rounds,
            }
            for (name, images), rate in rates.items()
        ),
    )
    title = f"Images a second, picturebook, {STEPS} steps, {torch.get_num_threads()} threads"
    table = Table("engine", *(f"{2 * each} rows" for each in IMAGES), title=title)
    for name in pipes:
        table.add_row(name, *(f"{rates[name, images]:.2f}" for images in IMAGES))
    Console().print(table)


if __name__ == "__main__":
    app()
