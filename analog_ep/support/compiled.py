"""Loops over single numbers, compiled for the CPU on their first call."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from threading import Lock
from typing import Any, ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")

_FAST = {"reassoc", "contract", "nsz"}
_FIRST: list[Callable[[], object]] = []
_TELLING = Lock()


def before_compiling(function: Callable[[], object]) -> Callable[[], object]:
    """Have a function called once before anything is compiled, such as one that extends the compiler."""
    _FIRST.append(function)
    return function


def compiled_into(function: Callable[P, Any]) -> Callable[P, Any]:
    """The function, which compiled ones of its file may call."""
    return _registered(function, _FAST)


def compiled_in_order(function: Callable[P, Any]) -> Callable[P, Any]:
    """As `compiled_into`, with sums taken as they are written: for arithmetic that lives on its roundings."""
    return _registered(function, _FAST - {"reassoc"})


def _registered(function: Callable[P, Any], fast: set[str]) -> Callable[P, Any]:
    @before_compiling
    def register() -> None:
        from numba.core.extending import register_jitable

        register_jitable(fastmath=fast, error_model="numpy")(function)

    return function


def compiled(function: Callable[P, Any]) -> Callable[P, Any]:
    """The function, which takes NumPy arrays and numbers, in machine code.

    Sums may be taken in any order. Code is kept beside the source, or else in the user's cache, so that only the first
    call after an installation waits for the compiler, a second or so.
    """

    @cache
    def machine_code() -> Callable[P, Any]:
        # A fifth of a second, which only those who need it wait for.
        import numba

        with _TELLING:
            while _FIRST:
                _FIRST.pop(0)()
        options: dict[str, Any] = {"fastmath": _FAST, "error_model": "numpy", "nogil": True}
        try:
            return numba.njit(function, cache=True, **options)
        except RuntimeError:
            # No folder in which it could be kept.
            return numba.njit(function, **options)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        return machine_code()(*args, **kwargs)

    return call


def runs_compiled(tensor: Tensor) -> bool:
    """Whether compiled loops are for this tensor: on a CPU, in single or double precision."""
    return tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64)
