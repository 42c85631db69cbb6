"""What made a report."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from analog_ep.errors import NgspiceError
from analog_ep.ngspice.process import EngineReport
from analog_ep.reporting.page import Section, facts_table

_PACKAGES = ("analog-ep", "torch", "numpy", "scipy", "numba")


def versions() -> Section:
    """What made the report."""
    found = {"Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed as a package"
    try:
        found["engine for netlists"] = str(EngineReport.of())
    except NgspiceError as error:
        found["engine for netlists"] = f"not found: {error}"
    return Section("Versions", facts_table(found.items()), dict(found))
