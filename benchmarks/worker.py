"""One contestant of the latency benchmark, in a process of its own: one JSON object on stdout."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
from cyclopts import App, Parameter
from safetensors.torch import save_file
from torch import Tensor
from underpaint import Pipeline, registry
from underpaint.engine import Engine, UNetCall
from underpaint.precision import Dtype, torch_dtype
from underpaint_engines.checkpoint import open_checkpoint
from underpaint_engines.modules import describe, load_modules
from underpaint_prompt_to_prompt import PromptToPrompt

from benchmarks.peers import Diffusers
from benchmarks.roofline import matmul_peak
from benchmarks.steps import WAYS, make_call, make_needs

SOURCE_PROMPT, PROMPT = "a cat on grass", "a dog on grass"
GIGA = 2**30

Step = Callable[[], Tensor]
Image = Callable[[], object]

app = App(help=__doc__)


@app.default
def main(  # the process is the call
    who: str,
    dtype: Dtype,
    folder: str,
    noise_out: Path,
    *,
    started: float,
    ways: Annotated[list[str], Parameter(consume_multiple=True)],
    rounds: int,
    image_steps: int,
) -> None:
    """Time every way in turn, then whole images."""
    open_ = _open_peer if who.startswith(("diffusers", "materialised")) else _open_engine
    steps, images, export = open_(who, dtype, folder, ways, image_steps)
    if not image_steps:
        images = {}
    first = next(iter(steps))
    noises = {first: steps[first]()}
    cold, peak = time.time() - started - export, _peak_rss()
    noises |= {way: run() for way, run in steps.items() if way != first}
    save_file({way: noise.clone() for way, noise in noises.items()}, noise_out)
    for image in images.values():  # the steps have been run above
        image()
    report = {
        "cold_start_seconds": cold,
        "export_seconds": export or None,
        "peak_rss_gib": peak,
        "matmul_flops": matmul_peak(torch_dtype(dtype)),
        "steps": time_in_turn(steps, rounds),
        "images": time_in_turn(images, max(1, rounds // 5)),
    }
    print(json.dumps(report))  # the coordinator reads it


def time_in_turn(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each way, one round of all ways after the other."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def _open_engine(
    who: str, dtype: Dtype, folder: str, ways: Sequence[str], image_steps: int
) -> tuple[dict[str, Step], dict[str, Image], float]:
    """Return our steps and images by name, and the seconds that a first export took.

    Each way has an engine of its own, and so the graph that a run of its kind would get. The way
    that needs most comes first, so that the memory it takes is the process's peak so far.
    """
    export = _export_if_absent(who, dtype, folder)
    load = partial(Pipeline.from_pretrained, folder, engine=who, dtype=torch_dtype(dtype))
    steps: dict[str, Step] = {}
    shared = load() if who == "pytorch" else None
    pipes = {}
    for way in sorted(ways, key=WAYS.index, reverse=True):
        pipes[way] = shared or load()
        engine = pipes[way].engine
        engine.check(make_needs(engine.info, way), engine.info.latent_size)
        steps[way] = partial(_noise, engine, make_call(engine.info, way))
    edit = PromptToPrompt.model_validate({"source": SOURCE_PROMPT})
    edits = {"plain": [], "P2P": [edit]}
    images: dict[str, Image] = {
        way: partial(pipe, PROMPT, edits=edits[way], seed=7, num_inference_steps=image_steps)
        for way, pipe in pipes.items()
        if way in edits
    }
    return steps, images, export


def _open_peer(
    who: str, dtype: Dtype, folder: str, ways: Sequence[str], image_steps: int
) -> tuple[dict[str, Step], dict[str, Image], float]:
    """Return the one way that diffusers has."""
    del ways
    checkpoint = open_checkpoint(folder)
    info = describe(who, checkpoint, load_modules(checkpoint, torch.float32, torch.device("cpu")))
    materialised = who == "materialised"
    peer = Diffusers(
        folder, torch_dtype(dtype), compiled=who.endswith("compiled"), materialised=materialised
    )
    steps: dict[str, Step] = {
        "P2P" if materialised else "plain": partial(peer.step, make_call(info, "plain"))
    }
    images: dict[str, Image] = {}
    if not materialised:
        images["plain"] = partial(peer.image, PROMPT, image_steps)
    return steps, images, 0.0


def _export_if_absent(who: str, dtype: Dtype, folder: str) -> float:
    """Export to the cache where it has no such bundle yet; return the seconds that took."""
    if who == "pytorch":
        return 0.0
    from underpaint_engines.cache import entries

    before = {entry.path for entry in entries()}
    started = time.perf_counter()
    registry.load("engines", who)(folder, name="model", dtype=torch_dtype(dtype))
    seconds = time.perf_counter() - started
    return seconds if {entry.path for entry in entries()} - before else 0.0


def _noise(engine: Engine, call: UNetCall) -> Tensor:
    return engine.predict(call).noise


def _peak_rss() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIGA


if __name__ == "__main__":
    app()
