"""Each shipped plugin's own tests, run against the wheels of the core and of the plugins.

The wheels are unpacked into a folder that stands first on the path, before the source trees that
the environment is installed from; a pytest plugin fails the run if any code came from those.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))

GUARD = """
import sys
from importlib.metadata import distribution
from pathlib import Path

SITE = Path(__file__).parent


def pytest_sessionfinish(session):
    loaded = {
        name: Path(module.__file__)
        for name, module in list(sys.modules.items())
        if name.partition(".")[0].startswith("underpaint")
        and name.partition(".")[0] != "underpaint_picturebook"
        and getattr(module, "__file__", None)
    }
    foreign = [name for name, file in loaded.items() if not file.is_relative_to(SITE)]
    assert "underpaint.hooks" in loaded, "the core was never loaded"
    assert not foreign, f"from elsewhere than the wheels: {foreign}"
    assert Path(str(distribution("underpaint").locate_file(""))) == SITE
    print(f"\\nwheels: {len(loaded)} modules")
"""
"""Each module's file proves it at the end; the model, which is data, may be elsewhere."""

pytestmark = pytest.mark.slow


def in_process(*command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Return a folder with the wheels of the core and of every plugin, installed."""
    folder = tmp_path_factory.mktemp("wheels")
    offline = ("-q", "--no-index", "--no-deps", "--disable-pip-version-check")
    sources = [str(ROOT), *map(str, PLUGINS)]
    wheels = str(folder / "dist")
    built = in_process("pip", "wheel", *offline, "--no-build-isolation", "-w", wheels, *sources)
    assert built.returncode == 0, built.stderr
    files = sorted(map(str, (folder / "dist").glob("*.whl")))
    assert len(files) == 1 + len(PLUGINS)
    done = in_process("pip", "install", *offline, "--target", str(folder / "site"), *files)
    assert done.returncode == 0, done.stderr
    (folder / "site" / "wheel_guard.py").write_text(GUARD)
    return folder / "site"


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugins_tests_pass_on_the_wheels(site, plugin):
    options = ("-q", "-p", "wheel_guard", "-p", "no:cacheprovider", "-m", "not slow")
    done = in_process("pytest", *options, str(plugin / "tests"), PYTHONPATH=str(site))
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert int(re.search(r"^wheels: (\d+) modules", told, re.M).group(1)) > 40
    assert re.search(r"^\d+ passed", told, re.M), told


def test_the_guard_sees_what_comes_from_a_source_tree(site, tmp_path):
    """Without the wheels on the path, the same run fails."""
    (tmp_path / "wheel_guard.py").write_text(GUARD)
    suite = str(ROOT / "plugins" / "prompt-to-prompt" / "tests" / "test_alignment.py")
    options = ("-q", "-p", "wheel_guard", "-p", "no:cacheprovider")
    done = in_process("pytest", *options, suite, PYTHONPATH=str(tmp_path))
    assert done.returncode != 0
    assert "from elsewhere than the wheels" in done.stdout + done.stderr


def test_the_template_is_in_the_cores_wheel(site, tmp_path):
    command = ("underpaint", "plugins", "new", "word-box", "-o", str(tmp_path / "plugin"))
    done = in_process(*command, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    written = {path.relative_to(tmp_path / "plugin").as_posix() for path in tmp_path.rglob("*.*")}
    assert {"README.md", ".gitignore", ".github/workflows/tests.yml"} <= written
    assert "src/underpaint_word_box/py.typed" in written
