"""The sweeps: what they try, and that the published lines are of what they try."""

import json
from pathlib import Path

import pytest

from benchmarks.picturebench import sweep
from benchmarks.picturebench.picture_set import picture_set
from benchmarks.picturebench.sweep import SWEEPS

RESULTS = Path(sweep.__file__).parent / "results"


@pytest.mark.parametrize("name", SWEEPS)
def test_each_setting_is_another_call(name):
    found = SWEEPS[name]
    item = next(item for item in picture_set("tune") if item.type in found.types)
    calls = [found.make(item, values) for values in found.grid]
    assert len({json.dumps(call.describe()) for call in calls if call}) == len(found.grid) > 1


@pytest.mark.parametrize("name", SWEEPS)
def test_the_published_lines_are_of_the_grid(name):
    text = (RESULTS / f"sweep-{name}.jsonl").read_text("utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert {line["sweep"] for line in lines} == {name}
    assert [{key: line[key] for key in SWEEPS[name].grid[0]} for line in lines] == [
        dict(values) for values in SWEEPS[name].grid
    ]


def test_an_unknown_sweep_is_refused_with_the_valid_ones():
    with pytest.raises(SystemExit, match=r"No sweep 'p2p'.*p2p-blend, null-text-blend"):
        sweep.main("p2p")
