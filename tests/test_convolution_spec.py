"""Specs of networks of images: trained, resumed, checked, timed and refused."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console

import analog_ep as aep
from analog_ep.benchmarking.recipe import bench_spec
from analog_ep.datasets import Augmentation
from analog_ep.errors import SpecError, StimulusError
from analog_ep.runs.folder import Run
from analog_ep.runs.trained import trained_network
from analog_ep.spec import Spec, parse_spec

DIGITS = {
    "data": {"source": "digits", "input_voltage": 5.0},
    "network": {
        "kind": "convolutional",
        "shape": [1, 8, 8],
        "stage": [
            {"kind": "convolution", "channels": 4, "kernel": 3, "stride": 2, "padding": 1},
            {"kind": "average_pooling", "kernel": 2, "conductance": 1e-3},
            {"kind": "locally_connected", "channels": 6, "kernel": 2},
            {"kind": "dense", "units": 10},
        ],
    },
    "diode": {"model": "shockley", "saturation_current": 1e-9},
    "cost": {"function": "cross_entropy", "logit_scale": 0.05},
    "gradient": {"method": "ep", "nudging": 1e-6},
    "training": {"epochs": 2, "batch_size": 720, "learning_rate": 0.03, "shift": 1, "flip": True},
}


SQUARE = {
    "stage": [
        {"kind": "convolution", "channels": 4, "kernel": 3, "stride": 2, "padding": 1},
        {"kind": "average_pooling", "kernel": 2, "conductance": 1e-3},
        {"kind": "dense", "units": 10},
    ]
}


def digits(**tables: dict) -> Spec:
    names = DIGITS.keys() | tables.keys()
    return parse_spec({name: {**DIGITS.get(name, {}), **tables.get(name, {})} for name in names}, "test")


class KilledError(Exception):
    pass


class Killer:
    def batch_done(self, epoch: int, batch: int, n_batches: int) -> None:
        if (epoch, batch) == (2, 1):
            raise KilledError

    def epoch_done(self, record: object) -> None:
        pass


@pytest.mark.ngspice
def test_a_spec_of_images_is_trained_resumed_and_checked(tmp_path: Path):
    whole, parts = (Run.create(tmp_path / name, digits()) for name in ("whole", "parts"))
    whole.train()
    with pytest.raises(KilledError):
        parts.train([Killer()])
    resumed = Run.resume(tmp_path / "parts")
    resumed.train()
    for name, theta in whole.trainer.network.named_parameters():
        assert torch.equal(theta, resumed.trainer.network.get_parameter(name))
    _, net = trained_network(whole.path)
    kinds = [aep.Convolution, aep.AveragePooling, aep.LocallyConnected, aep.Dense]
    assert [type(kind) for kind in net.operators] == kinds
    assert net.sizes == (64, 64, 16, 6, 10)
    random = torch.Generator().manual_seed(0)
    inputs, targets = 5 * torch.rand(2, 64, generator=random), torch.eye(10)[:2]
    check = aep.cross_check(net, inputs, targets, cost=aep.CrossEntropy(0.05), nudging=1e-6)
    assert check.passed
    assert (check.conducting[1], len(check.conducting)) == (None, 3)
    with StringIO() as text:
        Console(file=text, width=200).print(check.table())
        assert "hidden layer 2, without diodes: swing" in text.getvalue()


def test_images_move_anew_with_every_epoch():
    augmentation = Augmentation((2, 3, 4), shift=1, flip=True)
    images = torch.arange(2 * 24.0).reshape(2, 24)
    found = augmentation(images.repeat(50, 1), torch.Generator().manual_seed(0)).reshape(100, 2, 3, 4)
    padded = torch.nn.functional.pad(images.reshape(2, 2, 3, 4), (1, 1, 1, 1), mode="replicate")
    views = {}
    for n in range(2):
        for row in range(3):
            for column in range(3):
                view = padded[n, :, row : row + 3, column : column + 4]
                views |= {tuple(v.flatten().tolist()): (row, column, m) for m, v in enumerate((view, view.flip(2)))}
    seen = {views[tuple(each.flatten().tolist())] for each in found}
    assert len(seen) == 18
    assert torch.equal(Augmentation((2, 3, 4))(images, torch.Generator()), images)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"network": {"shape": [1, 8]}}, "network.shape must have at least 3 entries, found"),
        (
            {"network": {"stage": [{"kind": "convolution", "channels": 4, "kernel": 9}]}},
            "network.stage: stage1: a kernel",
        ),
        ({"network": {"stage": [{"kind": "convolve", "channels": 4}]}}, "must be one of"),
        ({"network": {"stage": [{"kind": "dense", "units": 10, "kernel": 3}]}}, "kernel has a meaning only with kind"),
        ({"wires": {"row_resistance": 1.0}}, 'wires has no meaning with network.kind = "convolutional"'),
        ({"diode": [{"model": "ideal"}] * 3}, "diode must be one table or 2, one per hidden layer, found 3"),
        ({"training": {"learning_rate": [0.1] * 4}}, "must be one rate or 3, one per crossbar"),
    ],
)
def test_a_bad_table_is_one_clear_sentence(tables, words):
    found = {name: table for name, table in DIGITS.items() if name not in tables or isinstance(tables[name], dict)}
    merged = {
        name: {**found.get(name, {}), **table} if isinstance(table, dict) else table for name, table in tables.items()
    }
    with pytest.raises(SpecError, match=re.escape(words)):
        parse_spec({**found, **merged}, "test")


def test_only_images_are_moved():
    with pytest.raises(
        SpecError, match=r'training.shift and training.flip need network.kind = "convolutional", found "res'
    ):
        parse_spec({"network": {"sizes": [64, 10]}, "training": {"shift": 1}}, "test")


def test_steps_are_timed_against_an_ordinary_network():
    found = bench_spec(digits(network=SQUARE), "float32", 8, rounds=1, training_steps=2)
    assert found.ratio > 0
    assert max(found.gradient_error) < 1e-3
    with pytest.raises(StimulusError, match="needs a layer of PyTorch, found none like a LocallyConnected"):
        bench_spec(digits(), "float32", 8, rounds=1, training_steps=2)
