"""The page of figures: each benchmark's own words and command, and what it wrote."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import readme_table
from docs.generate.markdown import from_docstring, table

Line = Mapping[str, Any]

MACHINE = ("processor", "features", "accelerators", "threads", "versions")
OF_ONE_CASE = ("seed", "seeds", "case")
ALSO = ("benchmark", "summary")
"""`summary` is a heading where it says what the file's name says."""


def render() -> str:
    """Return the whole page."""
    files = sorted(readme_table.RESULTS.glob("*.jsonl"))
    by_module: dict[str, list[Path]] = {}
    for file in files:
        by_module.setdefault(_module_of(file), []).append(file)
    intro = (
        "Rendered from `benchmarks/results`. A figure holds for the machine that its table names, "
        "which was shared with others; run the command to have it for yours. `null` was not "
        "measured, or left to the model's default. [PictureBench](picturebench.md) compares the "
        "methods with one another."
    )
    return "\n\n".join(["# Benchmarks", intro, *(_section(*each) for each in by_module.items())])


def _module_of(file: Path) -> str:
    """Return the benchmark that wrote a file: the longest module name that its name begins with."""
    modules = [path.stem for path in readme_table.RESULTS.parent.glob("*.py")]
    named = [name for name in modules if file.stem.startswith(name)]
    if not named:
        raise ValueError(f"{file.name} begins with no benchmark's name: rename it.")
    return max(named, key=len)


def _section(module: str, files: Sequence[Path]) -> str:
    source = readme_table.RESULTS.with_name(f"{module}.py").read_text("utf-8")
    words = ast.get_docstring(ast.parse(source)) or ""  # to import it takes a runtime and seconds
    parts = [f"## {module}", from_docstring(words).replace("```python", "```bash")]
    if "python -m" not in words:
        parts.append(f"```bash\npython -m benchmarks.{module} --help\n```")
    if module == "latency":
        parts.append(readme_table.render())
    for file in files:
        lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        parts += [f"### {file.stem}", *([] if module == "latency" else [_tables(lines)])]
        parts.append(_machine(lines))
    return "\n\n".join(parts)


def _tables(lines: Iterable[Line]) -> str:
    """Return a table for each kind of line; the lines of single cases are left to the file."""
    kinds: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        if not any(key in line for key in OF_ONE_CASE):
            keys = tuple(key for key in line if key not in (*MACHINE, *ALSO))
            kinds.setdefault(keys, []).append(line)
    return "\n\n".join(_table(keys, group) for keys, group in kinds.items())


def _table(keys: Sequence[str], lines: Sequence[Line]) -> str:
    """Return the columns that differ as a table; what all lines share stands above it."""
    named = ["summary"] if len(_distinct(lines, "summary")) > 1 else []
    shared = [key for key in keys if len(lines) > 1 and all(_same(lines, key))]
    head = [*named, *(key for key in keys if key not in shared)]
    above = "; ".join(f"{_title(key)} {_value(lines[0][key])}" for key in shared)
    below = table(map(_title, head), [[_value(line[key]) for key in head] for line in lines])
    return f"Of all lines: {above}.\n\n{below}" if above else below


def _same(lines: Sequence[Line], key: str) -> Iterator[bool]:
    return (line[key] == lines[0][key] for line in lines)


def _title(key: str) -> str:
    return key.replace("_", " ")


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return value if isinstance(value, str) else json.dumps(value)


def _machine(lines: Sequence[Line]) -> str:
    told = []
    for key in MACHINE:
        found = _distinct(lines, key)
        told += [f"{key} {' or '.join(found)}"] if found else []
    return f"{len(lines)} lines; {'; '.join(told) or 'the machine was not recorded'}."


def _distinct(lines: Sequence[Line], key: str) -> list[str]:
    return list(dict.fromkeys(_plain(line[key]) for line in lines if line.get(key)))


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return " ".join(value) if isinstance(value, list) else str(value)
