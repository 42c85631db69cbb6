"""What a design is to learn, in the figures that its rules need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from analog_ep.datasets import BUILT_IN, load_dataset
from analog_ep.errors import DataError, SpecError

_FEWEST, _MOST = 10, 128
"""Hidden units that are proposed."""


@dataclass(frozen=True)
class Task:
    """A data set with classes, and the sizes of a network for it.

    Attributes
    ----------
    source : str
        As a spec's `data.source`.
    sizes : tuple of int
        Inputs, hidden units, classes.
    samples : int
        Of the training part.
    seed : int
        Of the split and of the trainings.
    """

    source: str
    sizes: tuple[int, int, int]
    samples: int
    seed: int = 0

    @classmethod
    def of(cls, source: str, hidden: int | None = None, seed: int = 0) -> Task:
        """The task of a data set.

        Parameters
        ----------
        source : str
            "digits", "iris", "mnist", or a folder that `analog_ep.datasets.load_dataset` knows.
        hidden : int, optional
            Hidden units; by default twice the inputs, 10 at least and 128 at most.
        seed : int
            Of the split and of the trainings.

        Raises
        ------
        DataError
            If it cannot be loaded, or has too few samples to hold some back.
        SpecError
            If there is no hidden unit.
        """
        if hidden is not None and hidden < 1:
            raise SpecError(f"a design needs 1 hidden unit at least, found {hidden}")
        dataset = load_dataset(source, seed)
        count, features, classes = len(dataset.train_labels), dataset.n_features, dataset.n_classes or 0
        if count < 20:
            raise DataError(
                f"a design needs 20 training samples at least, to hold some back, found {count} in {source}"
            )
        units = min(max(2 * features, _FEWEST), _MOST) if hidden is None else hidden
        name = source if source in BUILT_IN else str(Path(source).absolute())
        return cls(name, (features, units, classes), count, seed)

    @property
    def held_back(self) -> int:
        """Training samples by which candidates are compared."""
        return min(self.samples // 4, 10_000)
