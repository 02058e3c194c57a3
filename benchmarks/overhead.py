"""What underpaint adds to the UNet: its loop against a bare loop on the same engine, its hooks.

Both loops make the same picture. What they do outside the UNet is measured as the time of a step
less the time of the UNet call within it, so that the UNet's own noise does not hide it.

    python -m benchmarks.overhead --json-out benchmarks/results/overhead.jsonl
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from cyclopts import App
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from underpaint import Method, Pipeline
from underpaint.commands.machine import processor
from underpaint.engine import Engine, UNetCall
from underpaint.schedule import ddim_step, output_coefficients, x0_from_noise

from benchmarks.hooks_alone import Watching, seconds_of_hooks
from benchmarks.report import write_lines

PROMPT, SEED, SCALE, STEPS = "a cat on grass", 7, 5.0, 25
PLUGINS = (0, 1, 5)

app = App(help=__doc__)


@dataclass
class Clock:
    """Times every UNet call of an engine, and passes all else on."""

    engine: Engine
    seconds: list[float] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def predict(self, call: UNetCall) -> Any:
        """Run the UNet."""
        started = time.perf_counter()
        output = self.engine.predict(call)
        self.seconds.append(time.perf_counter() - started)
        return output


def bare_loop(engine: Engine) -> Callable[[], tuple[Tensor, list[float]]]:
    """Return the shortest loop that makes the same picture: latents, and each step's seconds."""
    info = engine.info
    context = engine.encode_text(engine.tokenize(["", PROMPT]))
    moves = info.noise.moves(STEPS, info.noise.spacing)
    shape = (1, info.latent_channels, *info.latent_size)

    @torch.no_grad()
    def run() -> tuple[Tensor, list[float]]:
        latents = torch.randn(shape, generator=torch.Generator().manual_seed(SEED))
        seconds = []
        for move in moves:
            started = time.perf_counter()
            sample = torch.cat([latents, latents])
            call = UNetCall(sample, torch.full((2,), move.t), context)
            uncond, cond = engine.predict(call).noise.chunk(2)
            alpha, after = info.noise.alpha(move.t), info.noise.alpha(move.next_t)
            out, direct = output_coefficients(alpha, info.noise.prediction_type)
            noise = out * (uncond + SCALE * (cond - uncond)) + direct * latents
            latents = ddim_step(x0_from_noise(latents, noise, alpha), noise, after)
            seconds.append(time.perf_counter() - started)
        return latents, seconds

    return run


def measure(name: str, rounds: int) -> list[dict[str, Any]]:
    """Return the lines of one engine."""
    clock = Clock(Pipeline.from_pretrained("picturebook", engine=name).engine)
    pipe, bare = Pipeline(clock), bare_loop(clock)

    def ours(*edits: Method) -> tuple[Tensor, list[float]]:
        result = pipe(
            PROMPT,
            edits=edits,
            seed=SEED,
            guidance_scale=SCALE,
            num_inference_steps=STEPS,
            output_type="latent",
        )
        return result.latents, list(result.timings.steps)

    loops: dict[str, Callable[[], tuple[Tensor, list[float]]]] = {
        "bare loop": bare,
        "underpaint": ours,
        "underpaint, one plugin": lambda: ours(Watching()),
    }
    expected = bare()[0]
    for run in loops.values():
        torch.testing.assert_close(run()[0], expected, atol=1e-5, rtol=0)
    outside: dict[str, list[float]] = {loop: [] for loop in loops}
    unet: dict[str, list[float]] = {loop: [] for loop in loops}
    for _ in track(range(rounds), name, console=Console(stderr=True)):
        for loop, run in loops.items():
            clock.seconds.clear()
            steps = run()[1]
            unet[loop] += clock.seconds
            outside[loop] += [a - b for a, b in zip(steps, clock.seconds, strict=True)]
    call = statistics.median(unet["bare loop"])
    least = statistics.median(outside["bare loop"])
    return [
        {
            "benchmark": "overhead",
            "engine": name,
            "loop": loop,
            "steps": len(values),
            "unet_seconds": statistics.median(unet[loop]),
            "outside_seconds": statistics.median(values),
            "added_microseconds": (statistics.median(values) - least) * 1e6,
            "added_share_of_step": (statistics.median(values) - least) / (call + least),
        }
        for loop, values in outside.items()
    ]


@app.default
def main(*, rounds: int = 20, json_out: Path | None = None) -> None:
    """Measure on every engine, print a table, and write JSON lines."""
    names = ("pytorch", "onnxruntime", "openvino")
    lines = [line for name in names for line in measure(name, rounds)]
    hooks: list[dict[str, Any]] = [
        {"benchmark": "hooks", "plugins": count, "seconds_a_step": seconds_of_hooks(count)}
        for count in PLUGINS
    ]
    write_lines(json_out, [*lines, *hooks])
    title = f"A step outside the UNet, picturebook, two rows, {processor()[0]}"
    columns = ("engine", "loop", "UNet ms", "outside ms", "added us", "of a step")
    table = Table(*columns, title=title, box=None)
    for line in lines:
        table.add_row(
            line["engine"],
            line["loop"],
            f"{line['unet_seconds'] * 1e3:.2f}",
            f"{line['outside_seconds'] * 1e3:.3f}",
            f"{line['added_microseconds']:.0f}",
            f"{line['added_share_of_step']:.2%}",
        )
    costs = ", ".join(f"{h['plugins']}: {h['seconds_a_step'] * 1e6:.1f} us" for h in hooks)
    Console().print(table, f"\nhooks of a step alone, by plugins that watch: {costs}")


if __name__ == "__main__":
    app()
