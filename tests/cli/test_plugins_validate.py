"""``underpaint plugins validate``: in a process of its own, with an exit code and JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from underpaint.inspection import inspect_isolated
from underpaint.inspection.inspecting import inspect_plugin
from underpaint.inspection.project import find_project, read_installed
from underpaint.registry import find
from underpaint.scaffold import Names, write_plugin

ROOT = Path(__file__).parents[2]
PACKAGE = Path(__file__).parent / "package"
SHIPPED = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))


@pytest.fixture
def plugin(tmp_path):
    """Write a plugin whose module begins with `line`, and return its folder."""

    def write(line=""):
        folder = tmp_path / "plugin"
        write_plugin(Names("planted-cli"), "forward", folder)
        module = folder / "src" / "underpaint_planted_cli" / "method.py"
        module.write_text(module.read_text().replace("import torch\n", f"import torch\n{line}\n"))
        return folder

    return write


SCRIPT = """
import sys
from underpaint.inspection.inspecting import inspect_plugin
for folder in sys.argv[1:]:
    for found in inspect_plugin(folder):
        if found.severity == "error":
            print(folder, found)
"""


def test_the_shipped_plugins_have_no_errors(outside):
    """All in one fresh process, where what one of them loads is not there yet."""
    done = outside("-c", SCRIPT, *map(str, SHIPPED))
    assert len(SHIPPED) >= 9
    assert (done.returncode, done.stdout) == (0, "")


def test_a_good_plugin(cli, plugin):
    code, out, _ = cli("plugins", "validate", str(plugin()), "--json")
    data = json.loads(out)
    assert (code, data["ok"], data["findings"]) == (0, True, [])


def test_what_is_wrong_is_told_and_the_exit_code_says_so(cli, plugin):
    folder = str(plugin("print('noise')\nimport scipy"))
    code, out, err = cli("plugins", "validate", folder, "--json")
    data = json.loads(out)
    assert (code, data["ok"], err) == (1, False, "")
    assert {"import-heavy", "import-prints"} == {each["code"] for each in data["findings"]}
    for finding in data["findings"]:
        assert set(finding) == {"code", "severity", "where", "message", "mend"}
    heavy = next(each for each in data["findings"] if each["code"] == "import-heavy")
    assert heavy["where"].startswith("src/underpaint_planted_cli/method.py:")
    assert "underpaint_planted_cli" not in sys.modules


def test_a_warning_alone_is_no_failure(cli, plugin):
    folder = plugin()
    (folder / "README.md").unlink()
    code, out, _ = cli("plugins", "validate", str(folder))
    assert code == 0
    assert "warning readme-missing" in out
    assert "-> Write README.md" in out
    assert "0 errors, 1 warning" in out


@pytest.mark.parametrize(
    ("line", "timeout", "code", "told"),
    [
        ("import os; os._exit(7)", 300, "inspection-crashes", "with exit code 7"),
        ("import time; time.sleep(999)", 8, "inspection-hangs", "not done after 8 seconds"),
    ],
)
def test_a_plugin_cannot_take_the_command_down(plugin, line, timeout, code, told):
    (found,) = inspect_isolated(str(plugin(line)), timeout)
    assert (found.code, found.severity) == (code, "error")
    assert told in found.message


def test_an_exit_at_import_is_a_finding(plugin):
    (found,) = inspect_plugin(str(plugin("raise SystemExit(3)")))
    assert found.code == "import-fails"
    assert found.where == "src/underpaint_planted_cli/method.py:12"


def test_neither_a_name_nor_a_folder(cli):
    code, _, err = cli("plugins", "validate", "prompt-to-promt")
    assert code == 2
    assert "Did you mean 'prompt-to-prompt'?" in err
    assert "folder of a pyproject.toml" in err


def test_a_name_is_its_source_tree_or_what_a_wheel_installed():
    editable = find_project("prompt-to-prompt")
    assert editable.root == ROOT / "plugins" / "prompt-to-prompt"
    wheel = find_project("fake-swap")
    assert wheel.root is None
    assert wheel.origin == "fake-methods 1.2"
    assert [path.name for path in wheel.sources()] == ["fake_methods.py"]
    assert wheel == read_installed(find("methods")["fake-swap"].dist)


def test_what_a_wheel_installed_is_validated(cli, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE))
    code, out, _ = cli("plugins", "validate", "fake-swap", "--json")
    found = {each["code"] for each in json.loads(out)["findings"]}
    assert code == 1
    assert {"distribution-name", "dependency-missing", "entry-point-broken"} <= found
    assert "readme-missing" not in found  # a wheel has no files beside its packages
