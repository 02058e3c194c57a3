"""Every exported graph is compared with the module it came from before its bundle is finished."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from underpaint.errors import ModelLoadError
from underpaint.precision import Dtype
from underpaint_engines.bundle import Graph, Parity
from underpaint_engines.inputs import is_bias
from underpaint_engines.runtime import Session

from underpaint_export.graphs import EXAMPLE_ROWS, GraphSpec
from underpaint_export.onnx_graph import row_axis

TOLERANCES: Mapping[Dtype, float] = {"fp32": 1e-4, "bf16": 1.6e-1, "fp16": 2e-2}
"""Greatest absolute difference, as a part of the output's greatest value where that is above 1.

fp32 runs the same operations in another order. fp16 keeps 11 and bf16 8 bits of each of some
hundred operations in a row, so that rounding, 2^-11 and 2^-8 each, adds up, and the greatest of
millions of differences is several times the usual one. Seen in bf16, at the worst output: 0.03 for
tiny models and picturebook, 0.09 for an activation deep in a UNet of Stable Diffusion's size.
"""

_IDENTITIES = ("cross_map", "cross_scale", "self_q", "self_k", "self_v", "hidden_delta")


@dataclass(frozen=True, eq=False)
class _Case:
    name: str
    inputs: dict[str, Tensor]


def compare(spec: GraphSpec, graph: Graph, open_session: Callable[[], Session]) -> list[Parity]:
    """Run a graph on two inputs, with edits off and on where it has any, against its module.

    All that the module computes comes first: at full size its activations and the session's do not
    fit into memory together.

    Raises
    ------
    ModelLoadError
        If an output differs by more than rounding explains: the graph is not to be used.
    """
    cases = list(_cases(spec))
    with torch.no_grad():
        wanted = [spec.module(*case.inputs.values()) for case in cases]
    session = open_session()
    records = []
    for case, expected in zip(cases, wanted, strict=True):
        got = session(case.inputs)
        values = (expected,) if isinstance(expected, Tensor) else expected
        for port, value in zip(graph.outputs, values, strict=True):
            record = Parity(
                graph=spec.name,
                case=case.name,
                output=port.name,
                difference=float((got[port.name].float() - value.float()).abs().max()),
                tolerance=TOLERANCES[graph.dtype] * max(1.0, float(value.abs().max())),
            )
            _check(record)
            records.append(record)
    return records


def _check(record: Parity) -> None:
    if not record.difference <= record.tolerance:  # NaN is not below anything
        raise ModelLoadError(
            f"{record.graph}: {record.output} differs from PyTorch by {record.difference:.2e} "
            f"({record.case}), more than {record.tolerance:.0e}. The export is not used; please "
            "report it with the model's name."
        )


def _cases(spec: GraphSpec) -> Iterator[_Case]:
    # Not as many rows as the graph was traced with; the same twice, for a runtime may compile anew.
    rows = EXAMPLE_ROWS - 1 if spec.batched else 1
    for seed in (1, 2):
        generator = torch.Generator().manual_seed(seed)
        inputs = {
            name: _another(name, value, rows, generator) for name, value in spec.inputs.items()
        }
        if "cross_map" not in inputs:
            yield _Case(f"input {seed}", inputs)
            continue
        yield _Case(f"input {seed}, edits off", inputs)
        yield _Case(f"input {seed}, edits on", {**inputs, **_edits(inputs, rows, generator)})


def _another(name: str, example: Tensor, rows: int, generator: torch.Generator) -> Tensor:
    """Return another value like an example, with `rows` rows; edits stay the identity."""
    if name == "source_row":
        return torch.arange(rows)
    axis = row_axis(name)
    part = example.narrow(axis, 0, 1).expand(
        *[rows if k == axis else -1 for k in range(example.dim())]
    )
    if name in _IDENTITIES or is_bias(name):
        return part.clone()
    if not example.is_floating_point():
        least, most = int(example.min()), int(example.max()) + 1
        return torch.randint(least, most, part.shape, generator=generator)
    mean, spread = example.mean(), example.std()
    return mean + spread * torch.randn(part.shape, generator=generator)


def _edits(
    inputs: Mapping[str, Tensor], rows: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return an edit of the last row by the first that touches every edit input.

    Every row has biases of its own: the first term takes the source's, the second the row's.
    """

    def noise(name: str) -> Tensor:
        return torch.rand(inputs[name].shape, generator=generator)

    last = torch.zeros(rows)
    last[-1] = 1
    source = torch.arange(rows)
    source[-1] = 0
    gates = {name: inputs[name] | last.bool() for name in ("self_q", "self_k")}
    return {
        "source_row": source,
        "cross_map": 0.02 * noise("cross_map") * last[:, None, None],
        "cross_scale": 1 - 0.5 * noise("cross_scale") * last[:, None],
        **gates,
        "self_v": inputs["self_v"],
        "hidden_delta": 0.1 * noise("hidden_delta"),
        **{name: 4 * noise(name) for name in inputs if is_bias(name)},
    }
