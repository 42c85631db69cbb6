"""Killed by an event in every epoch and resumed: the bits of a training that nothing interrupted."""

import csv
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from analog_ep.learning.training import EpochRecord
from analog_ep.learning.updates.pulsed import PulsedUpdate
from analog_ep.networks import ResistiveNetwork
from analog_ep.runs.building import build_network, build_update
from analog_ep.runs.chips import build_chip
from analog_ep.runs.folder import CHECKPOINT, CHIP, METRICS, Run
from analog_ep.spec import Spec, default_spec, parse_spec, with_values
from analog_ep.spec.study import load_study
from analog_ep.studies.grid import run_study
from analog_ep.studies.results import RESULTS

EPOCHS = 3

UPDATES: dict[str, dict[str, Any]] = {
    "plain": {},
    "fixed": {"update": {"device": "reram_gong2018"}},
    "sign": {"update": {"device": "HfO2", "scheme": "sign", "options": {"offset_spread": 1e-8}}},
    "stochastic": {"update": {"device": "EcRam", "scheme": "stochastic", "options": {"rank": 2}}},
    "verify": {"update": {"device": "SoftBounds", "parameters": {"step_noise": 0.3}, "scheme": "verify"}},
    "mixed": {"update": {"device": "PCM", "scheme": "mixed_precision"}},
    "tiki-taka": {"update": {"device": "ReRamES", "scheme": "tiki_taka", "options": {"transfer_every": 2}}},
    "held": {
        "update": {"device": "SoftBounds", "parameters": {"lifetime": 50.0, "diffusion": 1e-3}, "held": "negative"}
    },
}
FAULTS = {"stuck": 0.2, "open": 0.1}
CELLS: dict[str, dict[str, Any]] = {
    "sound": {},
    "faults": {"conductance_spread": 0.05, **FAULTS},
    "levels": {"levels": 64, "retention": 50.0},
    "stochastic": {"levels": 64, "rounding": "stochastic", "diffusion": 1e-2},
    "carried": {"levels": 16, "rounding": "carried", **FAULTS},
    "warm": {"temperature": 330.0, "temperature_coefficient": 1e-3, "retention": 20.0, "diffusion": 1e-3, **FAULTS},
}
BOUNDARIES: dict[str, dict[str, Any]] = {
    "exact": {},
    "converters": {"converters": {"adc_bits": 8, "adc_range": 4.0, "adc_noise": 1e-3, "dac_noise": 1e-3}},
    "twin": {"chip": {"twin": True, "learning_bias": 1e-7}},
    "both": {
        "converters": {"adc_offset": 1e-3, "adc_noise": 1e-4, "adc_capacitance": 1e-13},
        "chip": {"twin": True, "comparator": True},
    },
}


def spec_of(update: str, cells: str, boundary: str) -> Spec:
    """Exclusive or on a small network with ideal diodes, which are solved fastest."""
    tables = default_spec("xor").to_dict() | {"diode": {"model": "ideal", "upper": 0.3, "lower": -0.3}}
    tables["network"]["sizes"] = [2, 3, 2]
    tables["gradient"] |= {"nudging": 1e-4, "variant": "random"}
    tables["training"] |= {"epochs": EPOCHS, "batch_size": 2, "seed": 3, "input_noise": 0.1}
    own = BOUNDARIES[boundary]
    chip = CELLS[cells] | own.get("chip", {})
    tables |= UPDATES[update] | {name: table for name, table in own.items() if name != "chip"}
    return parse_spec(tables | ({"chip": chip} if chip else {}), "test")


def stepped(spec: Spec, saved: dict[str, Any] | None, steps: range) -> dict[str, Any]:
    """The state after some steps with gradients that their number gives."""
    network = build_network(spec)
    assert isinstance(network, ResistiveNetwork)
    update = build_update(spec, network, build_chip(spec, network))
    if saved is not None:
        network.load_state_dict(saved["network"])
        update.load_state_dict(saved["optimizer"])
        update.load_hardware_state(saved["hardware"])
    for step in steps:
        random = torch.Generator().manual_seed(step)
        for parameter in network.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=random)
        update.step()
    parameters = {name: value.clone() for name, value in network.state_dict().items()}
    return {"network": parameters, "optimizer": update.state_dict(), "hardware": update.hardware_state()}


