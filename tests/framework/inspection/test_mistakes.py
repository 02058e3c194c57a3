"""Every mistake is named, with its mend, and the plugin that the template gives has none."""

from __future__ import annotations

from itertools import count

import pytest
from underpaint.inspection.inspecting import inspect_plugin
from underpaint.scaffold import FLAVOURS, Names, write_plugin

from tests.framework.inspection.method_mistakes import AT_IMPORT, HOOKS, PARAMETERS, RUNS
from tests.framework.inspection.package_mistakes import ENTRY_POINTS, PACKAGING, SOURCE
from tests.framework.inspection.planting import Mistake

MISTAKES = [*PACKAGING, *SOURCE, *ENTRY_POINTS, *PARAMETERS, *HOOKS, *RUNS, *AT_IMPORT]

_numbers = count()


@pytest.fixture
def names() -> Names:
    """Return names that no other test of this process imports."""
    return Names(f"planted{next(_numbers)}")


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_the_template_gives_has_no_mistake(tmp_path, names, flavour):
    write_plugin(names, flavour, tmp_path / "plugin")
    assert inspect_plugin(str(tmp_path / "plugin")) == []


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: f"{m.code}-{m.says[:24]}")
def test_a_mistake_is_named_with_its_mend(
    tmp_path, names, monkeypatch, preserve_process, mistake: Mistake
):
    monkeypatch.chdir(tmp_path)
    folder = mistake.plant(tmp_path / "plugin", names)
    found = [f for f in inspect_plugin(str(folder)) if f.code == mistake.code]
    assert found, "the mistake was not found"

    def own(text: str) -> str:
        text = text.replace("PACKAGE", names.package).replace("CLASS", names.class_name)
        return text if "plugins new NAME" in text else text.replace("NAME", names.name)

    assert any(own(mistake.says) in f.message for f in found), found
    assert any(own(mistake.mends) in f.mend for f in found), found
    assert all(f.where for f in found)


def test_a_finding_says_where(tmp_path, names):
    mistake = next(each for each in MISTAKES if each.code == "import-forbidden")
    (found,) = inspect_plugin(str(mistake.plant(tmp_path / "plugin", names)))
    source = tmp_path / "plugin" / "src" / names.package / "method.py"
    line = source.read_text().splitlines().index("        import underpaint_engines.pytorch") + 1
    assert found.where == f"src/{names.package}/method.py:{line}"


def test_a_failure_is_blamed_on_the_plugins_own_line(tmp_path, names):
    mistake = next(each for each in MISTAKES if each.code == "run-fails")
    (found,) = inspect_plugin(str(mistake.plant(tmp_path / "plugin", names)))
    source = tmp_path / "plugin" / "src" / names.package / "method.py"
    line = next(n for n, text in enumerate(source.open(), 1) if "faktor" in text)
    assert found.where == f"src/{names.package}/method.py:{line}"
