"""MkDocs' hooks: the pages that are made while the site is built, and where they stand."""

from __future__ import annotations

from collections.abc import Iterator

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from docs.generate import benchmarks, hooks, methods, records
from docs.generate.links import PAGES, PICTURES, ROOT, page_of, rehomed, targets

START = "README.md"
"""The repository's own front page; the site has docs/index.md."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the page of each plugin to the navigation."""
    section = next(entry["Methods"] for entry in config.nav or () if "Methods" in entry)
    section += [{plugin: f"methods/{plugin}.md"} for plugin in methods.plugins()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and the pictures that they show."""
    for place, text in pages():
        files.append(File.generated(config, place, content=text))
    for picture in pictures():
        if not picture.startswith("docs/"):
            place = page_of(picture)
            files.append(File.generated(config, place, abs_src_path=str(ROOT / picture)))
    return files


def pages() -> Iterator[tuple[str, str]]:
    """Yield each generated page: its place in the site, and its Markdown."""
    yield "hooks.md", hooks.render()
    yield "records.md", records.render()
    yield "benchmarks.md", benchmarks.render()
    yield "methods/index.md", methods.render_index()
    for plugin in methods.plugins():
        yield f"methods/{plugin}.md", methods.render(plugin)
    for file, place in PAGES.items():
        if file != START:
            yield place, rehomed(file)


def pictures() -> list[str]:
    """Return the pictures that the pages from elsewhere in the repository show."""
    sources = [*PAGES, *(f"plugins/{plugin}/README.md" for plugin in methods.plugins())]
    shown = (target for file in sources if file != START for target in targets(file))
    return sorted({target for target in shown if target.endswith(PICTURES)})
