"""The pulses of an update of a run, and what other devices see of them: counts of the run, and lines by hand."""

import csv
import json
import re
import shutil
import subprocess
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from analog_ep.cli import app
from analog_ep.devices.selection import WriteScheme, exposures
from analog_ep.errors import CheckpointError, SpecError, StimulusError
from analog_ep.learning.checkpoint import Checkpoint
from analog_ep.netlist.conductance_table import write_conductances
from analog_ep.ngspice.process import find_ngspice
from analog_ep.runs.building import build_conductances
from analog_ep.runs.choosing import CHECKPOINT
from analog_ep.runs.folder import CALIBRATION, CHIP, Run
from analog_ep.runs.step_pulses import EXPOSURE_COLUMNS, PULSE_COLUMNS, step_pulses
from analog_ep.spec import default_spec, parse_spec

DEVICE = {"device": "SoftBounds", "parameters": {"step": 0.01, "pulse_voltage": 1.5, "step_noise": 0.3}}


def run(
    path: Path,
    update: dict | None = None,
    epochs: int = 2,
    stop: int | None = None,
    start: Path | None = None,
    chip: dict | None = None,
    rate: float = 0.03,
) -> Run:
    tables = default_spec("iris").model_dump(exclude_none=True)
    tables["training"] |= {"epochs": epochs, "batch_size": 40, "learning_rate": [rate]}
    tables["network"] |= {"sizes": [4, 3, 3]}
    if update:
        tables["update"] = update
    if chip:
        tables["chip"] = chip
    found = Run.create(path, parse_spec(tables, "a test"), start=start)
    if stop is None:
        found.train()
        return found

    class Stop:
        def batch_done(self, epoch: int, batch: int, n_batches: int) -> None: ...

        def epoch_done(self, record) -> None:
            if record.epoch == stop:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        found.train([Stop()])
    return found


def seen_by_hand(up: np.ndarray, down: np.ndarray, scheme: WriteScheme, volts: tuple[float, float]) -> Counter:
    """Pulse by pulse from the voltages of the lines: how often which device sees which voltage."""
    found: Counter = Counter()
    n_rows, n_columns = up.shape
    for counts, voltage in ((up, volts[0]), (down, volts[1])):
        for row, column in product(range(n_rows), range(n_columns)):
            for _ in range(counts[row, column]):
                idle = 0.0 if scheme == "V/2" else voltage / 3
                # The usual statement: selected lines at V and 0; the others at V/2, or rows at V/3, columns at 2V/3.
                rows = [voltage if r == row else (voltage / 2 if scheme == "V/2" else idle) for r in range(n_rows)]
                lines = [0.0 if c == column else (voltage / 2 if scheme == "V/2" else 2 * idle)
                         for c in range(n_columns)]  # fmt: skip
                for r, c in product(range(n_rows), range(n_columns)):
                    if (r, c) != (row, column) and abs(rows[r] - lines[c]) > 1e-12:
                        found[r, c, round(rows[r] - lines[c], 9)] += 1
    return found


@pytest.mark.parametrize("scheme", ["V/2", "V/3"])
def test_exposures_are_those_of_the_lines(scheme: WriteScheme):
    draw = np.random.default_rng(0)
    up, down = (draw.integers(0, 4, (3, 4)) * (draw.random((3, 4)) < 0.6) for _ in range(2))
    volts = (1.2, -0.9)
    found: Counter = Counter()
    for each in exposures(torch.from_numpy(up), torch.from_numpy(down), scheme):
        voltage = round(each.fraction * volts[0 if each.up else 1], 9)
        for (row, column), count in np.ndenumerate(each.counts.numpy()):
            found[row, column, voltage] += int(count)
    assert +found == seen_by_hand(up, down, scheme, volts)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "iris"
    run(path, DEVICE)
    return path


def counts_of(path: Path, array: str = "stage1.array") -> torch.Tensor:
    return Checkpoint.load(path / CHECKPOINT).tensors[f"hardware.{array}.counts"]


def test_all_steps_together_are_the_pulses_of_the_run(trained: Path):
    steps = [step_pulses(trained, step) for step in range(1, 7)]
    assert [(each.epoch, each.batch) for each in steps] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    for place, stage in enumerate(("stage1", "stage2")):
        found = torch.stack([torch.stack([each.arrays[place].down, each.arrays[place].up]) for each in steps]).sum(0)
        assert torch.equal(found.flatten(1), counts_of(trained, f"{stage}.array"))
    # Noise and all: the devices after the last step are the run's.
    hidden = Checkpoint.load(trained / CHECKPOINT).tensors["hardware.stage1.array.hidden"]
    assert torch.equal(steps[-1].arrays[0].array.hidden, hidden)
    assert torch.equal(steps[-2].arrays[0].array.hidden, steps[-1].arrays[0].before)


