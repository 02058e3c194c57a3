"""Edit renders along an attribute and compare with the truth, which the world can draw.

Pictures are renders that no training saw, with one object, no style, and the place that the
attribute starts from. The *truth* is the same render with its object's pixels as they are and the
target's place drawn behind it, with the same horizon. Counted for each way:

* success: the judge sees the new place and still the object; kept: still the object;
* inside, outside: PSNR to the truth in the object, and outside of it (a rim of both left out).

Ways: "none" is the inverted picture denoised again, with its prompt as the negative one; "asyrp"
edits it; "prompt" is the target's text in place of "none"'s. "(another draw)" is what a perfect
editor that cannot know the shades and stars of the truth would reach: the same scene with the place
drawn once more.

    python -m benchmarks.asyrp_real night --json-out benchmarks/results/asyrp_real-night.jsonl
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from cyclopts import App
from rich.console import Console
from rich.progress import track
from rich.table import Table
from underpaint import Method, Pipeline
from underpaint_asyrp import Asyrp, Attribute
from underpaint_picturebook.backgrounds import BACKGROUNDS
from underpaint_picturebook.judge import Judge, Verdict
from underpaint_picturebook.world import Scene, render

from benchmarks.asyrp import CASES, place_of
from benchmarks.p2p_quality import grow
from benchmarks.renders import Pixels, psnr, unseen_scenes
from benchmarks.report import write_lines

ANOTHER = "(another draw)"
GUIDANCE = 3.0
"""Of real pictures a little less keeps the object better than the attributes' own."""


@dataclass(frozen=True)
class Case:
    """A render, the text of its edit, and two draws of what it should become."""

    made: Scene
    target: str
    truth: Pixels
    another: Pixels


@dataclass(frozen=True)
class Outcome:
    """What came of one case in one way; PSNR in dB."""

    way: str
    seed: int
    source: str
    target: str
    success: bool
    kept: bool
    inside: float
    outside: float


def cases(source: str, target: str) -> Iterator[Case]:
    """Yield unseen scenes in the place `source`, to be moved to `target`."""
    words = BACKGROUNDS[target].words[0]
    for made in unseen_scenes():
        if made.background == source:
            subject = made.caption
            for said in sorted(BACKGROUNDS[source].words, key=len, reverse=True):
                subject = subject.removesuffix(f" {said}")
            first, second = (draw_behind(made, target, draw) for draw in (0, 1))
            yield Case(made, f"{subject} {words}", first, second)


def draw_behind(made: Scene, place: str, draw: int) -> Pixels:
    """Return the scene with its object's pixels and another place, in the shades of a draw."""
    rng = random.Random(f"{made.seed}/{draw}")  # noqa: S311 - no secret
    picture, _ = render((), place, "none", made.horizon, rng)
    return np.where(made.objects[0].mask[..., None], made.image, picture)


def judge_outcome(way: str, case: Case, picture: Pixels, verdict: Verdict, place: str) -> Outcome:
    """Compare a picture with the truth."""
    item = case.made.objects[0]
    kept = verdict.find(item.name) is not None
    return Outcome(
        way=way,
        seed=case.made.seed,
        source=case.made.caption,
        target=case.target,
        success=kept and verdict.background == place,
        kept=kept,
        inside=psnr(picture, case.truth, ~grow(~item.mask)),
        outside=psnr(picture, case.truth, ~grow(item.mask)),
    )


def edit_all(
    pipe: Pipeline, part: Sequence[Case], edit: Method, call: dict[str, Any]
) -> dict[str, list[Pixels]]:
    """Return some pictures edited every way; they are inverted once."""
    sources, targets = [case.made.caption for case in part], [case.target for case in part]
    steps = call["num_inference_steps"]
    path = pipe.invert([case.made.image for case in part], sources, num_inference_steps=steps)
    kept = {"negative_prompt": sources}
    ways: dict[str, tuple[list[str], dict[str, Any]]] = {
        "none": (sources, kept),
        "asyrp": (sources, {"edits": [edit]}),
        "prompt": (targets, kept),
    }
    drawn = {ANOTHER: [case.another for case in part]}
    for way, (prompts, given) in ways.items():
        result = pipe(prompts, trajectory=path, seed=0, record_attention=False, **call, **given)
        drawn[way] = [np.asarray(image.convert("RGB")) for image in result.images]
    return drawn


def summarise(way: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the shares and means of one way."""
    own = [each for each in outcomes if each.way == way]
    names = ("success", "kept", "inside", "outside")
    means = {name: float(np.mean([getattr(each, name) for each in own])) for name in names}
    return {"summary": way, "cases": len(own), **means}


def bench(
    attribute: str,
    /,
    *,
    strength: float = 1.0,
    engine: str = "pytorch",
    limit: int = CASES,
    steps: int | None = None,
    guidance_scale: float = GUIDANCE,
    json_out: Path | None = None,
) -> None:
    """Edit renders every way and compare them with the truth.

    Parameters
    ----------
    attribute : a shipped one's name, or a file.
    strength : of the attribute.
    engine : what runs picturebook.
    limit : number of pictures.
    steps : of the inversion and the edits; left out, those of its training.
    guidance_scale : of the edits.
    json_out : a file for one JSON line a way, and one a picture and way.
    """
    facts = Attribute.load(attribute).facts
    source, target = place_of(facts.source), place_of(facts.target)
    pipe, judge = Pipeline.from_pretrained("picturebook", engine), Judge.load()
    edit = Asyrp(attributes={attribute: strength})
    call = {
        "num_inference_steps": steps or facts.num_inference_steps,
        "guidance_scale": guidance_scale,
    }
    chosen = list(islice(cases(source, target), limit))
    chunk = max(pipe.engine.max_rows // 2, 1)
    outcomes: list[Outcome] = []
    for start in track(range(0, limit, chunk), "editing", console=Console(stderr=True)):
        part = chosen[start : start + chunk]
        for way, pictures in edit_all(pipe, part, edit, call).items():
            judged = zip(part, pictures, judge(pictures), strict=True)
            outcomes += [judge_outcome(way, *each, target) for each in judged]
    lines = [summarise(way, outcomes) for way in dict.fromkeys(each.way for each in outcomes)]
    table = Table("way", "success", "object kept", "inside dB", "outside dB", box=None)
    for line in lines:
        shares = (f"{line[name]:.0%}" for name in ("success", "kept"))
        table.add_row(line["summary"], *shares, f"{line['inside']:.1f}", f"{line['outside']:.1f}")
    Console().print(table)
    about = {"attribute": attribute, "strength": strength, "engine": engine, **call}
    write_lines(json_out, ({**about, **line} for line in (*lines, *map(asdict, outcomes))))


if __name__ == "__main__":
    app = App(name="asyrp_real", result_action="return_value")
    app.default(bench)
    sys.exit(app())
