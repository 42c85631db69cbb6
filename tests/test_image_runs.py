"""All that can be done with a run is done with one of images, or refused in a line that says what to take."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analog_ep import cli
from analog_ep.errors import SpecError
from analog_ep.runs.folder import Run
from analog_ep.spec import Spec, parse_spec

SQUARED = {"cost": {"function": "squared_error"}}
SPREADS = {"conductance_spread": 0.02, "saturation_current_spread": 0.1, "gain_spread": 0.01, "amplifier_offset": 1e-3}
CONVERTERS = {"adc_bits": 10, "dac_bits": 10, "adc_range": [1.0], "dac_range": 5.0}
ALONE = {
    "self_learning": {},
    "gradient": {"variant": "positive"},
    "training": {"optimizer": "sgd", "schedule": "constant", "batch_size": 1},
}
STOCHASTIC = {"method": "stochastic", "nudging": 1e-5, "temperature": 1e-9, "chains": 4, "burn_in": 10, "steps": 10}
STAGES = [
    {"kind": "convolution", "channels": 2, "kernel": 3},
    {"kind": "average_pooling", "kernel": 2, "conductance": 1e-3},
    {"kind": "locally_connected", "channels": 2, "kernel": 1},
    {"kind": "dense", "units": 2},
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 4 × 4 pixels as idx files: four images to learn, two to be tested with."""
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for part, count in (("train", 4), ("t10k", 2)):
        labels = np.arange(count, dtype=np.uint8) % 2
        pixels = random.integers(0, 256, (count, 4, 4), dtype=np.uint8) // (1 + 3 * labels[:, None, None])
        for name, values in ((f"{part}-images-idx3-ubyte", pixels), (f"{part}-labels-idx1-ubyte", labels)):
            header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
            (folder / name).write_bytes(header + values.astype(np.uint8).tobytes())
    return folder


def spec_of(images: Path, **tables: dict[str, Any]) -> Spec:
    base: dict[str, dict[str, Any]] = {
        "data": {"source": str(images), "input_voltage": 5.0},
        "network": {"kind": "convolutional", "shape": [1, 4, 4], "stage": STAGES},
        "diode": {"model": "shockley", "saturation_current": 1e-9},
        "training": {"epochs": 1, "batch_size": 2, "learning_rate": 0.02},
    }
    return parse_spec({name: {**base.get(name, {}), **tables.get(name, {})} for name in base | tables}, "test")


@pytest.mark.parametrize(
    "tables",
    [
        {"gradient": {"method": "small_signal"}},
        {"gradient": {"method": "implicit"}},
        {"gradient": {"method": "adjoint"}},
        {"gradient": {"method": "asymmetric"}},
        {"gradient": {"method": "harmonic"}},
        {"gradient": {"method": "lock_in", "noise": True}},
        {"gradient": {"method": "coupled"}, **SQUARED},
        {"gradient": {"method": "contrastive_hebbian"}, **SQUARED},
        {"gradient": STOCHASTIC},
        {"gradient": {"kind": "elastic", "variant": "random"}},
        {"update": {"device": "LinearStep", "scheme": "stochastic"}},
        {"update": {"device": "SoftBounds", "held": "negative", "scheme": "tiki_taka"}},
        {
            "chip": {**SPREADS, "stuck_low": 0.05, "levels": 256},
            "converters": CONVERTERS,
            "gradient": {"nudging": 1e-3},
        },
        {"chip": SPREADS, "gradient": {"method": "asymmetric"}, "update": {"device": "ReRamES"}},
        {**SQUARED, **ALONE},
        {"network": {"drive": "single"}, "chip": SPREADS},
    ],
    ids=str,
)
def test_every_way_to_learn(images: Path, tmp_path: Path, tables: dict[str, Any]):
    run = Run.create(tmp_path / "run", spec_of(images, **tables))
    trainer = run.trainer
    before = {name: theta.clone() for name, theta in trainer.network.named_parameters()}
    run.train()
    assert trainer.epoch == 1
    assert np.isfinite(trainer.history[0].cost)
    assert set(before) == {"stage1", "stage3", "stage4"}
    resumed = Run.resume(tmp_path / "run").trainer.network
    for name, theta in trainer.network.named_parameters():
        assert not torch.equal(theta, before[name])
        assert torch.equal(theta, resumed.get_parameter(name))


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (
            {"gradient": {"method": "recurrent_backprop"}},
            'needs network.kind = "hopfield", .*methods that fit are "ep"',
        ),
        ({"gradient": {"method": "contrastive_divergence"}}, 'needs network.kind = "hopfield", .*that fit are "ep"'),
        ({"gradient": {"method": "holomorphic"}, **SQUARED}, 'needs network.kind = "hopfield", .*that fit are "ep"'),
        ({"gradient": {"method": "coupled"}}, 'needs cost.function = "squared_error", .*methods that fit are "ep"'),
        ({"wires": {"row_resistance": 1.0}}, 'no meaning with network.kind = "convolutional"; leave the table out'),
        ({"relaxation": {"method": "euler"}}, 'relaxation.method = "euler" needs network.kind = "hopfield"'),
        (
            {"network": {"drive": "single"}, "update": {"device": "SoftBounds", "held": "negative"}},
            "needs network.drive",
        ),
    ],
    ids=str,
)
def test_what_images_cannot_learn_by(images: Path, tables: dict[str, Any], words: str):
    with pytest.raises(SpecError, match=words):
        spec_of(images, **tables)


