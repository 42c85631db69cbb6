"""CIFAR-10's binary files and folders of images: small ones, made here byte by byte or by Pillow."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layered_networks import examples
from PIL import Image

import analog_ep.datasets.cifar as cifar
import analog_ep.datasets.image_folder as image_folder
from analog_ep.datasets import Augmentation, Dataset, load_cifar, load_dataset, load_images
from analog_ep.errors import DataError
from analog_ep.runs.building import build_dataset
from analog_ep.runs.folder import Run
from analog_ep.spec.reading import load_spec, parse_spec
from analog_ep.support.resources import specs_folder

RNG = np.random.default_rng(5)


def bytes_of(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


# CIFAR-10


def records(images: np.ndarray, labels: np.ndarray) -> bytes:
    return b"".join(bytes([label]) + image.tobytes() for label, image in zip(labels.tolist(), images, strict=True))


@pytest.fixture
def batches(tmp_path: Path) -> tuple[Path, list[np.ndarray]]:
    """Two batches of training images, the second gzipped, and one to test."""
    images = [bytes_of(n, 3, 32, 32) for n in (12, 5, 4)]
    contents = [records(each, np.arange(len(each), dtype=np.uint8) % 10) for each in images]
    (tmp_path / "data_batch_1.bin").write_bytes(contents[0])
    (tmp_path / "data_batch_2.bin.gz").write_bytes(gzip.compress(contents[1]))
    (tmp_path / "test_batch.bin").write_bytes(contents[2])
    (tmp_path / "batches.meta.txt").write_text("airplane\n")
    return tmp_path, images


def test_records_of_cifar_are_images_channel_by_channel(batches):
    folder, images = batches
    dataset = load_dataset(str(folder))
    assert (dataset.shape, dataset.n_classes) == ((3, 32, 32), 10)
    train = dataset.train_inputs.reshape(-1, 3, 32, 32).numpy()
    np.testing.assert_allclose(train, np.concatenate(images[:2]) / 255, rtol=1e-7)
    np.testing.assert_allclose(dataset.test_inputs.numpy().reshape(images[2].shape), images[2] / 255, rtol=1e-7)
    assert dataset.train_labels.tolist() == [*range(10), 0, 1, *range(5)]


def test_cifar_in_grey_is_what_pillow_makes_of_it(batches):
    folder, images = batches
    found = load_dataset(str(folder), channels=1)
    assert found.shape == (1, 32, 32)
    for grey, image in zip(found.test_inputs, images[2], strict=True):
        pillow = np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L"))
        assert np.abs(grey.reshape(32, 32).numpy() * 255 - pillow).max() < 1.001


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "must hold 1 to 60,000 records of 3,073 bytes, found 0 bytes"),
        (bytes(3072), "found 3,072 bytes; copy the binary version of CIFAR-10 again"),
        (bytes(2 * 3073 + 1), "found 6,147 bytes"),
        (bytes(3073) + b"\x0a" + bytes(3072), r"labels must lie in 0…9, found 10 in record 1"),
    ],
)
def test_damaged_batches(batches, content: bytes, words: str):
    folder, _ = batches
    (folder / "test_batch.bin").write_bytes(content)
    with pytest.raises(DataError, match=words):
        load_cifar(folder)


def test_a_batch_is_unpacked_no_further_than_the_whole_set_is_long(batches, monkeypatch):
    folder, _ = batches
    (folder / "data_batch_2.bin.gz").write_bytes(gzip.compress(bytes(3073 * 2000)))
    monkeypatch.setattr(cifar, "_MOST_RECORDS", 12)
    with pytest.raises(DataError, match="must hold 1 to 12 records of 3,073 bytes, found 36,877 bytes"):
        load_cifar(folder)
    (folder / "data_batch_2.bin.gz").write_bytes(gzip.compress(bytes(3073))[:-9])
    with pytest.raises(DataError, match="must be a whole gzip file, found a damaged one"):
        load_cifar(folder)


def test_batches_that_are_missing_or_no_files(batches):
    folder, _ = batches
    (folder / "test_batch.bin").unlink()
    with pytest.raises(DataError, match=r"must hold test_batch.bin.gz or test_batch.bin, found neither"):
        load_dataset(str(folder))
    os.mkfifo(folder / "test_batch.bin")
    with pytest.raises(DataError, match="must be a readable file, found: a pipe, a device or a socket"):
        load_dataset(str(folder))
    (folder / "test_batch.bin").unlink()
    (folder / "data_batch_1.bin").rename(folder / "data_batch_4.bin")
    with pytest.raises(DataError, match=r"must hold data_batch_1.bin.gz or data_batch_1.bin, found neither"):
        load_dataset(str(folder))
    (folder / "data_batch_2.bin.gz").rename(folder / "data_batch_1.bin.gz")
    with pytest.raises(DataError, match=r"must hold data_batch_2.bin.gz or data_batch_2.bin, found neither"):
        load_dataset(str(folder))


# Folders of images


def save(path: Path, pixels: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def classes(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """Classes 2, 9 and 10 of grey images of 5 × 4 pixels, seven of each, in files without losses."""
    found = {name: bytes_of(7, 5, 4) for name in ("10", "9", "2")}
    for name, images in found.items():
        for at, image in enumerate(images):
            save(tmp_path / name / f"{at}.{('png', 'bmp', 'pgm', 'tiff')[at % 4]}", image)
    (tmp_path / "9" / ".DS_Store").write_bytes(b"\0")
    return tmp_path, found


def test_classes_are_folders_in_the_order_of_their_numbers(classes):
    folder, images = classes
    dataset = load_dataset(str(folder), seed=3)
    assert (dataset.shape, dataset.n_classes) == ((1, 5, 4), 3)
    assert torch.bincount(dataset.train_labels).tolist() == [6, 6, 6]
    assert dataset.test_labels.tolist() == [0, 1, 2]
    for label, name in enumerate(("2", "9", "10")):
        own = [inputs[labels == label] for inputs, labels in map(dataset.part, ("train", "test"))]
        found = np.rint(torch.cat(own).numpy() * 255).astype(np.uint8)
        assert sorted(each.tobytes() for each in found) == sorted(each.tobytes() for each in images[name])
    assert torch.equal(dataset.test_inputs, load_dataset(str(folder), seed=3).test_inputs)
    assert not torch.equal(dataset.test_inputs, load_dataset(str(folder), seed=4).test_inputs)


def test_parts_are_taken_as_they_are(tmp_path: Path):
    images = {part: bytes_of(4, 6, 5, 3) for part in ("train", "test")}
    for part, each in images.items():
        for at, image in enumerate(each):
            save(tmp_path / part / "ab"[at % 2] / f"{at}.webp", image, lossless=True)
    dataset = load_dataset(str(tmp_path))
    assert (dataset.shape, dataset.n_classes) == ((3, 6, 5), 2)
    for part in ("train", "test"):
        inputs, labels = dataset.part(part)
        expected = images[part][[0, 2, 1, 3]].transpose(0, 3, 1, 2)
        np.testing.assert_allclose(inputs.reshape(expected.shape).numpy(), expected / 255, rtol=1e-7)
        assert labels.tolist() == [0, 0, 1, 1]
    save(tmp_path / "test" / "c" / "0.png", images["test"][0])
    with pytest.raises(DataError, match="its classes must be those of train, found 'c' besides"):
        load_images(tmp_path)
    (tmp_path / "test").rename(tmp_path / "validation")
    with pytest.raises(DataError, match="must hold train and test, or a folder for each class; found train without te"):
        load_images(tmp_path)


def test_grey_and_coloured_images_are_made_alike_where_asked(tmp_path: Path):
    colour = bytes_of(5, 4, 3)
    save(tmp_path / "a" / "0.png", colour)
    save(tmp_path / "a" / "1.png", colour[..., 0])
    save(tmp_path / "b" / "0.jpg", np.full((5, 4, 3), 128, np.uint8))
    save(tmp_path / "b" / "1.png", colour)
    Image.fromarray(colour).quantize(8).save(tmp_path / "b" / "2.png")
    with pytest.raises(DataError, match=r"must have \d channels as the first image has, found \d; set data.channels ="):
        load_images(tmp_path)
    for channels in (1, 3):
        dataset = load_images(tmp_path, channels)
        assert dataset.shape == (channels, 5, 4)
        both = torch.cat([dataset.train_inputs, dataset.test_inputs])
        assert both.shape == (5, channels * 20)
        assert (both.sub(128 / 255).abs().amax(1) < 2 / 255).sum() == 1


def spoilt(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "9" / name).write_bytes(content)


def animated() -> bytes:
    stream = io.BytesIO()
    frames = [Image.fromarray(bytes_of(5, 4)) for _ in range(2)]
    frames[0].save(stream, "PNG", save_all=True, append_images=frames[1:])
    return stream.getvalue()


def huge() -> bytes:
    """A header of 50,000 × 50,000 pixels, and nothing behind."""
    stream = io.BytesIO()
    Image.new("L", (50_000, 1)).save(stream, "BMP")
    content = bytearray(stream.getvalue())
    content[22:26] = (50_000).to_bytes(4, "little")
    return bytes(content)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            spoilt("x.png", b"hello"),
            "x.png must be an image in one of BMP, JPEG, PNG, PPM, TIFF, WEBP, found none of",
        ),
        (spoilt("x.png", animated()), "must hold one image, found 2; save each by itself"),
        (spoilt("x.bmp", huge()), "x.bmp must be an image in one of .*, found: Image size"),
        (
            lambda folder: save(folder / "9" / "x.png", bytes_of(4, 5)),
            r"must have 4 × 5 pixels .*, found 5 × 4; resize",
        ),
        (lambda folder: save(folder / "9" / "x.png", bytes_of(5, 4, 4)), "without transparency, found the mode RGBA"),
        (
            lambda folder: save(folder / "9" / "x.png", bytes_of(5, 4).astype(np.uint16)),
            "8 bits each.* found the mode I",
        ),
        (lambda folder: os.mkfifo(folder / "9" / "x.png"), "found: a pipe, a device or a socket; copy it to a file"),
        (lambda folder: (folder / "9" / "x").mkdir(), "x must be an image in one of .*, found: a folder"),
        (lambda folder: (folder / "empty").mkdir(), "empty must hold at least one image, found none"),
        (lambda folder: save(folder / "one" / "x.png", bytes_of(5, 4)), "each class must have two images .* in 'one'"),
    ],
)
def test_what_is_no_image_of_the_set_is_refused(classes, spoil: Callable[[Path], object], words: str):
    folder, _ = classes
    spoil(folder)
    with pytest.raises(DataError, match=words) as refused:
        load_images(folder)
    assert "\n" not in str(refused.value)


def test_pixels_that_memory_could_not_hold_are_refused_before_they_are_read(classes, monkeypatch):
    folder, _ = classes
    monkeypatch.setattr(image_folder, "MOST_BYTES", 359)
    with pytest.raises(DataError, match=r"must hold at most 359 bytes of pixels, found 18 images of 20 bytes"):
        load_images(folder)


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    try:
        yield
    except DataError as error:
        text = str(error)
        if "\n" in text or len(text) > 600:
            pytest.fail(f"a message must be one line, found {text!r}")


@given(
    cut=st.integers(0, 200), at=st.integers(0, 200), value=st.integers(0, 255), kind=st.sampled_from(["png", "tiff"])
)
@settings(examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_hostile_images_are_read_or_refused_in_a_line(tmp_path: Path, cut: int, at: int, value: int, kind: str):
    image = np.arange(20, dtype=np.uint8).reshape(5, 4)
    for name in "01":
        save(tmp_path / "a" / f"{name}.{kind}", image)
    content = bytearray((tmp_path / "a" / f"0.{kind}").read_bytes())
    content[at % len(content)] = value
    (tmp_path / "a" / f"0.{kind}").write_bytes(content[: len(content) - cut if cut < 20 else len(content)])
    with one_line():
        assert load_images(tmp_path).shape is not None


# Specs


def convolutional(source: Path, shape: list[int], **data) -> dict:
    return {
        "data": {"source": str(source), **data},
        "network": {
            "kind": "convolutional",
            "shape": shape,
            "stage": [{"kind": "convolution", "channels": 2, "kernel": 3}, {"kind": "dense", "units": 3}],
        },
        "training": {"epochs": 1, "batch_size": 6, "flip": True, "shift": 1},
    }


def test_images_fit_a_network_by_their_shape_and_not_their_number_of_pixels(classes):
    folder, _ = classes
    assert isinstance(build_dataset(parse_spec(convolutional(folder, [1, 5, 4]), "test")), Dataset)
    with pytest.raises(
        DataError, match=r"has images of shape \(1, 5, 4\), .* network.shape is \(1, 4, 5\); give a spec"
    ):
        build_dataset(parse_spec(convolutional(folder, [1, 4, 5]), "test"))
    coloured = build_dataset(parse_spec(convolutional(folder, [3, 5, 4], channels=3), "test"))
    assert torch.equal(coloured.test_inputs[:, :20], coloured.test_inputs[:, 40:])


@pytest.mark.parametrize("source", ["digits", "xor"])
def test_channels_are_of_images_alone(source: str):
    with pytest.raises(DataError, match="channels of images need the binary files of CIFAR-10 or a folder of images"):
        load_dataset(source, channels=1)


def test_the_recipe_of_cifar_learns_at_a_width_of_two(batches, tmp_path_factory: pytest.TempPathFactory):
    folder, _ = batches
    recipe = load_spec(specs_folder() / "cifar10-conv.toml").to_dict()
    stages = [{**each, "channels": 2} if "channels" in each else each for each in recipe["network"]["stage"]]
    recipe["network"]["stage"], recipe["data"]["source"] = stages, str(folder)
    recipe["training"] |= {"epochs": 1, "batch_size": 8}
    run = Run.create(tmp_path_factory.mktemp("runs") / "run", parse_spec(recipe, "test"))
    assert run.trainer.network.sizes[:2] == (3072, 512)
    assert run.trainer.augmentation == Augmentation((3, 32, 32), shift=4, flip=True)
    run.train()
    assert 2 < run.trainer.history[0].cost < 3


def test_a_network_learns_from_a_folder_of_images(classes, tmp_path_factory: pytest.TempPathFactory):
    folder, _ = classes
    run = Run.create(tmp_path_factory.mktemp("runs") / "run", parse_spec(convolutional(folder, [1, 5, 4]), "test"))
    before = {name: theta.clone() for name, theta in run.trainer.network.named_parameters()}
    run.train()
    assert len(run.trainer.history) == 1
    assert all(not torch.equal(theta, before[name]) for name, theta in run.trainer.network.named_parameters())
