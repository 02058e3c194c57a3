"""Measure whether an attribute changes the place and nothing else, and what h alone can do.

Fixed prompts, seeds from 1000 upward, which no training saw. A case is kept if its *plain* picture
shows its object in the place that the prompt says, as the judge sees it. Each case is then changed
in three ways:

* asyrp: the attribute, which shifts the predicted picture alone;
* symmetric: the same deltas in both parts of the step, whose changes the paper says cancel out;
* prompt: the same seed with the target's prompt, which moves everything, skip connections too.

Of each: success (the judge sees the new place and still the object), whether the object is still
there, and the error inside it: mean absolute difference to the plain picture where the judge sees
the object in both, in levels of 255; without an object there is none.

    python -m benchmarks.asyrp night --json-out benchmarks/results/asyrp-night.jsonl
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from cyclopts import App
from rich.console import Console
from rich.table import Table
from underpaint import Method, Pipeline, Prediction, hookimpl
from underpaint_asyrp import Asyrp, Attribute
from underpaint_picturebook.judge import Judge, Verdict

from benchmarks.renders import Pixels
from benchmarks.report import write_lines

CASES = 100
FIRST_SEED = 1000
SUBJECT = "..."
OBJECTS = (
    ("red", "cat"), ("blue", "car"), ("yellow", "house"), ("green", "boat"), ("purple", "flower"),
    ("orange", "ball"), ("white", "dog"), ("pink", "umbrella"), ("green", "bus"), ("red", "fish"),
    ("yellow", "star"), ("pink", "heart"), ("blue", "mushroom"), ("green", "tree"),
    ("purple", "cake"), ("yellow", "bird"),
)  # fmt: skip
"""Seed k takes object k modulo their number."""

PLACES = {"on grass": "grass", "at night": "night", "in the snow": "snow", "": "plain"}
"""What the judge calls a place that a text names after the subject."""


class Symmetric(Method):
    """Let the direction follow the shifted picture: Asyrp without its asymmetry."""

    method: ClassVar[str] = "benchmark.symmetric"

    def start(self) -> SymmetricRun:
        """Return the plugin of one run."""
        return SymmetricRun()


class SymmetricRun:
    """One run; it stands after Asyrp."""

    @hookimpl(wrapper=True)
    def predict(self) -> Generator[None, Prediction, Prediction]:
        """Give P and D the same noise."""
        prediction = yield
        return prediction.with_x0(prediction.x0)


@dataclass(frozen=True)
class Case:
    """A seed whose plain picture is right."""

    seed: int
    name: str
    source: str
    target: str
    plain: Pixels
    verdict: Verdict


@dataclass(frozen=True)
class Outcome:
    """What came of one case in one way; the error is in levels of 255."""

    way: str
    seed: int
    object: str
    success: bool
    kept: bool
    error: float | None


@dataclass(frozen=True)
class Bench:
    """The model, the judge, and how pictures are made."""

    pipe: Pipeline
    judge: Judge
    facts: Any
    call: dict[str, Any]

    def cases(self, wanted: int, chunk: int) -> list[Case]:
        """Return the first `wanted` seeds whose plain picture the judge accepts."""
        found: list[Case] = []
        for start in range(FIRST_SEED, FIRST_SEED + 20 * wanted, chunk):
            found += self._right(range(start, start + chunk))
            if len(found) >= wanted:
                return found[:wanted]
        raise SystemExit(f"Only {len(found)} of {20 * wanted} seeds give a right plain picture.")

    def outcomes(self, way: str, part: Sequence[Case], edits: Sequence[Method]) -> list[Outcome]:
        """Change cases in one way."""
        prompts = [case.target if way == "prompt" else case.source for case in part]
        pictures = self._draw(prompts, [case.seed for case in part], edits)
        place = place_of(self.facts.target)
        return [
            Outcome(
                way,
                case.seed,
                case.name,
                success=verdict.background == place and bool(verdict.find(case.name)),
                kept=bool(verdict.find(case.name)),
                error=_error(case, picture, verdict),
            )
            for case, picture, verdict in zip(part, pictures, self.judge(pictures), strict=True)
        ]

    def _right(self, seeds: Sequence[int]) -> Iterator[Case]:
        objects = [OBJECTS[seed % len(OBJECTS)] for seed in seeds]
        subjects = [f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {name}"
                    for colour, name in objects]  # fmt: skip
        sources, targets = (
            [text.replace(SUBJECT, subject) for subject in subjects]
            for text in (self.facts.source, self.facts.target)
        )
        pictures = self._draw(sources, seeds, ())
        place = place_of(self.facts.source)
        rows = zip(seeds, objects, sources, targets, pictures, self.judge(pictures), strict=True)
        for seed, (_, name), source, target, picture, verdict in rows:
            if verdict.find(name) and verdict.background == place:
                yield Case(seed, name, source, target, picture, verdict)

    def _draw(
        self, prompts: Sequence[str], seeds: Sequence[int], edits: Sequence[Method]
    ) -> list[Pixels]:
        result = self.pipe(list(prompts), edits=edits, seed=list(seeds), **self.call)
        return [np.asarray(image.convert("RGB")) for image in result.images]


def place_of(text: str) -> str:
    """Return what the judge calls the place that a text names."""
    return PLACES[text.replace(SUBJECT, "").strip()]


def summarise(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the shares and the mean error of some outcomes."""
    return {
        "cases": len(outcomes),
        "success": float(np.mean([one.success for one in outcomes])),
        "kept": float(np.mean([one.kept for one in outcomes])),
        "error": float(np.mean([one.error for one in outcomes if one.error is not None])),
    }


