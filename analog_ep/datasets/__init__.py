"""Samples: labelled sets that are built in, MNIST from idx files or from OpenML, and tables of one's own."""

from analog_ep.datasets.augmentation import Augmentation
from analog_ep.datasets.dataset import BUILT_IN, Dataset, Scaling, load_dataset, targets_of
from analog_ep.datasets.idx import read_idx
from analog_ep.datasets.table import load_table

__all__ = ["BUILT_IN", "Augmentation", "Dataset", "Scaling", "load_dataset", "load_table", "read_idx", "targets_of"]