def test_steps_beyond_the_checkpoint_and_fast_arrays(trained: Path, tmp_path: Path):
    run(tmp_path / "half", DEVICE, stop=1)
    ahead, known = step_pulses(tmp_path / "half", 5), step_pulses(trained, 5)
    assert list(ahead.rows()) == list(known.rows())
    run(tmp_path / "fast", {"device": "SoftBounds", "scheme": "tiki_taka"}, epochs=1)
    steps = [step_pulses(tmp_path / "fast", step) for step in (1, 2, 3)]
    assert [each.label for each in steps[0].arrays] == ["stage1", "stage2", "stage1, fast", "stage2, fast"]
    found = torch.stack([torch.stack([each.arrays[2].down, each.arrays[2].up]) for each in steps]).sum(0)
    assert found.sum() > 0
    assert torch.equal(found.flatten(1), counts_of(tmp_path / "fast", "stage1.hidden_array"))


def test_conductances_that_were_given_are_those_it_begins_from(tmp_path: Path):
    spec = parse_spec(
        default_spec("iris").model_dump(exclude_none=True) | {"network": {"kind": "resistive", "sizes": [4, 3, 3]}},
        "a test",
    )
    network = build_conductances(spec)
    network.set_conductances({name: torch.full_like(g, 3e-5) for name, g in network.conductances.items()})
    write_conductances(network, tmp_path / "start.csv")
    run(tmp_path / "run", DEVICE, epochs=1, start=tmp_path / "start.csv")
    (tmp_path / "start.csv").unlink()
    steps = [step_pulses(tmp_path / "run", step) for step in (1, 2, 3)]
    found = torch.stack([torch.stack([each.arrays[0].down, each.arrays[0].up]) for each in steps]).sum(0)
    assert torch.equal(found.flatten(1), counts_of(tmp_path / "run"))


