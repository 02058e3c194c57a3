"""Where the time of one OpenVINO step goes, operator by operator: what is left to gain, and where.

The P2P step of `benchmarks.latency`, with OpenVINO's own counters on.

    python -m benchmarks.operators --model sd15-size --dtype bf16
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import openvino
import torch
from cyclopts import App
from rich.console import Console
from rich.table import Table
from underpaint.commands.machine import processor
from underpaint.precision import Dtype, torch_dtype
from underpaint_engines.openvino import load

from benchmarks import models
from benchmarks.report import write_lines
from benchmarks.steps import make_call, make_needs

app = App(help=__doc__)


def measure(folder: str, dtype: Dtype, rounds: int) -> list[Any]:
    """Return the counters of each round's nodes: type, kernel, duration."""
    requests: list[openvino.InferRequest] = []

    compile_model = openvino.Core.compile_model
    create_request = openvino.CompiledModel.create_infer_request

    def create_counted(compiled: openvino.CompiledModel) -> openvino.InferRequest:
        requests.append(create_request(compiled))
        return requests[-1]

    def compile_counting(core: openvino.Core, model: Any, device: str, config: Any) -> Any:
        return compile_model(core, model, device, {**config, "PERF_COUNT": True})

    with (
        patch.object(openvino.Core, "compile_model", compile_counting),
        patch.object(openvino.CompiledModel, "create_infer_request", create_counted),
    ):
        engine = load(folder, name="model", dtype=torch_dtype(dtype))
        engine.check(make_needs(engine.info, "P2P"), engine.info.latent_size)
        call = make_call(engine.info, "P2P")
        engine.predict(call)
        counters = []
        for _ in range(rounds):
            engine.predict(call)
            counters.append(requests[-1].profiling_info)
    return counters


@app.default
def main(
    *,
    model: str = "picturebook",
    dtype: Dtype = "fp32",
    rounds: int = 5,
    json_out: Path | None = None,
) -> None:
    """Measure, print a table, and write JSON lines."""
    counters = measure(models.locate(model), dtype, rounds)
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    for node in (node for nodes in counters for node in nodes):
        seconds[node.node_type, node.exec_type] += node.real_time.total_seconds() / rounds
    total = sum(seconds.values())
    lines: list[dict[str, Any]] = [
        {
            "benchmark": "operators",
            "model": model,
            "dtype": dtype,
            "operator": operator,
            "kernel": kernel,
            "seconds": value,
            "share": value / total,
        }
        for (operator, kernel), value in sorted(seconds.items(), key=lambda each: -each[1])
        if value > total / 500
    ]
    write_lines(json_out, lines)
    title = f"P2P step, {model} in {dtype}, OpenVINO, {processor()[0]}, {torch.get_num_threads()}"
    table = Table("operator", "kernel", "ms", "share", title=f"{title} threads", box=None)
    for line in lines:
        share = f"{line['share']:.1%}"
        table.add_row(line["operator"], line["kernel"], f"{line['seconds'] * 1e3:.2f}", share)
    Console().print(table)


if __name__ == "__main__":
    app()
