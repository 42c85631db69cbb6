"""Labelled data: sets that are built in, MNIST from idx files or from OpenML."""

from analog_ep.datasets.dataset import BUILT_IN, Dataset, Scaling, load_dataset
from analog_ep.datasets.idx import read_idx

__all__ = ["BUILT_IN", "Dataset", "Scaling", "load_dataset", "read_idx"]
