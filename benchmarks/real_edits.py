r"""Word swaps of real pictures, by how the picture was inverted.

Pictures are renders of the picturebook world that no training saw, with one object each; its noun
is exchanged in the caption, and Prompt-to-Prompt edits the picture. Counted for each way:

* success: the judge sees the new object and not the old one;
* background: PSNR of the *edit* to the picture outside of both objects (dilated);
* reconstruction: PSNR of the source's branch to the picture. The VAE alone reaches the line "vae".

    python -m benchmarks.real_edits --json-out benchmarks/results/real_edits.jsonl
    python -m benchmarks.real_edits --seeds 50 --ways DDIM --ways null-text --ways Direct \
        --engine onnxruntime --json-out benchmarks/results/real_edits-null-text.jsonl
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cyclopts import App
from rich.console import Console
from rich.progress import track
from rich.table import Table
from underpaint import Method, Pipeline, Trajectory
from underpaint_inversion import NegativePromptInversion, ProxEdit
from underpaint_null_text_inversion import NullTextInversion
from underpaint_picturebook.judge import Judge
from underpaint_picturebook.objects import OBJECTS
from underpaint_picturebook.world import Scene
from underpaint_prompt_to_prompt import PromptToPrompt

from benchmarks.p2p_quality import grow
from benchmarks.renders import psnr, unseen_scenes
from benchmarks.report import write_lines

AN = "umbrella"
"""The one noun that would want another article."""

app = App(help=__doc__)


@dataclass(frozen=True)
class Way:
    """How the picture is inverted and what stands beside Prompt-to-Prompt."""

    follow: bool = False
    beside: tuple[Method, ...] = ()
    refinements: int = 0
    swap: Mapping[str, Any] = field(default_factory=dict)


PROX = ProxEdit.model_validate({"inversion_guidance": {}})

WAYS: dict[str, Way] = {
    "DDIM": Way(),
    "DDIM, refined": Way(refinements=2),
    "null-text": Way(beside=(NullTextInversion.model_validate({}),)),
    "negative-prompt": Way(beside=(NegativePromptInversion.model_validate({}),)),
    "ProxEdit": Way(beside=(PROX,)),
    "Direct": Way(follow=True),
    "Direct + ProxEdit": Way(follow=True, beside=(PROX,)),
    "Direct + LocalBlend": Way(follow=True, swap={"blend": {}}),
}


@dataclass(frozen=True)
class Case:
    """A picture, what it shows, and what it is to show."""

    made: Scene
    old: str
    new: str
    target: str


@dataclass(frozen=True)
class Outcome:
    """What came of one edit; PSNR in dB."""

    way: str
    seed: int
    source: str
    target: str
    success: bool
    background: float
    reconstruction: float
    seconds: float


def cases() -> Iterator[Case]:
    """Yield unseen scenes with one object and no style, each with another noun."""
    for made in unseen_scenes():
        item = made.objects[0]
        if item.name == AN:
            continue
        others = [name for name in OBJECTS if name not in (item.name, AN)]
        new = random.Random(made.seed).choice(others)  # noqa: S311 - no secret
        start, stop = item.words.noun
        yield Case(made, item.name, new, made.caption[:start] + new + made.caption[stop:])


def edit(pipe: Pipeline, judge: Judge, case: Case, name: str, path: Trajectory) -> Outcome:
    """Edit one picture one way."""
    way = WAYS[name]
    swap = PromptToPrompt.model_validate({"source": case.made.caption, **way.swap})
    started = time.perf_counter()
    result = pipe(
        case.target,
        edits=[swap, *way.beside],
        trajectory=path,
        follow=way.follow,
        seed=0,
        record_attention=False,
    )
    seconds = time.perf_counter() - started
    edited, source = (np.asarray(i) for i in (result.images[0], result.branches["source"][0]))
    verdict = judge([edited])[0]
    around = ~grow(case.made.objects[0].mask | verdict.mask(case.new))
    return Outcome(
        way=name,
        seed=case.made.seed,
        source=case.made.caption,
        target=case.target,
        success=bool(verdict.find(case.new)) and not verdict.find(case.old),
        background=psnr(edited, case.made.image, around),
        reconstruction=psnr(source, case.made.image),
        seconds=seconds,
    )


def vae_alone(pipe: Pipeline, chosen: Sequence[Case]) -> float:
    """Return the mean PSNR of pictures that are only encoded and decoded."""
    values = []
    for case in chosen:
        pixels = torch.tensor(case.made.image).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            back = pipe.engine.decode_latents(pipe.engine.encode_image(pixels)).clamp(0, 1)[0]
        picture = (back.permute(1, 2, 0) * 255).round().byte().numpy()
        values.append(psnr(picture, case.made.image))
    return statistics.mean(values)


@app.default
def main(
    *,
    engine: str = "pytorch",
    seeds: int = 100,
    ways: tuple[str, ...] = tuple(WAYS),
    json_out: Path | None = None,
) -> None:
    """Edit so many pictures every way, print a table, and write JSON lines after each picture."""
    compared = {name: WAYS[name] for name in ways}
    pipe, judge = Pipeline.from_pretrained("picturebook", engine), Judge.load()
    source = cases()
    chosen = [next(source) for _ in range(seeds)]
    outcomes: list[Outcome] = []
    lines: list[dict[str, Any]] = []
    for case in track(chosen, "editing", console=Console(stderr=True)):
        paths = {
            count: pipe.invert(case.made.image, case.made.caption, refinements=count)
            for count in {way.refinements for way in compared.values()}
        }
        for name, way in compared.items():
            outcomes.append(edit(pipe, judge, case, name, paths[way.refinements]))
        lines = [_summary(name, outcomes, engine) for name in compared]
        write_lines(json_out, [*lines, *({"case": asdict(each)} for each in outcomes)])
    best = vae_alone(pipe, chosen)
    vae = {"benchmark": "real_edits", "way": "vae", "reconstruction": best}
    write_lines(json_out, [*lines, vae, *({"case": asdict(each)} for each in outcomes)])
    table = Table("way", "success", "background dB", "reconstruction dB", "s an edit", box=None)
    for line in lines:
        table.add_row(
            line["way"],
            f"{line['success']:.0%}",
            f"{line['background']:.1f}",
            f"{line['reconstruction']:.1f}",
            f"{line['seconds']:.2f}",
        )
    table.add_row("(vae alone)", "", "", f"{best:.1f}", "")
    Console().print(table)


def _summary(name: str, outcomes: Sequence[Outcome], engine: str) -> dict[str, Any]:
    own = [each for each in outcomes if each.way == name]
    return {
        "benchmark": "real_edits",
        "way": name,
        "engine": engine,
        "cases": len(own),
        "success": sum(each.success for each in own) / len(own),
        "background": statistics.mean(each.background for each in own),
        "reconstruction": statistics.mean(each.reconstruction for each in own),
        "seconds": statistics.median(each.seconds for each in own),
    }


if __name__ == "__main__":
    app()
