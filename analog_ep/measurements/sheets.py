"""The first sheet of a workbook, as lines of a table."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analog_ep.errors import DataError
from analog_ep.measurements.content import read_limited

SUFFIXES = (".xlsx", ".xlsm")
"""Of workbooks that are read."""

_MOST_BYTES = 1 << 26
_MOST_UNPACKED = 1 << 28
_MOST_CELLS = 2_000_000


def sheet_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and cells, with tabs between them, of each row of the first sheet that is not empty.

    Parameters
    ----------
    path : Path
        The workbook. Formulas count as their values when it was saved.

    Raises
    ------
    DataError
        If openpyxl is not installed, or the file is no such workbook or too large.
    OSError
        If it cannot be read.
    """
    try:
        import openpyxl
    except ImportError:
        raise DataError(
            f"{path}: a workbook needs openpyxl, found none; install it, pip install openpyxl, or save the sheet as CSV"
        ) from None
    content = io.BytesIO(read_limited(path, _MOST_BYTES))
    try:
        # A workbook is a ZIP file, whose parts may be far larger than itself.
        with zipfile.ZipFile(content) as parts:
            unpacked = sum(part.file_size for part in parts.infolist())
        if unpacked > _MOST_UNPACKED:
            raise DataError(
                f"{path} must hold at most {_MOST_UNPACKED >> 20} MiB, found {unpacked >> 20} MiB; save as CSV"
            )
        sheet = openpyxl.load_workbook(content, read_only=True, data_only=True).worksheets[0]
        cells = 0
        for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
            cells += len(row)
            if cells > _MOST_CELLS:
                raise DataError(f"{path} must have at most {_MOST_CELLS} cells, found more; save as CSV")
            line = "\t".join(_text(value) for value in row).rstrip("\t")
            if line:
                yield number, line
    except DataError:
        raise
    except Exception as error:  # openpyxl has no error of its own for most of what may be wrong
        reason = " ".join(str(error).split())[:100]
        raise DataError(
            f"{path} must be a workbook such as Excel writes, found: {reason or type(error).__name__}"
        ) from None


def _text(value: Any) -> str:
    if value is None:
        return ""
    return " ".join(str(value).split()) if isinstance(value, str) else repr(value)
