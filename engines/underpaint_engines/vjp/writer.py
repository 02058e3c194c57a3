"""Adding operators to a graph, and what all rules of differentiation need of that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.tape import Tape
from underpaint.errors import NotOfferedError

FLOAT = ir.DataType.FLOAT


class Writer:
    """Appends nodes to a graph. Their shapes stay open, as runtimes infer them.

    Parameters
    ----------
    graph : grows by every call.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._tape = Tape(graph)
        self._constants: dict[tuple[ir.DataType, bytes, tuple[int, ...]], ir.Value] = {}
        self._scatters: dict[ir.Value, ir.Value] = {}

    def __call__(self, kind: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """Append a node with one output."""
        return self._tape.op(kind, inputs, attributes)

    def split(self, value: ir.Value, sizes: Sequence[int], axis: int) -> Sequence[ir.Value]:
        """Cut a value along an axis."""
        inputs, attributes = (value, self.whole(sizes)), {"axis": axis}
        return self._tape.op_multi_out("Split", inputs, attributes, num_outputs=len(sizes))

    def whole(self, numbers: Sequence[int]) -> ir.Value:
        """Return a constant vector of int64: axes, a shape."""
        return self._constant(np.array(numbers, np.int64), ir.DataType.INT64)

    def number(self, number: float, dtype: ir.DataType = FLOAT) -> ir.Value:
        """Return a constant scalar."""
        return self._constant(np.array(number).astype(dtype.numpy()), dtype)

    def fp32(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """Return a value of `dtype` in fp32: sums of fp16 and bf16 lose too much."""
        return value if dtype == FLOAT else self("Cast", value, to=FLOAT)

    def cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """Return an fp32 value in `dtype`."""
        return value if dtype == FLOAT else self("Cast", value, to=dtype)

    def mean(self, value: ir.Value, axis: int = -1) -> ir.Value:
        """Return the mean along an axis, which stays."""
        return self("ReduceMean", value, self.whole([axis]), keepdims=1)

    def swap(self, value: ir.Value, rank: int) -> ir.Value:
        """Exchange the last two of `rank` axes."""
        return self("Transpose", value, perm=[*range(rank - 2), rank - 1, rank - 2])

    def like(self, value: ir.Value, other: ir.Value) -> ir.Value:
        """Reshape a value to the shape that another one has."""
        sides = [side if isinstance(side, int) else -1 for side in shape_of(other)]
        return self("Reshape", value, self.whole(sides))

    def unbroadcast(self, value: ir.Value, wide: ir.Value, narrow: ir.Value) -> ir.Value:
        """Sum a gradient of the shape of `wide` along what was repeated to make that of `narrow`.

        ``wide`` is the output of an operator that broadcasts and ``narrow`` one of its inputs.
        """
        sides, kept = shape_of(wide), shape_of(narrow)
        missing = len(sides) - len(kept)
        repeated = [
            axis
            for axis, side in enumerate(sides)
            if axis < missing or (kept[axis - missing] == 1 and side != 1)
        ]
        if repeated:
            value = self("ReduceSum", value, self.whole(repeated), keepdims=1)
        return self.like(value, narrow) if missing else value

    def scatter_rows(self, index: ir.Value) -> ir.Value:
        """Return the matrix ``[R, R]`` that adds rows to those they were taken from.

        It is one where the column's row was gathered from the row, else zero.
        """
        if index not in self._scatters:
            count = self("Squeeze", self("Shape", index), self.whole([0]))
            zero, one = (self._constant(np.array(k, np.int64), ir.DataType.INT64) for k in (0, 1))
            places = self("Unsqueeze", self("Range", zero, count, one), self.whole([1]))
            taken = self("Equal", places, self("Unsqueeze", index, self.whole([0])))
            self._scatters[index] = self("Cast", taken, to=FLOAT)
        return self._scatters[index]

    def _constant(self, array: np.ndarray[Any, Any], dtype: ir.DataType) -> ir.Value:
        key = (dtype, array.tobytes(), array.shape)
        if key not in self._constants:
            name = f"vjp.constant_{len(self._constants)}"
            self._constants[key] = self._tape.initializer(ir.tensor(array, dtype, name=name), name)
        return self._constants[key]


def shape_of(value: ir.Value) -> tuple[int | str, ...]:
    """Return the sides of a value, a number or the name of an open one.

    Raises
    ------
    NotOfferedError
        If the graph does not tell.
    """
    sides = [getattr(side, "value", side) for side in value.shape] if value.shape else []
    if value.shape is None or None in sides:
        raise NotOfferedError(f"{value.name}: the graph has no shape of it to differentiate by.")
    return tuple(side if isinstance(side, int) else str(side) for side in sides)


def dtype_of(value: ir.Value) -> ir.DataType:
    """Return the type of a value's elements."""
    assert value.dtype is not None  # noqa: S101  (torch writes the types of all values)
    return value.dtype
