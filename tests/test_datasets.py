"""Data sets against scikit-learn's own arrays, and idx files written here byte by byte."""

import gzip
import struct
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import sklearn.datasets
import torch

from analog_ep.datasets import Dataset, load_dataset, read_idx
from analog_ep.errors import DataError

RNG = np.random.default_rng(0)


def idx_bytes(values: np.ndarray, code: int = 0x08) -> bytes:
    header = bytes([0, 0, code, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four idx files of 4 × 4 pixels; the training part gzipped, the test part not."""
    for part, count in (("train", 20), ("t10k", 8)):
        images = RNG.integers(0, 256, (count, 4, 4), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        contents = {f"{part}-images-idx3-ubyte": idx_bytes(images), f"{part}-labels-idx1-ubyte": idx_bytes(labels)}
        for name, content in contents.items():
            if part == "train":
                (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (tmp_path / name).write_bytes(content)
    return tmp_path


def test_xor_is_the_same_four_points_in_both_parts():
    dataset = load_dataset("xor")
    expected = dataset.train_inputs.long()[:, 0] ^ dataset.train_inputs.long()[:, 1]
    assert torch.equal(dataset.train_labels, expected)
    assert torch.equal(dataset.test_inputs, dataset.train_inputs)
    assert len(dataset.train_inputs.unique(dim=0)) == 4


@pytest.mark.parametrize(("name", "counts"), [("digits", (1437, 360)), ("iris", (120, 30))])
def test_built_in_sets_split_all_samples_with_equal_shares_of_the_classes(name, counts):
    dataset = load_dataset(name, seed=3)
    truth = getattr(sklearn.datasets, f"load_{name}")()
    assert (len(dataset.train_labels), len(dataset.test_labels)) == counts
    labels = torch.cat([dataset.train_labels, dataset.test_labels]).numpy()
    np.testing.assert_array_equal(np.bincount(labels), np.bincount(truth.target))
    shares = torch.bincount(dataset.test_labels) / len(dataset.test_labels)
    np.testing.assert_allclose(shares, np.bincount(truth.target) / len(truth.target), atol=0.01)
    assert dataset.train_inputs.min() == 0
    assert dataset.train_inputs.max() == 1


def test_every_digit_of_scikit_learn_is_in_one_part_only():
    dataset = load_dataset("digits")
    found = torch.cat([dataset.train_inputs, dataset.test_inputs]).numpy() * 16
    truth = sklearn.datasets.load_digits(return_X_y=True)[0]
    np.testing.assert_array_equal(np.sort(found.astype(int), axis=0), np.sort(truth.astype(int), axis=0))


def test_the_seed_decides_the_split():
    first, again, other = (load_dataset("iris", seed) for seed in (1, 1, 2))
    assert torch.equal(first.test_inputs, again.test_inputs)
    assert not torch.equal(first.test_inputs, other.test_inputs)


def test_iris_is_scaled_by_the_training_part_alone():
    dataset = load_dataset("iris", seed=0)
    assert torch.allclose(dataset.train_inputs.amin(0), torch.zeros(4))
    assert torch.allclose(dataset.train_inputs.amax(0), torch.ones(4))


def test_a_folder_of_idx_files(folder: Path):
    dataset = load_dataset(str(folder))
    images = np.frombuffer(gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8)
    np.testing.assert_allclose(dataset.train_inputs.flatten(), images / 255, rtol=1e-7)
    assert (dataset.n_features, dataset.shape) == (16, (1, 4, 4))
    assert dataset.test_labels.tolist() == list(range(8))


def test_mnist_is_fetched_and_cut_where_its_authors_cut_it(monkeypatch):
    def fetch(name, **options):
        assert name == "mnist_784"
        assert options["parser"] == "liac-arff"  # the default needs pandas
        return np.full((70_000, 4), 255.0), np.array([str(i % 10) for i in range(70_000)], dtype=object)

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    dataset = load_dataset("mnist")
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (60_000, 10_000)
    assert dataset.train_inputs.max() == 1
    assert dataset.test_labels[:3].tolist() == [0, 1, 2]
    assert dataset.shape == (1, 2, 2)


def test_mnist_offline_says_what_else_to_do(monkeypatch):
    def fetch(*_, **__):
        raise URLError("no route\nto host")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    with pytest.raises(DataError, match=r"must be fetched from openml.org, found: .*no route to host.*four idx files"):
        load_dataset("mnist")


def test_unknown_data_names_what_there_is():
    with pytest.raises(DataError, match=r"digits, iris, xor, mnist or a folder of images, found 'digit'"):
        load_dataset("digit")


def test_missing_idx_file(folder: Path):
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"must hold t10k-labels-idx1-ubyte.gz or t10k-labels-idx1-ubyte, found neith"):
        load_dataset(str(folder))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "must begin with an idx magic number .* found nothing"),
        (b"\x89PNG1234", "must begin with an idx magic number .* found 89 50 4e 47"),
        (b"\0\0\x08\x03\0\0", "must state 3 sizes, found the end of the file"),
        (idx_bytes(np.zeros((8, 4, 4), np.uint8))[:-1], r"must hold 128 bytes .* \(8, 4, 4\), found 127"),
        (idx_bytes(np.zeros((8, 4, 4), np.uint8)) + b"x", "must hold 128 bytes .* found 129"),
        (idx_bytes(np.zeros((7, 4, 4), np.uint8)), r"one label an image, found images of shape \(7, 4, 4\)"),
        (idx_bytes(np.zeros((8, 4, 4), np.int16), 0x0B), "must be unsigned bytes or floats, found int16"),
        (idx_bytes(np.zeros((8, 2, 4), np.uint8)), r"one number of features, found \(16, 8\)"),
    ],
)
def test_damaged_images(folder: Path, content: bytes, words: str):
    (folder / "t10k-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=words):
        load_dataset(str(folder))


@pytest.mark.parametrize("cut", [10, 60, 150])
def test_truncated_gzip(folder: Path, cut: int):
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match="must be a whole gzip file, found a damaged one"):
        load_dataset(str(folder))


def test_nan_pixels(folder: Path):
    images = np.zeros((8, 4, 4), np.float32)
    images[5, 1, 2] = np.nan
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(images, 0x0D))
    with pytest.raises(DataError, match="inputs must be finite, found NaN or infinity in sample 5"):
        load_dataset(str(folder))


def test_labels_out_of_range(folder: Path):
    labels = np.array([0, 1, 2, 10, 4, 5, 6, 7], np.uint8)
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    with pytest.raises(DataError, match="test part: labels must lie in 0…9, found 10 at sample 3"):
        load_dataset(str(folder))


def test_idx_of_every_type_keeps_its_values(tmp_path: Path):
    codes = {0x08: np.uint8, 0x09: np.int8, 0x0B: np.int16, 0x0C: np.int32, 0x0D: np.float32, 0x0E: np.float64}
    for code, dtype in codes.items():
        values = RNG.integers(0, 100, (3, 5)).astype(dtype)
        (tmp_path / "file").write_bytes(idx_bytes(values, code))
        found = read_idx(tmp_path / "file")
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, values)


def test_hold_out_takes_from_the_training_part_and_leaves_the_test_part_unseen():
    dataset = load_dataset("digits")
    held = dataset.hold_out(300, seed=5)
    assert (len(held.train_labels), len(held.test_labels)) == (1137, 300)
    together = torch.cat([held.train_inputs, held.test_inputs])
    assert torch.equal(together.sum(0), dataset.train_inputs.sum(0))
    assert torch.equal(held.test_labels, dataset.hold_out(300, seed=5).test_labels)
    assert not torch.equal(held.test_labels, dataset.hold_out(300, seed=6).test_labels)
    with pytest.raises(DataError, match="validation must lie in 1…1435 samples, found 1437"):
        dataset.hold_out(1437, seed=0)


def test_scaling_uses_the_training_part_alone():
    dataset = load_dataset("digits")
    raw = dataset.train_inputs.double().numpy()
    centred = raw - raw.mean(0)
    np.testing.assert_allclose(dataset.scaled("centred").train_inputs, centred, atol=1e-6)
    standardised = dataset.scaled("standardised")
    np.testing.assert_allclose(standardised.train_inputs, centred / np.sqrt((centred**2).mean()), atol=1e-5)
    shift = dataset.test_inputs.double().numpy() - raw.mean(0)
    np.testing.assert_allclose(standardised.test_inputs, shift / np.sqrt((centred**2).mean()), atol=1e-5)
    assert dataset.scaled("unit") is dataset


def test_constant_features_cannot_be_standardised():
    ones, labels = torch.ones(3, 2), torch.tensor([0, 1, 0])
    dataset = Dataset("ones", ones, labels, ones, labels, 2)
    with pytest.raises(DataError, match="a feature must vary, found all constant"):
        dataset.scaled("standardised")


def test_volts_are_units_times_volts_per_unit():
    dataset = load_dataset("xor").scaled("centred").in_volts(4.0)
    assert dataset.train_inputs.abs().unique().tolist() == [2.0]


def test_empty_part():
    nothing, some = torch.zeros(0, 2), torch.zeros(1, 2)
    with pytest.raises(DataError, match="test part: at least one sample is needed, found none"):
        Dataset("none", some, torch.zeros(1, dtype=torch.int64), nothing, torch.zeros(0, dtype=torch.int64), 2)
