"""Mistakes that authors make, each as one change of the plugin that the template gives."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from underpaint.scaffold import Names, write_plugin

PROJECT, METHOD = "pyproject.toml", "src/PACKAGE/method.py"
START = "class CLASSRun:"  # what stands behind the class of the parameters


@dataclass(frozen=True)
class Mistake:
    """A change of one file, and what the finding says of it; `new` None removes the file."""

    code: str
    file: str
    old: str
    new: str | None
    says: str
    mends: str
    flavour: str = "forward"

    def plant(self, folder: Path, names: Names) -> Path:
        """Write a plugin with this mistake."""
        write_plugin(names, self.flavour, folder)
        words = {"PACKAGE": names.package, "CLASS": names.class_name, "NAME": names.name}

        def own(text: str) -> str:
            return re.sub("PACKAGE|CLASS|NAME", lambda match: words[match.group()], text)

        file = folder / own(self.file)
        if self.new is None:
            shutil.rmtree(file) if file.is_dir() else file.unlink()
            return folder
        text = file.read_text("utf-8")
        assert own(self.old) in text, f"{self.code}: the template has changed"
        file.write_text(text.replace(own(self.old), own(self.new), 1), "utf-8")
        return folder


def at_import(code: str, line: str, says: str) -> Mistake:
    """Return a mistake that happens when the plugin is imported."""
    mends = "inside the function" if code == "import-heavy" else "Do it in start(), or in the hook"
    return Mistake(code, METHOD, "import torch\n", f"import torch\n{line}\n", says, mends)


def parameter(code: str, line: str, says: str, mends: str) -> Mistake:
    """Return a mistake in a further parameter."""
    anchor = "    def start(self)"
    return Mistake(code, METHOD, anchor, f"    {line}\n\n{anchor}", says, mends)