@pytest.fixture(scope="module")
def runs(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of one epoch: ideal hardware, a chip, and circuits that learn by themselves."""
    folder = tmp_path_factory.mktemp("runs")
    tables = {"ideal": {}, "chip": {"chip": SPREADS, "converters": CONVERTERS}, "alone": {**SQUARED, **ALONE}}
    for name, own in tables.items():
        Run.create(folder / name, spec_of(images, **own)).train()
    return {name: folder / name for name in tables}


def command(*words: object) -> str | int:
    """Exit status of a command, or the sentence that it refuses with."""
    with pytest.raises(SystemExit) as ended:
        cli.main([str(word) for word in words])
    return ended.value.code or 0


PHASES = ("free", "nudged", "both", "transient", "adjoint", "asymmetric")
DIALECTS = ("xyce", "ltspice", "hspice", "spectre", "gnucap", "vacask")
EXPORTS = [("ideal", phase, "ngspice") for phase in PHASES] + [("ideal", "both", dialect) for dialect in DIALECTS]
EXPORTS += [("ideal", "transient", "vacask"), ("chip", "both", "ngspice"), ("alone", "learning", "ngspice")]


@pytest.mark.parametrize(("name", "phase", "dialect"), EXPORTS)
def test_every_netlist(runs: dict[str, Path], tmp_path: Path, name: str, phase: str, dialect: str):
    deck = tmp_path / "deck"
    assert command("export", runs[name], "--phase", phase, "--dialect", dialect, "-o", deck) == 0
    # A kernel of nine taps at four places, in both signs, with two bias rows, for two channels.
    assert deck.read_text().count("stage1_") > 4 * (2 * 9 + 2) * 2 / 2


STUDIES = [(name,) for name in ("operating-point", "gradient", "noise", "power")]
STUDIES += [("monte-carlo", "--chips", "2", "--jobs", "1"), ("lock-in", "--samples", "1")]
LONGER = [("settling", "--integrator", "torch"), ("transient-noise",), ("corners",), ("nudging",)]


@pytest.mark.ngspice
@pytest.mark.parametrize(
    "words",
    [*STUDIES, *(pytest.param(words, marks=pytest.mark.lengthy) for words in LONGER)],
    ids=lambda words: words[0],
)
def test_every_analysis(runs: dict[str, Path], words: tuple[str, ...]):
    assert command("analyse", runs["chip" if "monte-carlo" in words else "ideal"], *words) == 0


@pytest.mark.ngspice
def test_check(runs: dict[str, Path]):
    assert command("check", runs["ideal"], "--samples", 1, "--accuracy") == 0


@pytest.mark.ngspice
@pytest.mark.lengthy
def test_the_check_of_a_chip_a_report_and_a_study(runs: dict[str, Path], tmp_path: Path, images: Path):
    assert command("check", runs["chip"], "--samples", 1) == 0
    assert command("report", runs["ideal"], "-o", tmp_path / "ideal.html", "--samples", 1) == 0
    assert "not shown" not in (tmp_path / "ideal.html").read_text()
    (tmp_path / "base.toml").write_text(spec_of(images).to_toml())
    axis = "[axes.gain]\nfour = { network.gain = 4.0 }\nsix = { network.gain = 6.0 }\n"
    (tmp_path / "study.toml").write_text(f'base = "base.toml"\nseeds = [0, 1]\n{axis}')
    assert command("study", tmp_path / "study.toml", "--out", tmp_path / "study", "--jobs", 1) == 0
    assert command("report", tmp_path / "study", "-o", tmp_path / "study.html") == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("analyse", "ideal", "wires"), "found ideal lines; give the spec of a network of crossbars [wires]"),
        (
            ("analyse", "ideal", "monte-carlo", "--chips", "2"),
            "found no [chip] in the spec of the run; train one with [chip] spreads",
        ),
        (
            ("export", "ideal", "--phase", "learning", "-o", "x"),
            "needs a spec with a [self_learning] table, found none",
        ),
    ],
)
def test_what_a_run_of_images_cannot_show(runs: dict[str, Path], words: tuple[str, ...], expected: str):
    found = command(words[0], runs[words[1]], *words[2:])
    assert expected in str(found)
    assert "\n" not in str(found)
