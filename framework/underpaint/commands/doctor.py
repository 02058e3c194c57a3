"""``underpaint doctor``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from rich.table import Table
from rich.text import Text

from underpaint import registry
from underpaint.commands import COMMANDS
from underpaint.commands.answer import Answer, answer_table
from underpaint.commands.machine import accelerators, processor, versions
from underpaint.commands.options import JsonFlag, Loading, Talk
from underpaint.commands.progress import open_pipeline
from underpaint.errors import UnderpaintError

EMBEDDED = "picturebook"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `advice` says what to do where it is not in order."""

    what: str
    value: str
    advice: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is in order."""
        return not self.advice


def doctor(*, json: JsonFlag = False) -> Answer:
    """Check the installation, and say what to do about each problem."""
    findings = [*_machine(), *_installed(), *_hidden_commands(), _embedded(json)]
    broken = [finding for finding in findings if not finding.ok]
    data = {
        "ok": not broken,
        "findings": [{**asdict(finding), "ok": finding.ok} for finding in findings],
    }
    return answer_table(data, *_render(findings, broken), exit_code=1 if broken else 0)


def _machine() -> Iterator[Finding]:
    from underpaint.cache_folder import cache_folder

    for name, number in versions().items():
        advice = "" if number else f"pip install {name}"
        yield Finding(name, number or "not installed", advice)
    cpu, features = processor()
    yield Finding("processor", f"{cpu} ({', '.join(features) or 'no special features known'})")
    try:
        devices = accelerators()
    except (ImportError, OSError, RuntimeError) as error:
        yield Finding("CUDA", str(error), "Reinstall torch, or the driver of the device.")
    else:
        yield Finding("CUDA", "; ".join(devices) or "none: underpaint computes on the processor")
    yield Finding("cache", str(cache_folder()))


def _installed() -> Iterator[Finding]:
    for group in registry.GROUPS:
        try:
            points = registry.find(group)
        except UnderpaintError as error:
            yield Finding(group, str(error), "Uninstall one of the two.")
            continue
        for name, point in points.items():
            what = f"{group.removesuffix('s')} {name}"
            origin = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
            try:
                registry.load(group, name)
            except Exception as error:  # whatever a package does when it is imported
                yield _broken(what, origin, error, registry.optional(point))
            else:
                yield Finding(what, origin)
    if not registry.find("methods"):
        yield Finding("methods", "none", "pip install underpaint-prompt-to-prompt")


def _broken(what: str, origin: str, error: Exception, extra: str | None) -> Finding:
    if extra and isinstance(error.__cause__, ModuleNotFoundError):
        return Finding(what, f"not installed; pip install '{extra}' brings it")
    return Finding(what, _first_line(error), f"Reinstall or uninstall {origin}.")


def _hidden_commands() -> Iterator[Finding]:
    for name, point in registry.find("commands").items():
        if name in COMMANDS:
            origin = point.dist.name if point.dist else point.value
            yield Finding(
                f"command {name}",
                f"{origin} installs a command of a name that underpaint has itself",
                f"Uninstall {origin}, or ask its authors for another name.",
            )


def _embedded(quiet: bool) -> Finding:
    what = f"{EMBEDDED} loads"
    try:
        with open_pipeline(Loading(model=EMBEDDED), Talk(quiet=quiet)) as pipe:
            return Finding(what, f"digest {pipe.engine.info.digest[:16]}")
    except Exception as error:  # a broken installation breaks in many ways
        return Finding(
            what, _first_line(error), f"pip install --force-reinstall underpaint-{EMBEDDED}"
        )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _render(findings: list[Finding], broken: list[Finding]) -> Iterator[Table | Text]:
    table = Table(box=None, show_header=False)
    for finding in findings:
        mark = Text("ok", style="green") if finding.ok else Text("problem", style="bold red")
        table.add_row(mark, finding.what, finding.value if finding.ok else "")
    yield table
    if not broken:
        yield Text("\nEverything is in order.", style="green")
    for finding in broken:
        yield Text(f"\n{finding.what}: {finding.value}\n  -> {finding.advice}")
