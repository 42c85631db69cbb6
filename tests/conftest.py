"""Skips what a machine has no program or device for; fixtures of several files."""

from __future__ import annotations

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


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files; it must be empty at the end of every test."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []
