"""A run: what it writes, how it goes on, what it refuses, and the report of it."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from underpaint import Pipeline
from underpaint.errors import InvalidRequestError
from underpaint_picturebook.judge import Judge

from benchmarks.picturebench.__main__ import main
from benchmarks.picturebench.calls import Call
from benchmarks.picturebench.edit_types import ALL_TYPES, EditType
from benchmarks.picturebench.editor import Settings
from benchmarks.picturebench.gallery import failures_first
from benchmarks.picturebench.methods import (
    METHODS,
    PAPERS,
    REFERENCES,
    EditMethod,
    UnknownMethodError,
    choose,
)
from benchmarks.picturebench.picture_set import draw_item, picture_set
from benchmarks.picturebench.report import (
    HTML,
    MARKDOWN,
    Report,
    markdown_table,
    render_markdown,
    write_report,
)
from benchmarks.picturebench.results_file import (
    LINES,
    CorruptResultsError,
    ResultsFile,
    SettingsChangedError,
)
from benchmarks.picturebench.runner import Bench, describe
from benchmarks.picturebench.tables import papers_table, purpose_table

ITEM = draw_item("test", EditType.CHANGE_OBJECT, 0)
JUDGE = Judge.load()


class Refusing:
    """A pipeline that refuses every call."""

    def __call__(self, *args, **kwargs):
        raise InvalidRequestError("no.")

    def invert(self, *args, **kwargs):
        return "path"


def bench(folder, settings=None, pipe=None):
    results = ResultsFile.open(folder, settings or {"steps": 2}, {"processor": "one"})
    return Bench(pipe or Refusing(), JUDGE, Settings(steps=2, guidance=4.0), results)


def text_of(folder):
    return (folder / LINES).read_text()


def lines_of(folder):
    return [json.loads(line) for line in text_of(folder).splitlines()]


def test_a_run_writes_settings_and_a_line_an_edit(tmp_path):
    assert list(bench(tmp_path).run(ITEM, choose(["unedited", "expected"])))
    header, unedited, expected = lines_of(tmp_path)
    assert header == {"settings": {"steps": 2}, "processor": "one"}
    assert (unedited["method"], unedited["told"], unedited["type"]) == ("unedited", "prompts", 1)
    assert (unedited["success"], expected["success"]) == (False, True)
    assert unedited["attention_iou"] is None
    assert unedited["seconds"] is None


def test_nan_is_written_as_null(tmp_path):
    results = ResultsFile.open(tmp_path, {}, {})
    results.add({"method": "m", "item": "i", "a": math.nan, "b": np.float32("inf"), "c": 1.5})
    assert lines_of(tmp_path)[1] == {"method": "m", "item": "i", "a": None, "b": None, "c": 1.5}


def test_a_second_run_makes_nothing_again_and_adds_what_is_new(tmp_path):
    list(bench(tmp_path).run(ITEM, choose(["unedited"])))
    before = text_of(tmp_path)
    list(bench(tmp_path).run(ITEM, choose(["unedited"])))
    assert text_of(tmp_path) == before
    list(bench(tmp_path).run(ITEM, choose(["unedited", "expected"])))
    assert text_of(tmp_path).startswith(before)
    assert len(lines_of(tmp_path)) == 3


def test_a_line_that_was_cut_off_is_made_again(tmp_path):
    list(bench(tmp_path).run(ITEM, choose(["unedited", "expected"])))
    whole = text_of(tmp_path)
    (tmp_path / LINES).write_text(whole[:-40])
    list(bench(tmp_path).run(ITEM, choose(["unedited", "expected"])))
    assert text_of(tmp_path) == whole


def test_a_broken_line_in_the_middle_is_refused(tmp_path):
    list(bench(tmp_path).run(ITEM, choose(["unedited", "expected"])))
    lines = text_of(tmp_path).split("\n")
    (tmp_path / LINES).write_text("\n".join([lines[0], lines[1][:-5], *lines[2:]]))
    with pytest.raises(CorruptResultsError, match="line 2"):
        bench(tmp_path)


def test_other_settings_are_refused_by_name(tmp_path):
    bench(tmp_path)
    with pytest.raises(SettingsChangedError, match="steps: 2 then, 3 now"):
        bench(tmp_path, {"steps": 3})


def test_a_changed_item_or_call_is_refused(tmp_path):
    list(bench(tmp_path).run(ITEM, choose(["unedited"])))
    changed = draw_item("test", EditType.CHANGE_OBJECT, 0, seed=1)
    with pytest.raises(SettingsChangedError, match="digest"):
        list(bench(tmp_path).run(changed, choose(["unedited"])))
    other = EditMethod("unedited", ALL_TYPES, "prompts", lambda _: Call("another prompt"))
    with pytest.raises(SettingsChangedError, match="another prompt"):
        list(bench(tmp_path).run(ITEM, [other]))


def test_an_edit_that_is_refused_counts_as_a_failure_and_says_why(tmp_path):
    list(bench(tmp_path).run(ITEM, choose(["ddim"])))
    line = lines_of(tmp_path)[1]
    assert line["success"] is False
    assert line["error"] == "InvalidRequestError: no."


def test_an_unknown_method_is_refused_with_the_valid_ones():
    with pytest.raises(UnknownMethodError, match=r"'p2p'.*ddim\+p2p"):
        choose(["p2p"])


def test_the_table_of_methods_has_unique_names_and_fits_real_items():
    assert len({method.name for method in METHODS}) == len(METHODS)
    items = picture_set("test", 20)
    for method in METHODS:
        calls = [method.call(item) for item in items]
        assert any(calls) or method.name == "asyrp"
        for item, call in zip(items, calls, strict=True):
            assert call is None or item.type in method.types
            json.dumps(call.describe() if call else None)


def test_only_methods_that_say_so_see_the_mask():
    for method in METHODS:
        call = method.call(ITEM)
        edits = call.edits if call else ()
        masked = any(getattr(e, "mask", None) is not None or hasattr(e, "boxes") for e in edits)
        assert masked == (method.told == "mask") or call is None


def test_a_real_edit_is_measured_and_takes_time(tmp_path):
    pipe = Pipeline.from_pretrained("picturebook")
    list(bench(tmp_path, pipe=pipe).run(ITEM, choose(["autoencoder", "ddim+p2p"])))
    coded, edited = lines_of(tmp_path)[1:]
    assert coded["psnr_outside"] > 28
    assert edited["error"] is None
    assert edited["seconds"] > 0
    assert 0 <= edited["attention_iou"] <= 1
    assert edited["psnr_outside"] < coded["psnr_outside"]
    assert (tmp_path / "pictures" / "ddim+p2p" / f"{ITEM.key}.attention.webp").is_file()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("finished")
    for item in picture_set("test", 3):
        list(bench(tmp_path).run(item, choose(["unedited", "expected", "ddim"])))
    given = (
        "good",
        ALL_TYPES,
        "result",
        lambda item: Call(start="given", picture=item.truth.picture),
    )
    list(bench(tmp_path).run(ITEM, [EditMethod(*given)]))
    write_report(tmp_path)
    return tmp_path


def test_failures_come_first_and_references_not_at_all(finished):
    lines = failures_first(lines_of(finished)[1:])
    assert [line["success"] for line in lines] == [False, False, False, True]
    assert not {line["method"] for line in lines} & set(REFERENCES)


def test_the_page_needs_no_network_and_shows_failures_before_successes(finished):
    page = (finished / HTML).read_text()
    bare = re.sub(r"base64,[^\"]*", "base64,", page)
    loaded = re.findall(r'(?:src|href)="([^"]*)', bare) + re.findall(r"url\(([^)]*)", bare)
    assert loaded
    assert all(address.startswith(("data:", "#")) for address in loaded)
    assert "<script" not in page
    assert page.index("refused: InvalidRequestError: no.") < page.index("as expected")
    assert "<svg" in page
    assert page.count("data:image/webp;base64,") >= 4
    assert "processor" in page


def test_the_markdown_has_the_same_tables_and_lists_failures(finished):
    text = (finished / MARKDOWN).read_text()
    assert "| unedited | prompts | 3 | 0% (0% to 56%) |" in text
    assert "| expected | result | 3 | 100% (44% to 100%) |" in text
    assert "- ddim, random, test-0000:" in text
    assert "nan" not in text.lower()


@pytest.mark.parametrize(
    ("successes", "outside", "reaches"),
    [(17, 28.0, "yes"), (16, 60.0, "no"), (20, 27.9, "no"), (20, None, "no")],
)
def test_a_paper_reaches_both_bars_or_not(successes, outside, reaches):
    name = PAPERS["Pix2Pix-Zero"]
    item = draw_item("test", EditType.COLOUR, 0)
    line = {**describe(item, choose([name])[0]), "psnr_outside": outside, "error": None}
    other = {**line, "type": EditType.STYLE.value, "success": False}  # not what it is for
    lines = [{**line, "success": n < successes} for n in range(20)]
    (row,) = papers_table([*lines, other]).rows
    assert row[:4] == ("Pix2Pix-Zero", name, "words", "20")
    assert row[-1] == reaches


def test_left_out_settings_are_the_models_own():
    info = Pipeline.from_pretrained("picturebook").engine.info
    found = Settings.of(info, steps=None, guidance=1.0, seed=3)
    assert (found.steps, found.guidance, found.seed) == (info.num_inference_steps, 1.0, 3)


def test_the_command_line_runs_reports_and_refuses(tmp_path, capsys, monkeypatch):
    out = str(tmp_path / "out")
    run = ["picturebench", "--methods", "unedited", "expected", "--limit", "2", "--out", out]
    monkeypatch.setattr("sys.argv", run)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert (tmp_path / "out" / HTML).is_file()
    monkeypatch.setattr("sys.argv", [*run, "--steps", "3"])
    with pytest.raises(SystemExit, match="steps: 25 then, 3 now"):
        main()
    monkeypatch.setattr("sys.argv", [*run, "--profile", "paper"])
    with pytest.raises(SystemExit, match="--dino FOLDER"):
        main()
    monkeypatch.setattr("sys.argv", ["picturebench", "--pie-bench", str(tmp_path), "--out", "x"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="mapping_file"):
        main()


def test_the_published_tables_are_what_the_published_lines_say():
    folder = Path(__file__).parents[2] / "benchmarks" / "picturebench"
    report = Report.of(folder / "results")
    assert (folder / "results" / MARKDOWN).read_text("utf-8") == render_markdown(report)
    readme = (folder / "README.md").read_text("utf-8")
    for table in (papers_table(report.lines), purpose_table(report.lines)):
        assert markdown_table(table) in readme
    splits = {line["split"] for line in report.lines}
    assert splits == {"test"}
