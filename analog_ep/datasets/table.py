"""Samples from a table of one's own: columns that drive inputs, and targets or classes beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from analog_ep.datasets.dataset import Dataset
from analog_ep.errors import DataError
from analog_ep.measurements import Column, Table, read_table


def load_table(
    path: Path,
    inputs: Sequence[str],
    wanted: Sequence[str] | str | None,
    *,
    n_outputs: int,
    unit: str = "V",
    test_share: float = 0.0,
    seed: int = 0,
) -> Dataset:
    """Samples of a CSV file, in float64; see `analog_ep.measurements.read_table` for what it may look like.

    Parameters
    ----------
    path : Path
        The file. Its header names each column and its unit.
    inputs : sequence of str
        Columns of the inputs, in their order.
    wanted : sequence of str or str
        Columns with targets of the outputs, in their order; or the name of the column with classes, integers.
    n_outputs : int
        How many classes there may be.
    unit : str
        Of inputs and targets, "1" for none.
    test_share : float
        Share of the rows that is the test part, drawn by `seed`; 0 for all rows in both parts.
    seed : int
        Of the draw.

    Raises
    ------
    DataError
        If the file cannot be read or lacks a column, a class is not one of 0…n_outputs − 1, or a part would be empty.
    """
    names = [name.lower() for name in inputs]
    targets = [name.lower() for name in wanted] if wanted is not None and not isinstance(wanted, str) else []
    label = wanted.lower() if isinstance(wanted, str) else None
    columns = [Column(name, unit) for name in dict.fromkeys([*names, *targets])]
    table = read_table(path, (*columns, *([] if label is None else [Column(label, "1")])))
    features = _stacked(table, names)
    labels = _stacked(table, targets) if label is None else _classes(table, label, n_outputs)
    train, test = _parts(path, len(features), test_share, seed)
    return Dataset(
        path.name, features[train], labels[train], features[test], labels[test], None if label is None else n_outputs
    )


def _stacked(table: Table, names: Sequence[str]) -> Tensor:
    return torch.from_numpy(np.stack([table[name] for name in names], axis=1).astype(np.float64))


def _classes(table: Table, label: str, n_classes: int) -> Tensor:
    classes = table[label]
    wrong = np.flatnonzero((classes != np.round(classes)) | (classes < 0) | (classes >= n_classes))
    if len(wrong):
        raise DataError(
            f"{table.place(int(wrong[0]))}: a class must be one of 0…{n_classes - 1}, one for each output, found "
            f"{float(classes[wrong[0]]):g}"
        )
    return torch.from_numpy(classes.astype(np.int64))


def _parts(path: Path, count: int, test_share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Rows of the training and of the test part, each in the order of the file."""
    rows = torch.arange(count)
    if not test_share:
        return rows, rows
    n_test = round(test_share * count)
    if not 0 < n_test < count:
        raise DataError(
            f"{path.name}: both parts must hold rows, found {count - n_test} and {n_test} with data.test_share = "
            f"{test_share:g}"
        )
    drawn = np.random.default_rng([seed, count, 2]).permutation(count)
    return torch.from_numpy(np.sort(drawn[n_test:])), torch.from_numpy(np.sort(drawn[:n_test]))
