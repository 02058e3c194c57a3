"""The documentation holds: every hook is documented and tested, every snippet runs."""

import inspect
import re
from pathlib import Path

import pytest
from underpaint import registry
from underpaint.errors import UnknownNameError
from underpaint.registration import SPECIFICATIONS
from underpaint.scaffold import FLAVOURS, Names, write_plugin

from benchmarks import readme_table
from docs.generate import hooks
from docs.generate.markdown import signature_of

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("plugins/*/README.md")),
    *sorted(ROOT.glob("models/*/README.md")),
    *sorted(ROOT.glob("benchmarks/*/README.md")),
]


def snippets(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)


def has_weights(model):
    try:
        _, folder = registry.locate_model(model)
    except UnknownNameError:
        return False
    return bool(list(Path(folder).rglob("*.safetensors")))


@pytest.mark.parametrize("hook", SPECIFICATIONS)
def test_every_hook_is_documented_with_its_signature(hook):
    specification = SPECIFICATIONS[hook]
    page = hooks.render()
    assert f"## {hook}\n" in page
    assert f"def {signature_of(specification)}\n" in page
    assert len(inspect.getdoc(specification)) > 40


def test_the_readmes_table_of_engines_is_what_the_benchmark_wrote():
    assert readme_table.render() in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("hook", SPECIFICATIONS)
def test_every_hook_is_implemented_by_a_test(hook):
    tests = (ROOT / "tests" / "framework").rglob("test_*.py")
    implementation = re.compile(rf"@hookimpl(\(wrapper=True\))?\s+def {hook}\(self", re.M)
    assert any(implementation.search(path.read_text("utf-8")) for path in tests)


def test_every_hook_of_the_author_guide_exists():
    table = (ROOT / "docs" / "plugin-authors.md").read_text("utf-8").split("## Which hook?")[1]
    named = set(re.findall(r"^\|.*\| *(?:wrap )?`(\w+)`", table, re.M))
    assert named
    assert named <= set(SPECIFICATIONS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_snippets_of_a_page_run(page, tmp_path, monkeypatch):
    """One namespace a page, in an empty folder; tests among the snippets are run too."""
    if "picturebook" in page.read_text("utf-8") and not has_weights("picturebook"):
        pytest.skip("picturebook has no weights here")
    monkeypatch.chdir(tmp_path)
    run_snippets(page)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_snippets_of_a_new_plugins_readme_run(flavour, tmp_path, monkeypatch):
    if not has_weights("picturebook"):
        pytest.skip("picturebook has no weights here")
    write_plugin(Names(f"new-{flavour}"), flavour, tmp_path / "plugin")
    monkeypatch.syspath_prepend(str(tmp_path / "plugin" / "src"))
    monkeypatch.chdir(tmp_path)
    run_snippets(tmp_path / "plugin" / "README.md")
    assert (tmp_path / "ball.png").is_file()


def run_snippets(page):
    namespace = {"__name__": "__snippet__"}
    for number, snippet in enumerate(snippets(page)):
        code = compile(snippet, f"{page.name}[{number}]", "exec")
        exec(code, namespace)  # noqa: S102
    for name, value in namespace.items():
        if name.startswith("test_"):
            value()
