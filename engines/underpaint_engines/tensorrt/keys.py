"""What a plan depends on; another value of any of it is another plan."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from underpaint_engines.bundle import MANIFEST, Graph, read_manifest
from underpaint_engines.files import digest_file
from underpaint_engines.pruning import pruned
from underpaint_engines.tensorrt.api import Api
from underpaint_engines.tensorrt.builder import CLEARED_FLAGS, profile_rows


def plan_key(
    api: Api, folder: Path, graph: Graph, outputs: Sequence[str], machine: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the key of a graph's plan on a machine, as `Plans` takes it."""
    return {
        "graph": hashlib.sha256(pruned(folder, graph, outputs)).hexdigest(),
        "weights": _digests(folder, graph),
        "outputs": list(outputs),
        "dtype": graph.dtype,
        "rows": profile_rows(graph),
        "cleared": CLEARED_FLAGS,
        "runtime": [api.name, api.version],
        "machine": dict(machine),
    }


def device_key(api: Api, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the key of what holds for all plans on a machine: the timings of its kernels."""
    return {"timings": [api.name, api.version], "machine": dict(machine)}


def _digests(folder: Path, graph: Graph) -> dict[str, str]:
    """Return the digests of the weights that lie beside a graph.

    They were compared with the manifest when the bundle was opened; one that is being written has
    no manifest yet.
    """
    known = read_manifest(folder).files if (folder / MANIFEST).is_file() else {}
    files = sorted((folder / graph.file).parent.glob("*.safetensors"))
    names = {file.relative_to(folder).as_posix(): file for file in files}
    return {name: known.get(name) or digest_file(file) for name, file in names.items()}
