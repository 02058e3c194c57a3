"""Where a file of the repository stands in the site, and its links rewritten for that place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from posixpath import relpath

ROOT = Path(__file__).parents[2]

PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "models/picturebook/README.md": "models/picturebook.md",
    "models/picturebook/MODEL_CARD.md": "models/picturebook-card.md",
    "benchmarks/picturebench/README.md": "picturebench.md",
    "benchmarks/picturebench/results/report.md": "picturebench-results.md",
}
"""Pages that are taken from elsewhere in the repository; those of plugins besides."""

PICTURES = (".png", ".jpg", ".svg")

_FENCE = re.compile(r"(^```.*?^```)", re.M | re.S)
_LINK = re.compile(r"(\[[^\]]*\]\()([^)\s]+)(\))")


def page_of(file: str) -> str:
    """Return the place in the site of a file of the repository.

    Raises
    ------
    ValueError
        If the site has no such page.
    """
    parts = PurePosixPath(file).parts
    if file in PAGES:
        return PAGES[file]
    if parts[0] == "docs":
        return "/".join(parts[1:])
    if parts[0] == "plugins" and parts[2:] == ("README.md",):
        return f"methods/{parts[1]}.md"
    if file.endswith(PICTURES):
        return f"images/{'-'.join(parts)}"
    raise ValueError(f"{file} is no page of the site: name it in docs/generate/links.py.")


def targets(file: str) -> Iterator[str]:
    """Yield the files of the repository that a Markdown file links to or shows."""
    text = (ROOT / file).read_text("utf-8")
    for prose in _FENCE.split(text)[::2]:
        for _, target, _ in _LINK.findall(prose):
            if not _elsewhere(target):
                yield _resolve(file, target)


def rehomed(file: str) -> str:
    """Return a Markdown file's text with its links leading from its page to theirs."""
    home = str(PurePosixPath(page_of(file)).parent)

    def rehome(match: re.Match[str]) -> str:
        before, target, after = match.groups()
        if not _elsewhere(target):
            target = relpath(page_of(_resolve(file, target)), home)
        return f"{before}{target}{after}"

    parts = _FENCE.split((ROOT / file).read_text("utf-8"))
    parts[::2] = [_LINK.sub(rehome, prose) for prose in parts[::2]]
    return "".join(parts)


def _elsewhere(target: str) -> bool:
    return target.startswith(("https://", "http://", "mailto:", "#"))


def _resolve(file: str, target: str) -> str:
    path = (ROOT / file).parent / target.partition("#")[0]
    return path.resolve().relative_to(ROOT).as_posix()
