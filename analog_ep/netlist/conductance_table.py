"""The trainable conductances as a table that both a person and a programmer of crossbars can read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from analog_ep.errors import DataError
from analog_ep.netlist.form_cards import element_names
from analog_ep.networks import ConductanceNetwork
from analog_ep.support.files import require_regular, write_atomically

COLUMNS = ("branch", "parameter", "index", "positive", "negative", "siemens")
"""Name in the netlist; parameter and flat index into it; the two nodes; the conductance [S]."""


def write_conductances(network: ConductanceNetwork, path: Path) -> int:
    """Write every trainable conductance as a row of a CSV file, atomically.

    Parameters
    ----------
    network : ConductanceNetwork
        Whose conductances.
    path : Path
        Where to.

    Returns
    -------
    int
        Number of rows below the header.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    rows = list(_rows(network))
    table.writerows(rows)
    write_atomically(path, text.getvalue())
    return len(rows)


def _rows(network: ConductanceNetwork) -> Iterator[tuple[object, ...]]:
    circuit = network.circuit()
    names = circuit.node_names
    for group, parameter, index_of in circuit.trained_groups():
        columns = (index_of.tolist(), *(nodes.tolist() for nodes in group.ends()), group.siemens.tolist())
        for branch, index, p, n, siemens in zip(element_names(group), *columns, strict=True):
            yield branch, parameter, index, names[p], names[n], repr(siemens)


def read_conductances(network: ConductanceNetwork, path: Path) -> dict[str, Tensor]:
    """Read a table for `network.set_conductances`; `parameter`, `index` and `siemens` are what counts.

    Parameters
    ----------
    network : ConductanceNetwork
        Gives names and shapes of the parameters.
    path : Path
        A file as `write_conductances` makes it; the order of rows and columns is free.

    Returns
    -------
    dict of str to Tensor
        Conductances of each crossbar, rows × columns, float64. [S]

    Raises
    ------
    DataError
        If the file cannot be read, a column is missing, a conductance has no row, or rows of one differ.
    """
    tables = {
        name: torch.full((value.numel(),), torch.nan, dtype=torch.float64) for name, value in network.named_parameters()
    }
    for line, row in _read_rows(path):
        parameter, index, siemens = _entry(row, f"{path}, line {line}")
        if parameter not in tables:
            raise DataError(f"{path}, line {line}: parameter must be one of {', '.join(tables)}, found {parameter!r}")
        table = tables[parameter]
        if not 0 <= index < len(table):
            raise DataError(f"{path}, line {line}: index of {parameter} must lie in 0…{len(table) - 1}, found {index}")
        # Branches that share a parameter each have a row.
        if not torch.isnan(table[index]) and float(table[index]) != siemens:
            raise DataError(
                f"{path}, line {line}: each conductance must have one value, found {parameter} {index} again with "
                f"{siemens!r} S after {float(table[index])!r} S"
            )
        table[index] = siemens
    for name, table in tables.items():
        if torch.isnan(table).any():
            raise DataError(f"{path} must hold every conductance, found no {name} {int(table.isnan().nonzero()[0])}")
    return {name: table.reshape(network.get_parameter(name).shape) for name, table in tables.items()}


def _read_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        require_regular(path)
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in ("parameter", "index", "siemens") if name not in (reader.fieldnames or [])]
            if missing:
                raise DataError(f"{path} must have the columns {', '.join(COLUMNS)}, found no {', '.join(missing)}")
            for row in reader:
                yield reader.line_num, row
    except OSError as error:
        raise DataError(f"the conductance table {path} must be a readable file, found: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} must be CSV in UTF-8, found: {error}") from None


def _entry(row: dict[str, str], where: str) -> tuple[str, int, float]:
    try:
        siemens = float(row["siemens"])
        if siemens != siemens:
            raise ValueError
        return row["parameter"], int(row["index"]), siemens
    except (TypeError, ValueError):
        raise DataError(
            f"{where}: index must be an integer and siemens a number, found {row['index']!r} and {row['siemens']!r}"
        ) from None
