"""Names of nodes and elements that every netlist can carry."""

from __future__ import annotations

import re

from analog_ep.errors import NodeNameError

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_OF_NGSPICE = (
    "all allv alli ally ac temper time frequency hertz gnd value table agauss gauss aunif unif limit idx phase energy"
)
"""Vectors, sets of vectors, and functions that it looks for in expressions; and what the netlists here use."""

_OF_OTHERS = """
    ground inf nan abs acos acosh ahdl_include altergroup asin asinh atan atan2 atanh ceil checkpoint correlate cos
    cosh else endlibrary ends endsection exp export floor for function global hypot ic if inline int library local
    log log10 march max min mismatch model nodeset parameters paramset plot pow print process protect pwr real
    return save section sens simulator sin sinh sqrt statistics string subckt tan tanh to truncate unprotect vary
"""
"""Ground of HSPICE, numbers of VACASK, and keywords of Spectre."""

_RESERVED = frozenset(f"{_OF_NGSPICE} {_OF_OTHERS}".split())
"""Names that a simulator gives a meaning of its own, and those that the netlists here use for themselves."""


def validate_name(name: str) -> str:
    """Return `name` if every netlist can carry it.

    Raises
    ------
    NodeNameError
        If it is not lower-case letters, digits and underscores after a letter, or is reserved.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise NodeNameError(
            f"a name must match [a-z][a-z0-9_]*, found {name!r}; use lower-case letters, digits and underscores"
        )
    # Vectors of a noise analysis, of one device each too.
    if name in _RESERVED or name.startswith(("onoise_", "inoise_")):
        raise NodeNameError(f"the name {name!r} is reserved in netlists; choose another")
    return name