@pytest.mark.parametrize("update", UPDATES)
def test_any_update_on_any_chip_goes_on_to_the_same_bits(update: str):
    for cells, boundary in itertools.product(CELLS, ("exact", "twin")):
        spec = spec_of(update, cells, boundary)
        whole = stepped(spec, None, range(5))
        parts = stepped(spec, stepped(spec, None, range(3)), range(3, 5))
        for kind in ("network", "hardware"):
            assert whole[kind].keys() == parts[kind].keys()
            for name, value in whole[kind].items():
                assert torch.equal(value, parts[kind][name]), f"{update} on {cells} and {boundary}: {name}"


class Killed(BaseException):
    """What nothing catches on its way out."""


class Killer:
    """Ends a training at an event: after a batch of an epoch, or after its record."""

    def __init__(self, epoch: int, batch: int | None = None, kill: Any = None):
        self.epoch, self.batch, self.kill = epoch, batch, kill

    def batch_done(self, epoch: int, batch: int, n_batches: int) -> None:
        if (epoch, batch) == (self.epoch, self.batch):
            self._end()

    def epoch_done(self, record: EpochRecord) -> None:
        if record.epoch == self.epoch and self.batch is None:
            self._end()

    def _end(self) -> None:
        if self.kill is not None:
            self.kill()
        raise Killed


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Runs without pictures, which take longer than these trainings."""
    monkeypatch.setattr("analog_ep.runs.folder.learning_curve", lambda *_: b"")
    return monkeypatch


def train_until_killed(run: Run, epoch: int, patch: pytest.MonkeyPatch) -> None:
    write = Run._write_metrics

    def killing_write(run: Run) -> None:
        if run.trainer.epoch == epoch:
            raise Killed
        write(run)

    with patch.context() as context:
        if epoch % 3 == 2:
            context.setattr(Run, "_write_metrics", killing_write)
        run.train([Killer(epoch, 1 if epoch % 3 == 1 else None)])


def killed_in_every_epoch(path: Path, spec: Spec, patch: pytest.MonkeyPatch) -> Run:
    """A run that is killed in the middle of its first epoch, between the two files of its second one, and so on."""
    run = Run.create(path, spec)
    for epoch in range(1, spec.training.epochs + 1):
        with pytest.raises(Killed):
            train_until_killed(run, epoch, patch)
        run = Run.resume(path)
        assert run.trainer.epoch == (epoch - 1 if epoch % 3 == 1 else epoch)
    run.train()
    return run


def assert_same(one: Run, other: Run) -> None:
    """Tensors of checkpoint and chip, metrics but for the wall time, and what pulses took."""
    for file in (CHECKPOINT, CHIP) if (one.path / CHIP).exists() else (CHECKPOINT,):
        first, second = (load_file(run.path / file) for run in (one, other))
        assert first.keys() == second.keys()
        for name, value in first.items():
            assert value.numpy().tobytes() == second[name].numpy().tobytes(), name
    rows = [list(csv.DictReader((run.path / METRICS).read_text().splitlines())) for run in (one, other)]
    assert [row | {"seconds": ""} for row in rows[0]] == [row | {"seconds": ""} for row in rows[1]]
    assert len(rows[0]) == one.spec.training.epochs
    if one.spec.update is not None:
        updates = [run.trainer.update for run in (one, other)]
        energies = [update.energy for update in updates if isinstance(update, PulsedUpdate)]
        assert energies[0] == energies[1] > 0


PAIRS = [
    (update, cells, list(BOUNDARIES)[(number + shift) % len(BOUNDARIES)])
    for number, update in enumerate(UPDATES)
    for shift, cells in ((0, list(CELLS)[1 + number % 5]), (2, list(CELLS)[1 + (number + 2) % 5]))
]
"""Each update on two chips and at two boundaries; all chips at all boundaries; the rest of the product is above."""


@pytest.mark.parametrize(("update", "cells", "boundary"), PAIRS)
def test_a_run_killed_in_every_epoch(update: str, cells: str, boundary: str, tmp_path: Path, quick: pytest.MonkeyPatch):
    spec = spec_of(update, cells, boundary)
    whole = Run.create(tmp_path / "whole", spec)
    whole.train()
    assert_same(whole, killed_in_every_epoch(tmp_path / "killed", spec, quick))


@pytest.mark.parametrize(
    "tables",
    [
        {
            "relaxation": {"persistent_states": True, "max_steps": 20, "strict": False},
            "gradient": {"variant": "random"},
        },
        {"gradient": {"method": "contrastive_divergence"}},
    ],
)
def test_a_hopfield_run_killed_in_every_epoch(tables: dict[str, Any], tmp_path: Path, quick: pytest.MonkeyPatch):
    base = {
        "data": {"source": "iris"},
        "network": {"kind": "hopfield", "sizes": [4, 5, 3]},
        "training": {"epochs": EPOCHS, "batch_size": 60, "input_noise": 0.1},
    }
    spec = parse_spec(base | tables, "test")
    whole = Run.create(tmp_path / "whole", spec)
    whole.train()
    assert_same(whole, killed_in_every_epoch(tmp_path / "killed", spec, quick))


HARSH = {
    "update": {"device": "reram_gong2018"},
    "chip": {"conductance_spread": 0.05, "stuck": 0.02, "levels": 64, "rounding": "stochastic"},
    "training": {"epochs": 3},
}


def test_a_process_killed_in_an_epoch(tmp_path: Path, quick: pytest.MonkeyPatch):
    spec = with_values(default_spec("iris"), **HARSH)
    script = (
        "import os, pathlib, signal, test_resume as here\n"
        "kill = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "run = here.Run.create(folder / 'killed', here.with_values(here.default_spec('iris'), **here.HARSH))\n"
        "run.train([here.Killer(2, 4, kill)])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (-signal.SIGKILL, b"")
    resumed = Run.resume(tmp_path / "killed")
    assert resumed.trainer.epoch == 1
    resumed.train()
    whole = Run.create(tmp_path / "whole", spec)
    whole.train()
    assert_same(whole, resumed)


STUDY = """
base = "xor"
epochs = 2
seeds = [3]