def bench(
    attribute: str,
    /,
    *,
    strength: float = 1.0,
    engine: str = "pytorch",
    limit: int = CASES,
    steps: int | None = None,
    json_out: Path | None = None,
) -> None:
    """Change pictures along an attribute and count what came of them.

    Parameters
    ----------
    attribute : a shipped one's name, or a file.
    strength : of the attribute.
    engine : what runs picturebook.
    limit : number of cases.
    steps : of all pictures; left out, those of the attribute's training.
    json_out : a file for one JSON line a case and way, and one a way.
    """
    facts = Attribute.load(attribute).facts
    call = {
        "num_inference_steps": steps or facts.num_inference_steps,
        "guidance_scale": facts.guidance_scale,
    }
    pipe = Pipeline.from_pretrained("picturebook", engine)
    run = Bench(pipe, Judge.load(), facts, call)
    edit = Asyrp(attributes={attribute: strength})
    chunk = max(pipe.engine.max_rows // 2, 1)
    cases = run.cases(limit, chunk)
    ways: dict[str, list[Method]] = {
        "asyrp": [edit],
        "symmetric": [edit, Symmetric()],
        "prompt": [],
    }
    about = {"attribute": attribute, "strength": strength, "engine": engine, **call}
    lines: list[dict[str, Any]] = []
    table = Table("way", "cases", "success", "object kept", "error inside it")
    for way, edits in ways.items():
        parts = (cases[k : k + chunk] for k in range(0, len(cases), chunk))
        outcomes = [one for part in parts for one in run.outcomes(way, part, edits)]
        summary = summarise(outcomes)
        lines += [{"summary": way, **summary}, *map(asdict, outcomes)]
        shares = (f"{summary[name]:.0%}" for name in ("success", "kept"))
        table.add_row(way, str(summary["cases"]), *shares, f"{summary['error']:.1f}")
    Console().print(table)
    write_lines(json_out, ({**about, **line} for line in lines))


def _error(case: Case, picture: Pixels, verdict: Verdict) -> float | None:
    both = case.verdict.mask(case.name) & verdict.mask(case.name)
    if not both.any():
        return None
    return float(np.abs(picture.astype(np.float64) - case.plain)[both].mean())


if __name__ == "__main__":
    app = App(name="asyrp", result_action="return_value")
    app.default(bench)
    sys.exit(app())
