"""Images in folders, one for each class, in files that Pillow reads."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from analog_ep.datasets.dataset import Dataset, Shape
from analog_ep.datasets.packed import MOST_BYTES
from analog_ep.datasets.pixels import Channels, features
from analog_ep.errors import DataError
from analog_ep.support.files import read_bounded

if TYPE_CHECKING:
    from PIL.Image import Image

_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Others of Pillow's start programs, or hold what is no image of pixels."""

_MODES = {"1": 1, "L": 1, "RGB": 3, "P": 3}
"""Channels of images with 8 bits a channel, or less, and nothing that shines through."""

_MOST_FILE = 2**26
"""Of one image. [bytes]"""

_TEST_SHARE = 0.2

_Labelled = list[tuple[Path, int]]


def is_image_folder(folder: Path) -> bool:
    """Whether a folder holds folders."""
    return bool(_folders(folder))


def load_images(folder: Path, channels: Channels | None = None, seed: int = 0) -> Dataset:
    """Images of a folder that holds one for each class; or `train` and `test`, which both do.

    Classes are numbered in the order of their names, whole numbers by value. Names that begin with a dot are passed
    over; everything else in the folder of a class must be an image, of 8 bits a channel and all of one size.

    Parameters
    ----------
    folder : Path
        BMP, JPEG, PNG, PPM, TIFF or WebP; what Pillow reads of these.
    channels : 1 or 3, optional
        Grey images, or red, green and blue ones; by default as they are, which must be alike.
    seed : int
        Where there are no parts, a fifth of each class, one image at least, drawn by this seed, is the test part.

    Raises
    ------
    DataError
        If a class has no image, or a single one that would have to be in both parts, the parts have other classes, a
        file is no such image, or all pixels of a part are more than 2 GiB.
    """
    parts = {each.name: each for each in _folders(folder) if each.name in ("train", "test")}
    if len(parts) == 1:
        found = next(iter(parts))
        other = "test" if found == "train" else "train"
        raise DataError(f"{folder} must hold train and test, or a folder for each class; found {found} without {other}")
    if parts:
        names = _class_names(parts["train"])
        train, test = (_labelled(parts[part], names) for part in ("train", "test"))
    else:
        names = _class_names(folder)
        train, test = _drawn(folder, _labelled(folder, names), len(names), seed)
    shape = _shape(train[0][0], channels)
    (train_x, train_y), (test_x, test_y) = (_read(part, shape, channels) for part in (train, test))
    return Dataset(str(folder), train_x, train_y, test_x, test_y, len(names), shape)


def _folders(folder: Path) -> list[Path]:
    """Folders in a folder, classes in their order."""
    found = [each for each in _entries(folder) if each.is_dir()]
    if all(each.name.isdecimal() for each in found):
        return sorted(found, key=lambda each: (int(each.name), each.name))
    return sorted(found, key=lambda each: each.name)


def _entries(folder: Path) -> list[Path]:
    try:
        return [each for each in folder.iterdir() if not each.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder} must be a readable folder, found: {error.strerror}") from None


def _class_names(folder: Path) -> list[str]:
    names = [each.name for each in _folders(folder)]
    if not names:
        raise DataError(f"{folder} must hold a folder of images for each class, found none")
    return names


def _labelled(folder: Path, names: list[str]) -> _Labelled:
    """Files of a part, class by class, with the number of their class."""
    unknown = [name for name in _class_names(folder) if name not in names]
    if unknown:
        raise DataError(f"{folder}: its classes must be those of train, found {unknown[0]!r} besides")
    found: _Labelled = []
    for label, name in enumerate(names):
        files = sorted(_entries(folder / name)) if (folder / name).is_dir() else []
        if not files:
            raise DataError(f"{folder / name} must hold at least one image, found none")
        found += [(path, label) for path in files]
    return found


def _drawn(folder: Path, files: _Labelled, n_classes: int, seed: int) -> tuple[_Labelled, _Labelled]:
    """Training and test part, each in the order of the files."""
    labels, random = np.array([label for _, label in files]), np.random.default_rng([seed, len(files)])
    test: set[int] = set()
    for label in range(n_classes):
        own = np.flatnonzero(labels == label)
        if len(own) < 2:
            raise DataError(
                f"{folder}: each class must have two images at least, one of them to test, found one in "
                f"{files[int(own[0])][0].parent.name!r}"
            )
        test.update(random.permutation(own)[: max(1, round(_TEST_SHARE * len(own)))].tolist())
    parts = [file for at, file in enumerate(files) if at not in test], [files[at] for at in sorted(test)]
    return parts[0], parts[1]


def _shape(path: Path, channels: Channels | None) -> Shape:
    """Channels, height and width that the other images must have, too."""
    with _image(path) as image:
        return channels or _MODES[image.mode], image.height, image.width


def _read(files: _Labelled, shape: Shape, channels: Channels | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and classes of a part."""
    if math.prod(shape) * len(files) > MOST_BYTES:
        raise DataError(
            f"{files[0][0].parent.parent} must hold at most {MOST_BYTES:,} bytes of pixels, found {len(files)} images "
            f"of {math.prod(shape):,} bytes; make them smaller"
        )
    pixels = np.empty((len(files), *shape), np.uint8)
    for at, (path, _) in enumerate(files):
        with _image(path) as image:
            if (image.height, image.width) != shape[1:]:
                raise DataError(
                    f"{path} must have {shape[2]} × {shape[1]} pixels as the first image has, found {image.width} × "
                    f"{image.height}; resize it"
                )
            if channels is None and _MODES[image.mode] != shape[0]:
                raise DataError(
                    f"{path} must have {shape[0]} channels as the first image has, found {_MODES[image.mode]}; set "
                    "data.channels = 1 for grey ones, or 3"
                )
            values = np.asarray(image.convert("L" if shape[0] == 1 else "RGB"))
            pixels[at] = values.reshape(*shape[1:], shape[0]).transpose(2, 0, 1)
    return features(pixels), torch.tensor([label for _, label in files])


@contextmanager
def _image(path: Path) -> Iterator[Image]:
    """An image, of which no more than its header is known yet; in the context it may turn out to be damaged."""
    # Loaded where it is wanted: other commands do not wait for it.
    import PIL.Image

    try:
        content = io.BytesIO(read_bounded(path, _MOST_FILE))
        with warnings.catch_warnings():
            # Of what Pillow takes for damaged, or for far too large, it only warns.
            for kind in (UserWarning, RuntimeWarning):
                warnings.simplefilter("error", kind)
            with PIL.Image.open(content, formats=_FORMATS) as image:
                _require_plain(path, image)
                yield image
    except DataError:
        raise
    except PIL.UnidentifiedImageError:
        raise DataError(f"{path} must be an image in one of {', '.join(_FORMATS)}, found none of these") from None
    except Exception as error:
        # Its readers raise errors of many kinds where a file is not what they expect.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
        raise DataError(
            f"{path} must be an image in one of {', '.join(_FORMATS)}, found: {reason[:200] or type(error).__name__}"
        ) from None


def _require_plain(path: Path, image: Image) -> None:
    if image.mode not in _MODES or "transparency" in image.info:
        found = f"the mode {image.mode}" + (" with transparency" if "transparency" in image.info else "")
        raise DataError(
            f"{path} must be grey or red, green and blue, 8 bits each, without transparency, found {found}; convert it"
        )
    if getattr(image, "n_frames", 1) > 1:
        raise DataError(f"{path} must hold one image, found {getattr(image, 'n_frames', 1)}; save each by itself")