[axes.update]
plain = { network.sizes = [2, 3, 2] }
ReRAM = { network.sizes = [2, 3, 2], update = { device = "reram_gong2018" } }
"fast and slow" = { network.sizes = [2, 3, 2], update = { device = "EcRam", scheme = "tiki_taka" } }

[axes.chip]
none = {}
faulty = { chip = { stuck = 0.2, open = 0.1, levels = 64, rounding = "carried" }, converters = { adc_noise = 1e-3 } }
"""


def test_a_study_killed_at_every_save_gives_the_same_table(tmp_path: Path, quick: pytest.MonkeyPatch):
    quick.setattr("analog_ep.studies.results.accuracy_picture", lambda *_: b"")
    (tmp_path / "study.toml").write_text(STUDY)
    study = load_study(tmp_path / "study.toml")
    run_study(study, tmp_path / "whole", 1)
    saves, save = [], Run.save

    def killing_save(run: Run) -> None:
        save(run)
        if run.trainer.epoch not in saves:
            saves.append(run.trainer.epoch)
            raise Killed

    kills = 0
    for _ in range(100):
        try:
            with quick.context() as context:
                context.setattr(Run, "save", killing_save)
                run_study(study, tmp_path / "killed", 1)
            break
        except Killed:
            kills += 1
            if len(saves) == 3:
                saves.clear()
    assert kills >= 12
    assert (tmp_path / "killed" / RESULTS).read_bytes() == (tmp_path / "whole" / RESULTS).read_bytes()
    rows = list(csv.DictReader((tmp_path / "whole" / RESULTS).read_text().splitlines()))
    assert [row["error"] for row in rows] == [""] * 6
    assert all(bool(row["pulses"]) == (row["update"] != "plain") for row in rows)
