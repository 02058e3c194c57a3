"""The page of the hooks: docstrings of `underpaint.hookspecs`, and the examples beside them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from underpaint import hookspecs
from underpaint.hooks import FIRSTRESULT
from underpaint.registration import SPECIFICATIONS

from docs.examples.hooks import EXAMPLES
from docs.generate.markdown import from_docstring, signature_of


def render() -> str:
    """Return the whole page."""
    title, intro = inspect.cleandoc(hookspecs.__doc__ or "").split("\n", 1)
    parts = [f"# {title.removesuffix('.').split('. ')[0]}", from_docstring(intro.strip())]
    parts += [
        "The examples are whole: each is what a `Method.start` returns, after `import underpaint`. "
        "[From an idea to a plugin](plugin-authors.md) has the other half of a method."
    ]
    parts += [_section(name, hook) for name, hook in SPECIFICATIONS.items()]
    return "\n\n".join(parts) + "\n"


def _section(name: str, hook: Callable[..., Any]) -> str:
    kind = " Firstresult." if name in FIRSTRESULT else ""
    summary, _, rest = from_docstring(inspect.getdoc(hook) or "").partition("\n\n")
    example = inspect.getsource(EXAMPLES[name]).strip()
    return "\n\n".join(
        [
            f"## {name}",
            f"```py\ndef {signature_of(hook)}\n```",
            summary + kind,
            *([rest] if rest else []),
            f"```python\n{example}\n```",
        ]
    )