@pytest.mark.parametrize("scheme", ["V/2", "V/3"])
def test_the_command_writes_both_tables(scheme: WriteScheme, trained: Path, tmp_path: Path):
    arguments = ["pulses", str(trained), "--step", "2", "--write-scheme", scheme, "-o", str(tmp_path / "pulses.csv")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    for words in ("pulses of +1.5 V up and -1.5 V down, 1e-07 s", "depress_voltage, pulse_width", "step 2 (epoch 1"):
        assert words in " ".join(done.output.split())
    assert "pulse_voltage," not in done.output.replace("depress_voltage,", "")
    pulses, seen = (
        list(csv.reader((tmp_path / name).read_text().splitlines())) for name in ("pulses.csv", "pulses.exposure.csv")
    )
    assert (tuple(pulses[0]), tuple(seen[0])) == (PULSE_COLUMNS, EXPOSURE_COLUMNS)
    step = step_pulses(trained, 2)
    slot = 0
    counts = {name: np.zeros(step.arrays[0].up.shape, dtype=int) for name in ("1", "-1")}
    for label, row, column, sign, count, amplitude, width, start, name in pulses[1:]:
        assert float(amplitude) == 1.5 * int(sign)
        assert (float(width), name) == (1e-7, scheme)
        if label == "stage1":
            counts[sign][int(row), int(column)] = int(count)
            # Slots of two widths, one pulse after the other, from half a width on.
            assert float(start) == pytest.approx(2e-7 * slot + 5e-8)
            slot += int(count)
    np.testing.assert_array_equal(counts["1"], step.arrays[0].up)
    np.testing.assert_array_equal(counts["-1"], step.arrays[0].down)
    found = Counter(
        {(int(r), int(c), round(float(v), 9)): int(n) for label, r, c, v, n in seen[1:] if label == "stage1"}
    )
    assert found == seen_by_hand(counts["1"], counts["-1"], scheme, (1.5, -1.5))


def test_json_has_figures_and_energies(trained: Path):
    done = CliRunner().invoke(app, ["pulses", str(trained), "--json"])
    assert done.exit_code == 0, done.output
    found, step = json.loads(done.output), step_pulses(trained)
    first, array = found["arrays"][0], step.arrays[0]
    assert first["potentiating"] == int(array.up.sum()) > 0
    assert first["seconds"] == pytest.approx(2e-7 * array.n_pulses)
    # A mean conductance of the window at 1.5 V for 0.1 µs, within its ends.
    low, high = (g * 1.5**2 * 1e-7 * array.n_pulses for g in (array.array.map.g_min, array.array.map.g_max))
    assert low < first["energy"] < high
    siemens = array.array.map.conductance(array.before).reshape(array.up.shape).double().numpy()
    by_hand = seen_by_hand(array.up.numpy(), array.down.numpy(), "V/2", (1.5, -1.5))
    energy = sum(n * float(siemens[r, c]) * v**2 * 1e-7 for (r, c, v), n in by_hand.items())
    assert first["seen_energy"] == pytest.approx(energy, rel=1e-6)
    assert {row["voltage [V]"] for row in found["exposures"]} == {0.75, -0.75}


def test_a_card_of_the_users_own_says_amplitudes_and_width(tmp_path: Path):
    card = tmp_path / "mine.toml"
    card.write_text(
        'name = "mine"\nkind = "pulses"\nmodel = "SoftBounds"\n[parameters]\nstep = {value = 0.02}\n'
        'pulse_voltage = {value = 900, unit = "mV"}\ndepress_voltage = {value = 1.1, unit = "V"}\n'
        'pulse_width = {value = 2, unit = "us"}\ndisturb_voltage = {value = 90, unit = "mV"}\n'
    )
    run(tmp_path / "run", {"device": str(card)}, epochs=1)
    found = step_pulses(tmp_path / "run")
    assert found.defaults == ()
    assert found.told() == ["pulses of +0.9 V up and -1.1 V down, 2e-06 s"]
    assert {(row[3], row[5], row[6]) for row in found.rows()} == {(1, 0.9, 2e-6), (-1, -1.1, 2e-6)}


def test_what_the_list_does_not_show_is_said(tmp_path: Path):
    run(tmp_path / "run", {"device": "SoftBounds", "scheme": "stochastic"}, epochs=1)
    assert "coincidences of trains are listed as pulses of single devices" in step_pulses(tmp_path / "run").told()[-1]


def test_runs_and_steps_that_cannot_be_are_refused(trained: Path, tmp_path: Path):
    with pytest.raises(StimulusError, match=r"the run has steps 1…6, 3 an epoch, found 7 asked for"):
        step_pulses(trained, 7)
    plain = run(tmp_path / "plain", epochs=1)
    with pytest.raises(SpecError, match=r"found no \[update\] in the spec"):
        step_pulses(plain.path)
    # A run that went another way: its history is another one's.
    other = run(tmp_path / "other", DEVICE, chip={"amplifier_offset": 0.01})
    checkpoint = Checkpoint.load(other.path / CHECKPOINT)
    checkpoint.facts["history"][0]["cost"] += 1e-9
    checkpoint.save(other.path / CHECKPOINT)
    step_pulses(other.path, 3)
    with pytest.raises(CheckpointError, match=r"must go as it went, found a cost of \S+ in epoch 1 where the run has"):
        step_pulses(other.path, 4)
    shutil.copyfile(other.path / CHIP, other.path / CALIBRATION)
    with pytest.raises(CheckpointError, match=r"only where its chip was not calibrated"):
        step_pulses(other.path, 1)


@pytest.mark.ngspice
@pytest.mark.parametrize("scheme", ["V/2", "V/3"])
def test_the_deck_of_a_step_writes_what_the_run_wrote(scheme: WriteScheme, tmp_path: Path):
    """A crossbar of 10 × 3 devices that differ, disturbed in the run and in plain ngspice."""
    parameters = {"step": 0.02, "step_spread": 0.2, "w_max_spread": 0.1, "disturb_voltage": 0.17}
    run(
        tmp_path / "run",
        {"device": "SoftBounds", "parameters": parameters, "write_scheme": scheme},
        epochs=1,
        rate=0.012,
    )
    path = tmp_path / "write.cir"
    done = CliRunner().invoke(app, ["pulses", str(tmp_path / "run"), "--step", "1", "--deck", str(path)])
    assert done.exit_code == 0, done.output
    step = step_pulses(tmp_path / "run", 1)
    array = step.arrays[0]
    assert step.write_scheme == scheme
    assert array.n_pulses > 20
    ended = subprocess.run([find_ngspice(), "-b", path], cwd="/", capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = np.zeros(tuple(array.up.shape))
    for row, column, text in re.findall(r"^g_(\d+)_(\d+)\s*=\s*(\S+)$", ended.stdout, re.MULTILINE):
        found[int(row), int(column)] = float(text)
    expected = array.array.conductances.double().numpy()
    before = array.array.map.conductance(array.before).reshape(array.up.shape).double().numpy()
    np.testing.assert_allclose(found, expected, rtol=0.02)
    quiet = (array.up + array.down).numpy() == 0
    assert np.abs(expected - before)[quiet].max() > 0.02 * before[quiet].min()
    assert np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected - before)


def test_decks_that_cannot_be_are_refused(trained: Path, monkeypatch):
    step = step_pulses(trained)
    with pytest.raises(StimulusError, match="the array must be one of stage1, stage2, found 'stage3'"):
        step.deck("stage3")
    monkeypatch.setattr("analog_ep.runs.step_pulses._MOST_CORNERS", 10)
    with pytest.raises(StimulusError, match="a deck must have at most 10 pulses times lines, found"):
        step.deck("stage1")
    done = CliRunner().invoke(app, ["pulses", str(trained), "--array", "stage1"])
    assert done.exit_code == 2
    assert "has a meaning only with --deck" in done.output
