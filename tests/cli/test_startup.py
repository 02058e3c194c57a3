from __future__ import annotations

import pytest
import underpaint
from underpaint.commands import COMMANDS

HEAVY = ("torch", "diffusers", "transformers", "matplotlib", "pydantic", "numpy", "PIL")

SCRIPT = """
import sys
from underpaint.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*sorted({{name.partition(".")[0] for name in sys.modules}} & {heavy}), file=sys.stderr)
"""


@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_first_questions_load_nothing_heavy(outside, flag):
    done = outside("-c", SCRIPT.format(heavy=set(HEAVY)), flag)
    assert done.returncode == 0
    assert done.stderr.strip() == ""


def test_the_guard_sees_heavy_modules(outside):
    done = outside("-c", "import PIL\n" + SCRIPT.format(heavy=set(HEAVY)), "--version")
    assert done.stderr.strip() == "PIL"


def test_version(cli):
    assert cli("--version") == (0, f"{underpaint.__version__}\n", "")


def test_help_lists_all_commands(cli):
    code, out, _ = cli("--help")
    assert code == 0
    for name in [*COMMANDS, "fake-train"]:
        assert name in out


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "edit"])
def test_every_command_has_help(cli, name):
    code, out, _ = cli(name, "--help")
    assert code == 0
    assert f"underpaint {name}" in out


def test_command_of_a_package(cli):
    assert cli("fake-train", "--steps", "4") == (0, "trained 4\n", "")


def test_module_runs(outside):
    done = outside("-m", "underpaint", "--version")
    assert (done.returncode, done.stdout) == (0, f"{underpaint.__version__}\n")
