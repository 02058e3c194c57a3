"""Write docs/hooks.md from the docstrings of underpaint.hookspecs: python docs/render_hooks.py."""

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from underpaint import hookspecs
from underpaint.hooks import FIRSTRESULT
from underpaint.registration import SPECIFICATIONS

TARGET = Path(__file__).with_name("hooks.md")


def render() -> str:
    """Return the whole page."""
    title, intro = inspect.cleandoc(hookspecs.__doc__ or "").split("\n", 1)
    parts = [f"# {title.removesuffix('.').split('. ')[0]}", _markdown(intro.strip())]
    parts += [_section(name, hook) for name, hook in SPECIFICATIONS.items()]
    return "\n\n".join(parts) + "\n"


def signature(hook: Callable[..., Any]) -> str:
    """Return a hook's signature as its source says it."""
    return f"{hook.__name__}{inspect.signature(hook)}".replace("'", "")


def _section(name: str, hook: Callable[..., Any]) -> str:
    kind = " (firstresult)" if name in FIRSTRESULT else ""
    text = _markdown(inspect.getdoc(hook) or "")
    return f"## {name}{kind}\n\n```python\ndef {signature(hook)}\n```\n\n{text}"


def _markdown(text: str) -> str:
    """Turn reStructuredText's literals and literal blocks into Markdown's."""
    return "\n".join(_fenced(re.sub(r"``([^`]+)``", r"`\1`", text).split("\n")))


def _fenced(lines: list[str]) -> Iterator[str]:
    inside = False
    for number, line in enumerate(lines):
        indented, last = line.startswith("    "), number + 1 == len(lines)
        if indented and not inside:
            yield "```python"
            inside = True
        elif inside and line and not indented:
            yield "```\n"
            inside = False
        following = next((later for later in lines[number + 1 :] if later), "")
        if inside and not line and not following.startswith("    "):
            continue
        yield line.removeprefix("    ") if inside else re.sub(r"::$", ":", line)
        if inside and last:
            yield "```"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
