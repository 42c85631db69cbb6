"""Vectors of a few doubles within compiled loops: one operation for as many samples side by side.

Left to itself the compiler turns a loop over the samples into vector instructions, but keeps what it sums up in memory:
each term then waits for the last one to be written. A vector that is a value of its own stays in a register.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from analog_ep.support.compiled import before_compiling

LANES = 8
"""Doubles of a vector: as many as the widest vector instructions hold."""


def vectors(n: int) -> np.ndarray:
    """An array `(n, LANES)` to be written, whose vectors do not lie across lines of the processor's cache."""
    size = 8 * LANES
    room = np.empty(n * LANES + LANES)
    begin = -room.ctypes.data % size // 8
    return room[begin : begin + n * LANES].reshape(n, LANES)


def load(values: np.ndarray, at: int) -> np.ndarray:
    """The vector values[at] of a contiguous array `(n, LANES)`; compiled, the place is not looked at."""
    return values[at].copy()


def store(values: np.ndarray, at: int, vector: np.ndarray) -> None:
    """Make `vector` values[at] of a contiguous array `(n, LANES)`; compiled, the place is not looked at."""
    values[at] = vector


def zeros() -> np.ndarray:
    """Zero in every lane."""
    return np.zeros(LANES)


def ones() -> np.ndarray:
    """One in every lane."""
    return np.ones(LANES)


@before_compiling
def _tell_numba() -> None:
    from llvmlite import ir
    from numba.core import types
    from numba.core.datamodel import models
    from numba.core.extending import lower_builtin, register_model, type_callable

    class Vector(types.Type):
        def __init__(self) -> None:
            super().__init__(name=f"Lanes({LANES})")

    vector, place = Vector(), ir.VectorType(ir.DoubleType(), LANES)

    @register_model(Vector)
    class _Model(models.PrimitiveModel):
        def __init__(self, manager: Any, kind: Any):
            super().__init__(manager, kind, place)

    def address(context: Any, builder: Any, kinds: Any, array: Any, at: Any) -> Any:
        data = context.make_array(kinds[0])(context, builder, array).data
        number = context.cast(builder, at, kinds[1], types.intp)
        return builder.gep(builder.bitcast(data, place.as_pointer()), [number])

    def holds(kind: Any, at: Any) -> bool:
        rows = isinstance(kind, types.Array) and kind.ndim == 2 and kind.layout == "C" and kind.dtype == types.float64
        return rows and isinstance(at, types.Integer)

    @type_callable(load)
    def _load_type(context: Any) -> Any:
        return lambda values, at: vector if holds(values, at) else None

    @lower_builtin(load, types.Array, types.Integer)
    def _load(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        # An array of doubles is aligned to one of them, not to a vector.
        return builder.load(address(context, builder, signature.args, *arguments), align=8)

    @type_callable(store)
    def _store_type(context: Any) -> Any:
        return lambda values, at, what: types.none if holds(values, at) and what == vector else None

    @lower_builtin(store, types.Array, types.Integer, Vector)
    def _store(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, at, what = arguments
        builder.store(what, address(context, builder, signature.args, values, at), align=8)
        return context.get_dummy_value()

    def means(function: Any, number: float) -> None:
        @type_callable(function)
        def _type(context: Any) -> Any:
            return lambda: vector

        @lower_builtin(function)
        def _constant(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return ir.Constant(place, [number] * LANES)

    means(zeros, 0.0)
    means(ones, 1.0)

    def calculates(function: Any, instruction: str) -> None:
        @type_callable(function)
        def _type(context: Any) -> Any:
            return lambda first, second: vector if first == vector == second else None

        @lower_builtin(function, Vector, Vector)
        def _calculate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            # Products and the sums they go into may be one instruction, as in all compiled loops.
            return getattr(builder, instruction)(*arguments, flags=("contract", "reassoc", "nsz"))

    for function, instruction in _ARITHMETIC.items():
        calculates(function, instruction)


_ARITHMETIC = {operator.add: "fadd", operator.sub: "fsub", operator.mul: "fmul", operator.truediv: "fdiv"}
