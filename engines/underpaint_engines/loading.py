"""How every compiled engine is loaded; its module says on which runtime."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from underpaint_engines.bundle import MANIFEST, read_manifest, verify
from underpaint_engines.cache import cached, cached_gradients
from underpaint_engines.compiled import CompiledEngine
from underpaint_engines.fallback import Fallback
from underpaint_engines.runtime import Runtime


def open_engine(
    make_runtime: Callable[[torch.device, torch.dtype], Runtime],
    source: str | Path,
    *,
    name: str,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> CompiledEngine:
    """Open a bundle, or export a checkpoint on first use and open what was cached.

    Parameters
    ----------
    make_runtime : makes what compiles the graphs, for a device and a precision.
    source : a bundle, a diffusers folder, or a hub name.
    name : the model's name, for messages and recipes.
    dtype : the precision the UNet computes in; the codecs always compute in fp32.
    device : where the graphs run.

    Raises
    ------
    ModelLoadError
        If the checkpoint or the bundle cannot be used, or the runtime has no such device or
        precision.
    """
    runtime = make_runtime(torch.device(device), dtype)
    folder = Path(source)
    if not (folder / MANIFEST).is_file():
        folder = cached(source, name=name, runtime=runtime)
        fallback = Fallback(source, name, runtime.dtype, runtime.device)
        export = partial(cached_gradients, source, name=name, runtime=runtime, beside=folder)
        return CompiledEngine(
            folder, read_manifest(folder), name, runtime, fallback, export_gradients=export
        )
    manifest = read_manifest(folder)
    verify(folder, manifest)
    return CompiledEngine(folder, manifest, name, runtime)
