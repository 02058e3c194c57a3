"""The site builds without a warning or the network, and every page has what it is made from."""

import os
import re
import subprocess
import sys
from dataclasses import is_dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest
import underpaint
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort
from underpaint import records as record_classes
from underpaint import registry
from underpaint.run import Run
from underpaint.step import Step

from benchmarks import readme_table
from docs.generate import benchmarks, links, methods, records

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    # Not --quiet: what is not shown is not counted as a warning either.
    made = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return folder


class Loaded(HTMLParser):
    """Collects what a browser fetches to show a page."""

    def __init__(self):
        super().__init__()
        self.sources = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        fetched = values.get("src") if tag != "link" else values.get("href")
        self.sources += [fetched] if fetched else []


def test_a_page_loads_nothing_from_elsewhere_and_all_that_it_loads_is_there(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        parser = Loaded()
        parser.feed(page.read_text("utf-8"))
        assert parser.sources
        for source in parser.sources:
            assert not re.match(r"https?:|//", source), f"{page.name} loads {source}"
            if page.name != "404.html" and not source.startswith("data:"):
                assert (page.parent / source).is_file(), f"{page.name} has no {source}"


def test_no_style_sheet_loads_anything_from_elsewhere(site):
    sheets = list(site.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        assert not re.search(r"(url\(['\"]?|@import\s+['\"])(https?:)?//", sheet.read_text("utf-8"))


def test_sources_of_the_site_are_not_published(site):
    assert not list(site.rglob("*.py"))


@pytest.mark.parametrize("target", ["missing.md", "index.md#nowhere", "/index.md", "missing.png"])
def test_a_broken_link_stops_the_build(target, tmp_path):
    """With the site's own settings, on a page of its own."""
    pages = tmp_path / "docs"
    pages.mkdir()
    (pages / "index.md").write_text(f"# Here\n\n[there]({target})\n", "utf-8")
    changes = {"docs_dir": str(pages), "site_dir": str(tmp_path / "site"), "nav": ["index.md"]}
    config = load_config(
        str(ROOT / "mkdocs.yml"), **changes, hooks=[], plugins=[], theme={"name": "mkdocs"}
    )
    with pytest.raises(Abort):
        build(config)


@pytest.mark.parametrize(
    "file",
    [
        *(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("*.md"))),
        *(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("plugins/*/*.md"))),
        *(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("models/*/*.md"))),
        *(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("benchmarks/*/*.md"))),
    ],
)
def test_what_a_readme_links_to_is_in_the_repository(file):
    for target in links.targets(file):
        assert (ROOT / target).exists(), f"{file} links to {target}"


def test_a_link_is_rewritten_for_its_page_and_code_is_left_alone(monkeypatch, tmp_path):
    folder = tmp_path / "plugins" / "x"
    folder.mkdir(parents=True)
    text = "[a](../../README.md) ![b](b.png) [c](https://c.org) [d](#d)\n```python\ne[0](f)\n```\n"
    (folder / "README.md").write_text(text, "utf-8")
    monkeypatch.setattr(links, "ROOT", tmp_path)
    assert links.rehomed("plugins/x/README.md") == (
        "[a](../index.md) ![b](../images/plugins-x-b.png) [c](https://c.org) [d](#d)\n"
        "```python\ne[0](f)\n```\n"
    )


def test_a_link_to_what_is_no_page_is_an_error():
    with pytest.raises(ValueError, match=r"framework/underpaint/loop.py is no page of the site"):
        links.page_of("framework/underpaint/loop.py")


def test_every_public_record_is_on_the_page_of_records():
    page = records.render()
    public = [getattr(underpaint, name) for name in underpaint.__all__]
    kinds = {kind for kind in public if isinstance(kind, type) and is_dataclass(kind)}
    kinds |= {kind for kind in vars(record_classes).values() if is_dataclass(kind)}
    kinds -= {underpaint.Pipeline, underpaint.HookTimes}  # what calls, and what calls fill
    for kind in kinds:
        assert f"### {kind.__name__}\n" in page
    assert "- `edits`: whether it edits attention." in page
    assert "- `apply(maps: AttentionMaps) -> AttentionMaps`: Return `maps` with" in page


@pytest.mark.parametrize(("name", "kind"), [("run", Run), ("step", Step)])
def test_every_service_is_on_the_page_of_services(name, kind):
    page = (ROOT / "docs" / "services.md").read_text("utf-8")
    plain = {"branch", "at"}  # a look-up and a copy
    for service in vars(kind):
        if service not in plain and callable(vars(kind)[service]) and not service.startswith("_"):
            assert f"{name}.{service}" in page


@pytest.mark.parametrize("plugin", methods.plugins())
def test_the_page_of_a_plugin_has_its_readme_and_every_parameter_of_its_methods(plugin):
    page = methods.render(plugin)
    readme = (ROOT / "plugins" / plugin / "README.md").read_text("utf-8")
    assert page.startswith(readme.split("\n")[0])
    names = [name for name in registry.find("methods") if f"{{ #method-{name} }}" in page]
    assert names
    for name in names:
        section = page.split(f"{{ #method-{name} }}")[1].split("\n## ")[0]
        for parameter, field in registry.load("methods", name).model_fields.items():
            row = next(line for line in section.split("\n") if line.startswith(f"| `{parameter}`"))
            assert (field.description or "")[:20].replace("|", r"\|") in row
        assert f"[`{name}`]({plugin}.md#method-{name})" in methods.render_index()


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "number (at least 0, below 1)"),
        (
            {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]},
            "integer (at least 0) or nothing",
        ),
        ({"enum": ["a", "b"]}, "`a` or `b`"),
        ({"type": "array", "items": {"$ref": "#/$defs/Box"}}, "list of `Box`"),
        (
            {"type": "array", "prefixItems": [{"type": "number"}] * 2, "minItems": 2},
            "(number, number)",
        ),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "by name: number"),
    ],
)
def test_a_schema_in_words(schema, words):
    assert methods.kind(schema) == words


def test_every_results_file_is_on_the_page_of_benchmarks():
    page = benchmarks.render()
    files = sorted(readme_table.RESULTS.glob("*.jsonl"))
    assert files
    for file in files:
        assert f"### {file.stem}\n" in page
    assert readme_table.render() in page
    assert "| prompt-to-prompt | 50 | 0.92 | 5.12 | 3.41 |" in page  # of pix2pix_zero-generated


def test_an_engine_of_ones_own_is_found_by_its_entry_point(tmp_path, monkeypatch):
    """The page's code and entry points, installed as a distribution."""
    page = (ROOT / "docs" / "engine-authors.md").read_text("utf-8")
    code = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    points = re.search(r"^```toml\n(.*?)^```", page, re.M | re.S)[1]
    points = re.sub(r'\[project\.entry-points\."(.*?)"\]', r"[\1]", points).replace('"', "")
    (tmp_path / "colours_engine.py").write_text(code[0] + code[-1], "utf-8")
    info = tmp_path / "colours_engine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: colours-engine\nVersion: 1\n")
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path))

    pipe = underpaint.Pipeline.from_pretrained(tmp_path, engine="colours")
    green, blue = pipe(["green grass", "blue sky"], seed=1, output_type="pt").images
    assert (green - blue).abs().max() > 0.05
    assert green.std((1, 2)).max() < 1e-4  # flat, as the page says
    assert not registry.load("offers", "colours").edits
