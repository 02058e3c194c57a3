"""Inspecting a plugin in a process of its own: what it breaks there is broken nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from underpaint.cache_folder import FOLDER_VARIABLE
from underpaint.inspection.finding import Finding, error

_LAST_LINES = 5


def inspect_isolated(target: str, timeout: float) -> list[Finding]:
    """Return what is wrong with a plugin.

    Parameters
    ----------
    target : an installed method's name, or the folder of a package.
    timeout : seconds after which it counts as hanging.
    """
    with TemporaryDirectory(prefix="underpaint-validate-") as folder:
        answer = Path(folder) / "findings.json"
        command = [sys.executable, "-m", "underpaint.inspection", target, str(answer)]
        # A plugin's own files and inverted pictures are of no use to anybody afterwards.
        settings = {"PYTHONDONTWRITEBYTECODE": "1", FOLDER_VARIABLE: str(Path(folder) / "cache")}
        try:
            done = subprocess.run(  # noqa: S603 - this Python, and a target that is no option
                command,
                cwd=folder,
                env={**os.environ, **settings},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return [_hangs(target, timeout)]
        if not answer.exists():
            return [_crashed(target, done)]
        return [Finding(**each) for each in json.loads(answer.read_text("utf-8"))]


def _hangs(target: str, timeout: float) -> Finding:
    return error(
        "inspection-hangs",
        target,
        f"The plugin was not done after {timeout:g} seconds, and was stopped.",
        "Look for what waits when it is imported or run; --timeout gives it longer.",
    )


def _crashed(target: str, done: subprocess.CompletedProcess[str]) -> Finding:
    last = " | ".join(done.stderr.strip().splitlines()[-_LAST_LINES:])
    return error(
        "inspection-crashes",
        target,
        f"The plugin ended the process that inspected it, with exit code {done.returncode}. {last}",
        "Nothing in a plugin may end the process: raise an error. Native code that crashes needs "
        "python -X faulthandler.",
    )
