r"""A guided step with all its forwards: source and target, uncond and cond, one energy gradient.

The energy reads what Self-Guidance (arXiv 2306.00986) reads: the words' maps, mean of the heads,
and one activation of the decoder. Its cotangents reach the target's conditional row alone.

As in a run, that row alone is linearised and the other three are evaluated without a gradient.

* all rows: PyTorch's autograd through all four rows, as a loop without such care would;
* eager: PyTorch's autograd;
* compiled: the same by torch.compile;
* onnxruntime, openvino: the compiled engines.

All run in one process, in turn. ``eager/`` is the ratio of eager's median to this one's.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from cyclopts import App
from rich.console import Console
from rich.table import Table
from torch import Tensor
from underpaint import registry
from underpaint.engine import Engine, UNetCall, UNetOutput
from underpaint.records import Needs, Tap
from underpaint_engines.pytorch import PyTorchEngine

from benchmarks import models
from benchmarks.report import write_lines
from benchmarks.steps import ROWS, TARGET, make_call
from benchmarks.worker import time_in_turn

FEATURE = "up_blocks.1.resnets.1"
Guided = Callable[[], Tensor]

app = App(help=__doc__)


@app.default
def main(
    *,
    model: str = "picturebook",
    rounds: int = 15,
    engines: tuple[str, ...] = ("onnxruntime", "openvino"),
    compiled: bool = True,
    all_rows: bool = True,
    json_out: Path | None = None,
) -> None:
    """Time the contestants in turn, print a table and write JSON lines.

    Parameters
    ----------
    model : picturebook or sd15-size, random weights of that size (4 GB).
    rounds : of each contestant.
    engines : compiled ones.
    compiled, all_rows : whether these take part; at SD1.5's size they want memory and time.
    json_out : a file for one JSON line a contestant.
    """
    folder = models.locate(model)
    reference = registry.load("engines", "pytorch")(folder, name=model)
    assert isinstance(reference, PyTorchEngine)
    call = replace(make_call(reference.info, "taps"), features=frozenset({FEATURE}))
    cotangents = _cotangents(reference.predict(call))
    ways: dict[str, Guided] = {"eager": partial(_step, reference, call, cotangents)}
    if all_rows:
        ways["all rows"] = lambda: reference.linearize(call, "sample")[1](cotangents)
    for name in engines:
        engine = registry.load("engines", name)(folder, name=model)
        needs = Needs(taps=(Tap(engine.info.sites.words()),), gradient=frozenset({"sample"}))
        engine.check(needs, engine.info.latent_size)
        ways[name] = partial(_step, engine, call, cotangents)
    if compiled:
        other = registry.load("engines", "pytorch")(folder, name=model)
        # With its rows left open inductor fails on the backward graph: each number compiles alone.
        # Taps break the graph at each block, which then compiles for each of its widths.
        torch._dynamo.config.recompile_limit = 64
        other._unet = torch.compile(other._unet, dynamic=False)
        ways["compiled"] = lambda: _step(other, call, cotangents)
    gradients = {name: run() for name, run in ways.items()}  # warm, and compared
    seconds = time_in_turn(ways, rounds)
    lines = list(_lines(model, gradients, seconds))
    Console().print(_table(lines))
    write_lines(json_out, lines)


def _cotangents(output: UNetOutput) -> UNetOutput:
    """Return cotangents of the maps and the feature in the target's conditional row."""
    generator = torch.Generator().manual_seed(1)

    def draw(value: Tensor) -> Tensor:
        drawn = torch.zeros_like(value)
        drawn[TARGET] = torch.randn(value.shape[1:], generator=generator)
        return drawn

    maps = {name: draw(value) for name, value in output.maps.items()}
    features = {name: draw(value) for name, value in output.features.items()}
    return UNetOutput(torch.zeros_like(output.noise), maps, features)


def _step(engine: Engine, call: UNetCall, cotangents: UNetOutput) -> Tensor:
    """Run the rows that nothing is pulled back to without a graph."""
    alone = slice(TARGET, TARGET + 1)
    engine.predict(_rows(call, slice(0, TARGET)))
    _, pullback = engine.linearize(_rows(call, alone), "sample")
    maps = {name: value[alone] for name, value in cotangents.maps.items()}
    features = {name: value[alone] for name, value in cotangents.features.items()}
    total = torch.zeros_like(call.sample)
    total[alone] = pullback(UNetOutput(cotangents.noise[alone], maps, features))
    return total


def _rows(call: UNetCall, rows: slice) -> UNetCall:
    return replace(
        call,
        sample=call.sample[rows],
        timestep=call.timestep[rows],
        context=call.context[rows],
    )


def _lines(
    model: str, gradients: Mapping[str, Tensor], seconds: Mapping[str, list[float]]
) -> list[dict[str, object]]:
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    expected = gradients["eager"]
    return [
        {
            "benchmark": "guided",
            "model": model,
            "contestant": name,
            "rows": ROWS,
            "rounds": len(seconds[name]),
            "step_seconds": median,
            "eager_over_this": medians["eager"] / median,
            "relative_difference": float((gradients[name] - expected).abs().max())
            / float(expected.abs().max()),
        }
        for name, median in medians.items()
    ]


def _table(lines: list[dict[str, object]]) -> Table:
    table = Table("contestant", "ms", "eager/", "difference", box=None)
    for line in lines:
        table.add_row(
            str(line["contestant"]),
            f"{float(str(line['step_seconds'])) * 1e3:.1f}",
            f"{float(str(line['eager_over_this'])):.2f}",
            f"{float(str(line['relative_difference'])):.1e}",
        )
    return table


if __name__ == "__main__":
    app()
