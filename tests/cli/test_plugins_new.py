"""``underpaint plugins new``: names, folders, and packages that are whole."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from underpaint.scaffold import FLAVOURS, Names
from underpaint.scaffold.names import LONGEST, RESERVED
from underpaint.scaffold.writing import render

ROOT = Path(__file__).parents[2]
LONG = "word-" * 6 + "ab"
"""As long as a name may be: the lines of the template are then at their longest."""


def in_process(*command: str, folder: Path, **settings: str) -> str:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return a folder with a package of each flavour, and both installed as pip does it."""
    folder = tmp_path_factory.mktemp("new")
    for name, flavour in ((LONG, "forward"), ("wb", "guidance")):
        command = ("underpaint", "plugins", "new", name, "--flavour", flavour)
        in_process(*command, folder=folder)
    plugins = [str(path) for path in sorted(folder.iterdir())]
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    in_process("pip", "install", "-q", *offline, "--target", "site", *plugins, folder=folder)
    return folder


def plugins_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("underpaint-*"))


def test_its_tests_are_green(written):
    """Both in one process, which loads PyTorch once; tests/test_docs.py runs the READMEs."""
    suites = [str(plugin / "tests" / "test_method.py") for plugin in plugins_of(written)]
    options = ("-q", "--import-mode=importlib", "-p", "no:cacheprovider")
    told = in_process("pytest", *options, *suites, folder=written, PYTHONPATH=str(written / "site"))
    assert re.search(r"^20 passed", told, re.M), told


def test_ruff_is_content(written):
    for plugin in plugins_of(written):
        in_process("ruff", "check", "--no-cache", ".", folder=plugin)
        in_process("ruff", "format", "--no-cache", "--check", ".", folder=plugin)


@pytest.mark.slow
def test_mypy_is_content(written, tmp_path):
    for plugin in plugins_of(written):
        in_process("mypy", "--cache-dir", str(tmp_path / "cache"), folder=plugin)


def test_what_it_says_as_json(cli, tmp_path):
    code, out, err = cli("plugins", "new", "word-box", "--flavour", "guidance", "--json")
    data = json.loads(out)
    folder = tmp_path / "underpaint-word-box"
    assert (code, err) == (0, "")
    assert (data["distribution"], data["package"]) == ("underpaint-word-box", "underpaint_word_box")
    assert (data["class"], data["folder"]) == ("WordBox", str(folder))
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert data["files"] == sorted(found)
    assert ".github/workflows/tests.yml" in data["files"]
    assert [path.name for path in tmp_path.iterdir()] == ["underpaint-word-box"]  # no draft left


def test_it_says_what_to_do_next(cli):
    code, out, err = cli("plugins", "new", "word-box", "-o", "a folder/plugin")
    assert code == 0
    assert "a folder/plugin/pyproject.toml" in out.splitlines()
    assert "cd 'a folder/plugin'" in err


@pytest.mark.parametrize("name", ["Word", "word_box", "1st", "-a", "a--b", "a-", "", "ä", "a" * 33])
def test_a_bad_name_is_told_with_what_is_valid(cli, names, name):
    code, _, err = cli("plugins", "new", "--", name)
    assert code == 2
    assert "lower-case letters and digits" in err
    assert "'word-weight'" in err
    assert names() == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("underpaint-box", "give the method's name alone, 'box'"),
        ("none", "'none' is reserved"),
        ("fake-swap", "fake-methods 1.2 installs a method of that name"),
        ("picturebook", "underpaint-picturebook 0.1.0 is installed"),
        ("engines", "a package underpaint_engines is there"),
    ],
)
def test_a_taken_name_is_told_with_its_owner(cli, names, name, told):
    code, out, _ = cli("plugins", "new", name, "--json")
    error = json.loads(out)["error"]
    assert code == 2
    assert error["type"] == "InvalidRequestError"
    assert told in error["message"]
    assert names() == []


def test_the_reserved_names_are_those_that_the_template_imports():
    parts = {part for flavour in FLAVOURS for _, text in render(Names("x"), flavour)
             for line in re.findall(r"^(?:from \S+ )?import (.+)$", text, re.M)
             for part in re.findall(r"\b[A-Z]\w+", line)}  # fmt: skip
    assert parts - {"X"} <= {Names(name).class_name for name in RESERVED}
    assert len(LONG) == LONGEST


def test_a_folder_that_is_not_empty_is_left_alone(cli, tmp_path, names):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("mine")
    code, _, err = cli("plugins", "new", "word-box", "-o", "there")
    assert (code, names()) == (2, ["there/mine.txt"])
    assert "not empty: nothing was written" in err
    code, _, err = cli("plugins", "new", "word-box", "-o", "there/mine.txt")
    assert (code, names()) == (2, ["there/mine.txt"])
    assert "is a file" in err


def test_an_empty_folder_is_filled(cli, tmp_path, names):
    (tmp_path / "there").mkdir()
    assert cli("plugins", "new", "word-box", "-o", "there")[0] == 0
    assert "there/pyproject.toml" in names()


def test_nothing_is_left_of_what_could_not_be_written(cli, monkeypatch, names):
    whole = Path.write_text

    def full(path, text, *arguments, **options):
        if path.name == "test_readme.py":
            raise OSError(28, "No space left on device", str(path))
        return whole(path, text, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", full)
    code, _, err = cli("plugins", "new", "word-box")
    assert code == 2
    assert "No space left on device" in err
    assert names() == []
