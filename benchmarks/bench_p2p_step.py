"""What one Prompt-to-Prompt step costs: fused edits beside processors that write out every map.

One UNet call of four rows (uncond and cond, of source and target), in one process, the ways in
turn, on picturebook or, in PyTorch alone, on random weights in Stable Diffusion 1.5's size:

* ENGINE plain: the engine without edits;
* ENGINE edit: with a word swap's edits; attention stays fused and no map is written out;
* ENGINE edit + taps: the same, with the word maps that LocalBlend and heat maps read;
* materialised: diffusers with processors that write out and edit every map, as the published code
  and its ports do. It makes the same edit, and the benchmark checks that it does.

    python benchmarks/bench_p2p_step.py --json-out benchmarks/results/p2p_step.jsonl [--full-size]
"""

from __future__ import annotations

import copy
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import underpaint
from cyclopts import App
from diffusers import UNet2DConditionModel
from rich.console import Console
from rich.table import Table
from torch import Tensor
from underpaint import Pipeline, registry
from underpaint.commands.machine import processor
from underpaint.engine import EditInputs, UNetCall, UNetOutput
from underpaint_engines.checkpoint import open_checkpoint
from underpaint_engines.modules import describe, load_modules
from underpaint_engines.pytorch import PyTorchEngine

ROWS = 4
SOURCE, TARGET = 2, 3
"""Rows: uncond source, uncond target, cond source, cond target."""

LARGEST_SELF_MAP = 32 * 32
COMPILED = ("onnxruntime", "openvino")

app = App(help=__doc__)


class Materialised:
    """Writes out every attention map, and puts the source's in the target's place."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Attend; replaced are cross maps, and self maps of 32x32 and below."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query = attn.head_to_batch_dim(attn.to_q(hidden_states))
        key = attn.head_to_batch_dim(attn.to_k(context))
        value = attn.head_to_batch_dim(attn.to_v(context))
        maps = attn.get_attention_scores(query, key, attention_mask)  # [R * H, N, L]
        if encoder_hidden_states is not None or hidden_states.shape[1] <= LARGEST_SELF_MAP:
            heads = attn.heads
            maps[TARGET * heads :] = maps[SOURCE * heads : TARGET * heads]
        mixed = attn.batch_to_head_dim(torch.bmm(maps, value))
        out: Tensor = attn.to_out[1](attn.to_out[0](mixed))
        return out


def build(full_size: bool) -> tuple[PyTorchEngine, UNet2DConditionModel]:
    """Return the engine, and a second UNet of the same weights for the processors."""
    opened = open_checkpoint(registry.load("models", "picturebook")())
    modules = load_modules(opened, torch.float32, torch.device("cpu"))
    if full_size:
        torch.manual_seed(0)
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
        modules = replace(modules, unet=unet.eval().requires_grad_(False))
    theirs = copy.deepcopy(modules.unet)
    theirs.set_attn_processor(Materialised())
    return PyTorchEngine(modules, describe("benchmark", opened, modules)), theirs


def make_calls(engine: PyTorchEngine) -> dict[str, UNetCall]:
    """Return the engine's calls by name."""
    info = engine.info
    torch.manual_seed(1)
    plain = UNetCall(
        sample=torch.randn(ROWS, info.latent_channels, *info.latent_size),
        timestep=torch.full((ROWS,), 500),
        context=torch.randn(ROWS, info.context_length, info.context_width),
    )
    selves = info.sites.of_kind("self")
    edits = EditInputs.identity(ROWS, info.context_length, len(selves))
    edits.source_row[TARGET] = SOURCE
    edits.cross_map[TARGET] = torch.eye(info.context_length)
    edits.cross_scale[TARGET] = 0
    for index, site in enumerate(selves):
        replaced = (info.latent_size[0] >> site.level) ** 2 <= LARGEST_SELF_MAP
        edits.self_q[index, TARGET] = edits.self_k[index, TARGET] = replaced
    words = info.sites.select(info.sites.words())
    edited = replace(plain, edits=edits)
    tapped = replace(edited, maps={site.name: "mean" for site in words})
    return {"plain": plain, "edit": edited, "edit + taps": tapped}


def make_ways(
    engine: PyTorchEngine, calls: dict[str, UNetCall], compiled: tuple[str, ...]
) -> dict[str, Callable[[], UNetOutput]]:
    """Return what is timed by name; each way of a compiled engine has a graph of its own."""
    ways: dict[str, Callable[[], UNetOutput]] = {}
    for way, call in calls.items():
        ways[f"pytorch {way}"] = partial(engine.predict, call)
    for name in compiled:
        for way, call in calls.items():
            opened = Pipeline.from_pretrained("picturebook", engine=name).engine
            ways[f"{name} {way}"] = partial(opened.predict, call)
    return ways


def time_in_turn(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each way, one round of all ways after the other, after a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(rounds + 1):
        for name, run in ways.items():
            started = time.perf_counter()
            run()
            if round_number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


@app.default
def main(full_size: bool = False, rounds: int = 15, json_out: Path | None = None) -> None:
    """Time the ways, print a table, and write JSON lines."""
    engine, theirs = build(full_size)
    calls = make_calls(engine)
    plain = calls["plain"]

    @torch.no_grad()
    def materialised() -> Tensor:
        out: Tensor = theirs(plain.sample, plain.timestep, plain.context, return_dict=False)[0]
        return out

    ways = make_ways(engine, calls, () if full_size else COMPILED)
    expected = materialised()
    differences = {
        name: float((run().noise - expected).abs().max())
        for name, run in ways.items()
        if "edit" in name
    }
    seconds = time_in_turn({**ways, "materialised": materialised}, rounds)
    model = "SD1.5 size, random weights" if full_size else "picturebook"
    report(model, differences, seconds, json_out)


def report(
    model: str,
    differences: dict[str, float],
    seconds: dict[str, list[float]],
    json_out: Path | None,
) -> None:
    """Print medians and their ratio to the materialised way, and write the same as JSON lines."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    title = f"One P2P step, {model}, {processor()[0]}, {torch.get_num_threads()} threads"
    table = Table("way", "median ms", "of its plain", "materialised / this", title=title)
    lines = []
    for name, median in medians.items():
        ratio = medians["materialised"] / median
        plain = median / medians.get(f"{name.split()[0]} plain", float("nan"))
        table.add_row(name, f"{median * 1e3:.1f}", f"{plain:.2f}", f"{ratio:.2f}")
        lines.append(
            {
                "benchmark": "p2p_step",
                "model": model,
                "way": name,
                "median_seconds": median,
                "materialised_over_this": ratio,
                "rounds": len(seconds[name]),
                "largest_difference": differences.get(name),
                "threads": torch.get_num_threads(),
                "processor": processor()[0],
                "torch": torch.__version__,
                "underpaint": underpaint.__version__,
            }
        )
    worst = max(differences.values())
    Console().print(table, f"largest difference of an edited step to materialised: {worst:.1e}")
    if json_out is not None:
        json_out.parent.mkdir(parents=True, exist_ok=True)
        with json_out.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)


if __name__ == "__main__":
    app()
