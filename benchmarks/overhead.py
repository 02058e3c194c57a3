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
from typing import Any, ClassVar

import torch
from cyclopts import App
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from underpaint import Method, Pipeline, hookimpl
from underpaint.commands.machine import processor
from underpaint.engine import Engine, UNetCall
from underpaint.schedule import ddim_step, output_coefficients, x0_from_noise

from benchmarks.report import write_lines

PROMPT, SEED, SCALE, STEPS = "a cat on grass", 7, 5.0, 25

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


class Watcher:
    """Watches every step and does nothing."""

    @hookimpl
    def before_step(self) -> None:
        """Watch."""

    @hookimpl
    def after_step(self) -> None:
        """Watch."""


class Watching(Method):
    """The method of that plugin."""

    method: ClassVar[str] = "watching"

    def start(self) -> Watcher:
        """Return the plugin."""
        return Watcher()


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


def measure(name: str, rounds: int) -> list[dict[str, object]]:
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
    write_lines(json_out, lines)
    title = f"A step's cost outside the UNet, picturebook, two rows, {processor()[0]}"
    table = Table("engine", "loop", "UNet ms", "outside ms", "added us", "of a step", title=title)
    for line in lines:
        unet, outside, added, share = (
            float(str(line[name]))
            for name in (
                "unet_seconds",
                "outside_seconds",
                "added_microseconds",
                "added_share_of_step",
            )
        )
        table.add_row(
            str(line["engine"]),
            str(line["loop"]),
            f"{unet * 1e3:.2f}",
            f"{outside * 1e3:.3f}",
            f"{added:.0f}",
            f"{share:.2%}",
        )
    Console().print(table)


if __name__ == "__main__":
    app()
