"""Skips what a machine has no program or device for; fixtures of several files."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from vacask import VACASK_CMD

from analog_ep.errors import NgspiceNotFoundError
from analog_ep.ngspice.engines import WasmNgspice
from analog_ep.support import png


def _has_wasm() -> bool:
    try:
        WasmNgspice.find()
    except NgspiceNotFoundError:
        return False
    return True


_AVAILABLE = {
    "ngspice": lambda: shutil.which(os.environ.get("ANALOG_EP_NGSPICE") or "ngspice") is not None,
    "node": lambda: shutil.which(os.environ.get("ANALOG_EP_NODE") or "node") is not None,
    "wasm": _has_wasm,
    "gnucap": lambda: shutil.which("gnucap") is not None,
    "vacask": lambda: VACASK_CMD is not None,
    "neospice": lambda: find_spec("neospice") is not None,
    "cuda": torch.cuda.is_available,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [marker for marker, available in _AVAILABLE.items() if not available()]
    for item in items:
        for marker in missing:
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=f"{marker} is not on this machine"))


def pytest_collection_finish() -> None:
    # Modules and tests stay: no collection of garbage has to look at them again.
    gc.freeze()


_DRAWN = png._drawn


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    # Figures are made by every test, and drawn for those that look at them: drawing was an eighth of all tests' time.
    drawn = item.get_closest_marker("pictures") is not None
    png._drawn = _DRAWN if drawn else lambda figure: b"not drawn: the test is not marked 'pictures'"


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files; it must be empty at the end of every test."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []
