"""What a package's source says, without importing it: imports and docstrings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from underpaint.inspection.finding import Finding, error, warning
from underpaint.inspection.project import Project

Documented = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A source file and its syntax tree."""

    path: Path
    shown: str
    tree: ast.Module

    def imports(self) -> Iterator[tuple[str, int]]:
        """Yield each absolutely imported module's name and line, inside functions too."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module, node.lineno


def parse(project: Project) -> tuple[list[Module], list[Finding]]:
    """Return the parsed sources, and what of them is no Python."""
    modules, findings = [], []
    for path in project.sources():
        shown = project.shown(path)
        try:
            modules.append(Module(path, shown, ast.parse(path.read_text("utf-8"))))
        except (SyntaxError, UnicodeDecodeError) as reason:
            line = getattr(reason, "lineno", None) or 1
            findings.append(
                error(
                    "source-syntax",
                    f"{shown}:{line}",
                    f"The file is no Python: {reason}.",
                    "Correct it; `python -m compileall src` finds all of them.",
                )
            )
    return modules, findings


def check_source(project: Project, modules: list[Module]) -> Iterator[Finding]:
    """Yield what is wrong with the sources."""
    for module in modules:
        yield from _check_imports(project, module)
        yield from _check_docstrings(module)


def _check_imports(project: Project, module: Module) -> Iterator[Finding]:
    for name, line in module.imports():
        top = name.partition(".")[0]
        if top.startswith("underpaint_") and top not in project.packages:
            yield error(
                "import-forbidden",
                f"{module.shown}:{line}",
                f"The plugin imports {name}: an engine, an exporter, a model or another plugin, "
                "none of which has to be installed.",
                "Import underpaint alone; step.evaluate, step.linearize and the run's services "
                "(tokens, encode, decode, scorer) work on every engine.",
            )


def _check_docstrings(module: Module) -> Iterator[Finding]:
    if not ast.get_docstring(module.tree) and module.tree.body:
        yield _undocumented(f"{module.shown}:1", "The module")
    for name, node in _public(module.tree, ""):
        if not ast.get_docstring(node):
            kind = "class" if isinstance(node, ast.ClassDef) else "function"
            yield _undocumented(f"{module.shown}:{node.lineno}", f"The {kind} {name}")


def _public(node: ast.AST, prefix: str) -> Iterator[tuple[str, Documented]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Documented) and not child.name.startswith("_"):
            name = f"{prefix}{child.name}"
            yield name, child
            if isinstance(child, ast.ClassDef):
                yield from _public(child, f"{name}.")


def _undocumented(where: str, what: str) -> Finding:
    return warning(
        "docstring-missing",
        where,
        f"{what} has no docstring.",
        "Say what it does, with shapes and units, and for a method the equation it implements.",
    )
