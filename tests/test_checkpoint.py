"""Checkpoints and atomic files: whole, or an error in one line."""

import json
import os
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from analog_ep.errors import CheckpointError
from analog_ep.learning.checkpoint import Checkpoint, under
from analog_ep.networks import ResistiveNetwork
from analog_ep.support.files import write_atomically


def checkpoint_of(network: ResistiveNetwork) -> Checkpoint:
    tensors = {f"parameter.{name}": value for name, value in network.state_dict().items()}
    return Checkpoint(
        {**tensors, "gradient.generator": torch.arange(5, dtype=torch.uint8)}, {"history": [{"epoch": 1}]}
    )


@pytest.fixture
def network() -> ResistiveNetwork:
    return ResistiveNetwork([2, 3, 2], seed=1)


def test_round_trip_to_the_bit(network: ResistiveNetwork, tmp_path: Path):
    saved = checkpoint_of(network)
    saved.save(tmp_path / "c.safetensors")
    loaded = Checkpoint.load(tmp_path / "c.safetensors")
    assert loaded.facts == saved.facts
    assert loaded.tensors.keys() == saved.tensors.keys()
    for name, value in saved.tensors.items():
        assert loaded.tensors[name].dtype == value.dtype
        assert torch.equal(loaded.tensors[name], value)


def test_the_file_is_plain_safetensors_with_json_in_its_header(network: ResistiveNetwork, tmp_path: Path):
    checkpoint_of(network).save(tmp_path / "c.safetensors")
    content = (tmp_path / "c.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    assert header["parameter.stage1"]["shape"] == list(network.get_parameter("stage1").shape)
    assert json.loads(header["__metadata__"]["facts"]) == {"history": [{"epoch": 1}]}


def test_loading_makes_another_network_equal(network: ResistiveNetwork):
    other = ResistiveNetwork([2, 3, 2], seed=2, dtype=torch.float64)
    checkpoint_of(network).load_parameters(other)
    assert torch.equal(other.get_parameter("stage2"), network.get_parameter("stage2").double())


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.99])
def test_truncated_at_any_length(network: ResistiveNetwork, tmp_path: Path, share: float):
    path = tmp_path / "c.safetensors"
    checkpoint_of(network).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(
        CheckpointError, match=r"c.safetensors must be a whole checkpoint, found a damaged one"
    ) as caught:
        Checkpoint.load(path)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path):
    with pytest.raises(CheckpointError, match="must be a checkpoint, found no file"):
        Checkpoint.load(tmp_path / "c.safetensors")


def test_safetensors_of_something_else(tmp_path: Path):
    (tmp_path / "c.safetensors").write_bytes(save({"x": torch.zeros(2)}))
    with pytest.raises(CheckpointError, match="must be of format 'analog_ep checkpoint 1', found None"):
        Checkpoint.load(tmp_path / "c.safetensors")


def test_another_networks_parameters(network: ResistiveNetwork):
    other = ResistiveNetwork([2, 4, 2])
    before = other.get_parameter("stage1").clone()
    with pytest.raises(CheckpointError, match=r"parameters of shapes .*\(6, 4\).* found .*\(6, 3\)"):
        checkpoint_of(network).load_parameters(other)
    assert torch.equal(other.get_parameter("stage1"), before)


def test_parameters_that_are_not_finite(network: ResistiveNetwork):
    bad = checkpoint_of(network)
    bad.tensors["parameter.stage2"][0, 0] = torch.nan
    with pytest.raises(CheckpointError, match="must be finite, found NaN or infinity in stage2"):
        bad.load_parameters(ResistiveNetwork([2, 3, 2]))


def test_under_takes_whole_prefixes_only():
    tensors = {name: torch.zeros(1) for name in ("a.x", "a.y.z", "ab.x")}
    assert under(tensors, "a").keys() == {"x", "y.z"}


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, "old")

    def fail(*_):
        raise KeyboardInterrupt

    for function in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, function, fail)
            with pytest.raises(KeyboardInterrupt):
                write_atomically(path, "new")
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["file"]


def test_a_written_file_has_the_mode_of_any_other(tmp_path: Path):
    write_atomically(tmp_path / "atomic", b"x")
    (tmp_path / "plain").write_bytes(b"x")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode
