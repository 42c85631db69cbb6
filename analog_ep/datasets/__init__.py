"""Samples: labelled sets that are built in, MNIST, CIFAR-10 and images of one's own from folders, and tables."""

from analog_ep.datasets.augmentation import Augmentation
from analog_ep.datasets.cifar import load_cifar
from analog_ep.datasets.dataset import Dataset, Scaling, Shape, targets_of
from analog_ep.datasets.idx import load_idx, read_idx
from analog_ep.datasets.image_folder import load_images
from analog_ep.datasets.loading import BUILT_IN, load_dataset
from analog_ep.datasets.pixels import Channels
from analog_ep.datasets.table import load_table

__all__ = [
    "BUILT_IN",
    "Augmentation",
    "Channels",
    "Dataset",
    "Scaling",
    "Shape",
    "load_cifar",
    "load_dataset",
    "load_idx",
    "load_images",
    "load_table",
    "read_idx",
    "targets_of",
]
