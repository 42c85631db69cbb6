"""Table of the data: a set by name, or a CSV file of one's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator

from analog_ep.datasets import Channels, Dataset, Shape, load_dataset, load_table
from analog_ep.errors import DataError
from analog_ep.spec.files import FileTable
from analog_ep.support.files import write_atomically

KEPT = "data"
"""Folder of a run that keeps the table of its samples."""

COLUMNS = ("inputs", "outputs", "labels", "test_share")
"""Keys that say how a table is read."""

_Names = Annotated[list[str], Field(min_length=1)]


class DataSpec(FileTable):
    """What is learnt: `source`, or a `table` with `inputs` and either `outputs` or `labels`.

    Attributes
    ----------
    source : str
        "digits", "iris", "xor", "mnist", or a folder: with MNIST's four idx files, with CIFAR-10's binary files, or
        with images in a folder for each class, see `analog_ep.datasets.load_images`.
    channels : 1 or 3
        Grey images, or red, green and blue ones, of CIFAR-10 and of folders of images; without it they stay as they
        are.
    table : str
        A CSV file, from the spec's folder.
    inputs : list of str
        Its columns that drive the inputs, in their order. [V]; of a Hopfield network without unit
    outputs : list of str
        Its columns with the targets of the outputs, in their order. [V]; of a Hopfield network without unit
    labels : str
        Its column of classes 0, 1, … in place of targets.
    test_share : float
        Share of its rows, drawn by the training's seed, that is the test part; without it all rows are both parts.
    scaling : "unit", "centred" or "standardised"
        See `analog_ep.datasets.Dataset.scaled`.
    input_voltage : float
        Volts per unit of a scaled feature. [V]
    validation : int
        Samples of the training part that take the place of the test part; 0 for none.
    """

    file_keys: ClassVar[tuple[str, ...]] = ("table",)

    source: str | None = None
    channels: Channels | None = None
    table: str | None = None
    inputs: _Names | None = None
    outputs: _Names | None = None
    labels: str | None = None
    test_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    scaling: Literal["unit", "centred", "standardised"] = "unit"
    input_voltage: PositiveFloat = 1.0
    validation: NonNegativeInt = 0

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"source": "digits", **value} if isinstance(value, dict) and "table" not in value else value

    @model_validator(mode="after")
    def _one_of_both(self) -> DataSpec:
        if self.table is None:
            for name in COLUMNS:
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} has a meaning only with a table; leave it out")
            return self
        if self.source is not None:
            raise ValueError(f"source must be left out beside a table, found {self.source!r}")
        if self.channels is not None:
            raise ValueError("channels has a meaning only with a source; leave it out")
        if self.inputs is None:
            raise ValueError("inputs must name the columns of the table that drive the inputs, found none")
        if (self.outputs is None) == (self.labels is None):
            raise ValueError("outputs or labels must be given, one of them")
        return self

    def load(self, sizes: tuple[int, ...], unit: str, seed: int, shape: Shape | None = None) -> Dataset:
        """The samples as they are given, for a network of these sizes, whose inputs have a shape where they are images.

        Raises
        ------
        DataError
            If they cannot be loaded, or do not fit the ends of the network.
        """
        if self.table is not None:
            return self._rows(Path(self.table), sizes, unit, seed)
        dataset = load_dataset(self.source or "digits", seed, n_classes=sizes[-1], channels=self.channels)
        if shape is not None and dataset.shape not in (None, shape):
            raise DataError(
                f"{dataset.name} has images of shape {dataset.shape}, channels, height and width, network.shape is "
                f"{shape}; give a spec whose shape fits, or set data.channels where it is only these"
            )
        begins = f"network.sizes begins with {sizes[0]}" if shape is None else f"network.shape is {shape}"
        ends = f"network.sizes ends with {sizes[-1]}" if shape is None else f"the last stage has {sizes[-1]} outputs"
        if dataset.n_features != sizes[0]:
            raise DataError(
                f"{dataset.name} has {dataset.n_features} features a sample, {begins}; give a spec whose sizes fit"
            )
        if (dataset.n_classes or 0) > sizes[-1]:
            raise DataError(f"{dataset.name} has {dataset.n_classes} classes, {ends}; give a spec whose sizes fit")
        return dataset

    def _rows(self, path: Path, sizes: tuple[int, ...], unit: str, seed: int) -> Dataset:
        named = {"inputs": (self.inputs, sizes[0]), "outputs": (self.outputs, sizes[-1])}
        for what, (columns, count) in named.items():
            if columns is not None and len(columns) != count:
                raise DataError(
                    f"data.{what} must name one column for each of the network's {count} {what}, found {len(columns)}"
                )
        return load_table(
            path,
            self.inputs or [],
            self.labels if self.outputs is None else self.outputs,
            unit=unit,
            n_outputs=sizes[-1],
            test_share=self.test_share or 0.0,
            seed=seed,
        )

    def keep(self, folder: Path) -> Self:
        if self.table is None:
            return self
        name = f"{KEPT}/{Path(self.table).name}"
        (folder / KEPT).mkdir()
        write_atomically(folder / name, Path(self.table).read_bytes())
        return self.with_paths(lambda _: name)

    def contents(self) -> dict[str, bytes]:
        return {} if self.table is None else {os.path.basename(self.table): Path(self.table).read_bytes()}
