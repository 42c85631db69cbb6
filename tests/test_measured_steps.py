"""Devices named by a CSV of pulses or by a card with step tables, from the spec to the pulses that they get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analog_ep.cards import Card, Quantity, load_card, pulsed_device
from analog_ep.cards.measured_steps import pulses_of
from analog_ep.cards.pulse_tables import PULSE_COLUMNS
from analog_ep.cli import main
from analog_ep.devices.pulses import Lookup, PulsedArray
from analog_ep.errors import SpecError
from analog_ep.learning import PulsedUpdate
from analog_ep.measurements import Table, read_table
from analog_ep.runs.building import build_network, build_update
from analog_ep.spec import parse_spec
from analog_ep.support.resources import calibration_folder

NETWORK = {"sizes": [4, 3, 2]}


def written(path: Path, n: int = 4000) -> Path:
    """Steps up of 0.3 µS less a hundredth of what lies above 1 µS, steps down of half of that, 20 % of noise."""
    noise, conductance = np.random.default_rng(0), 5.0
    lines = ["pulse,conductance [uS]", f"0,{conductance}"]
    for k in range(n):
        pulse = 1 if k % 40 < 14 + noise.integers(2) else -1
        size = 0.3 - 0.01 * (conductance - 1)
        conductance += (size if pulse > 0 else -0.5 * size) * (1 + 0.2 * noise.standard_normal())
        lines.append(f"{pulse},{conductance:.6f}")
    path.write_text("\n".join(lines))
    return path


def test_a_spec_names_a_measurement_and_its_pulses_are_drawn_from_it(tmp_path: Path):
    data = written(tmp_path / "train.csv")
    tables: dict[str, Any] = {
        "device": str(data),
        "parameters": {"n_conductances": 21, "n_probabilities": 101, "write_noise": 0.0},
    }
    spec = parse_spec({"network": NETWORK, "update": tables}, "here")
    assert parse_spec(spec.to_dict(), "again") == spec
    update = build_update(spec, build_network(spec))
    assert isinstance(update, PulsedUpdate)
    model = update.device
    assert isinstance(model, Lookup)
    assert model.table_up.shape == (21, 101)
    middle = (model.w_min + model.w_max) / 2
    array = PulsedArray.over(model, torch.full((20_000,), 5e-5, dtype=torch.float64), (0.0, 1e-4), seed=0)
    for sign, size in ((1, 0.3e-6 - 0.01 * (middle - 1e-6)), (-1, -0.15e-6 + 0.005 * (middle - 1e-6))):
        array.set_conductances(torch.full((20_000,), 5e-5, dtype=torch.float64))
        before = array.conductances
        array.pulse(torch.full((20_000,), sign))
        # The range of the measurement stands for that of the network.
        change = (array.conductances - before) * (model.w_max - model.w_min) / 1e-4
        # About 200 measured pulses lie near: their mean has a deviation of 1.5 %, their own spread of 5 %.
        assert float(change.mean()) == pytest.approx(size, rel=0.05)
        assert float(change.std()) == pytest.approx(0.2 * abs(size), rel=0.2)


def test_a_measured_device_trains(tmp_path: Path):
    data = written(tmp_path / "train.csv", 400)
    spec = tmp_path / "spec.toml"
    spec.write_text(
        f'[data]\nsource = "xor"\n[network]\nsizes = [2, 4, 2]\n[training]\nepochs = 1\n[update]\ndevice = "{data}"\n'
    )
    with pytest.raises(SystemExit) as ended:
        main(["train", str(spec), "--out", str(tmp_path / "run")])
    assert ended.value.code == 0


def test_the_shipped_curves_are_measurements():
    for name in ("ecram_tang2018", "reram_gong2018"):
        model = pulsed_device(str(calibration_folder() / f"{name}.csv"), n_conductances=51, n_probabilities=51)
        assert isinstance(model, Lookup)
        assert 1e-6 <= model.w_min < model.w_max <= 1e-4


def test_a_card_holds_step_tables(tmp_path: Path):
    up = [[1e-7, 3e-7], [0.5e-7, 1e-7]]
    parameters = {
        "w_min": Quantity(1e-6, unit="S"), "w_max": Quantity(1e-5, unit="S"), "table_up": Quantity(up, unit="S"),
        "table_down": Quantity([[-2e-7, -1e-7], [-3e-7, -1e-7]], unit="S"), "step_noise": Quantity(0.5),
    }  # fmt: skip
    path = tmp_path / "table.toml"
    path.write_text(Card("table", "pulses", "Lookup", parameters).to_toml(), encoding="utf-8")
    assert load_card(path) == Card("table", "pulses", "Lookup", parameters)
    model = pulsed_device(str(path), step_noise=1.0)
    assert isinstance(model, Lookup)
    np.testing.assert_array_equal(model.table_up, up)
    assert (model.w_min, model.w_max, model.step_noise) == (1e-6, 1e-5, 1.0)
    assert model.mean_step == pytest.approx((1.375e-7 + 1.75e-7) / 2)


def test_pulses_across_devices_and_new_beginnings_are_none():
    columns = {"pulse": [1, 1, -1, 0, 1, 1, -1], "conductance": [1, 2, 3, 4, 5, 6, 7], "device": [0, 0, 0, 0, 0, 1, 1]}
    table = Table("train.csv", {name: np.array(values, float) for name, values in columns.items()})
    before, after, up = pulses_of(table)
    assert (before.tolist(), after.tolist(), up.tolist()) == ([1, 2, 4, 6], [2, 3, 5, 7], [True, False, True, False])


@pytest.mark.parametrize(
    ("text", "parameters", "words"),
    [
        (None, {}, r"device: .*bad\.csv must be a readable CSV file, found: No such file"),
        ("pulse,conductance\n1,2\n", {}, r"device: .*column conductance must say its unit.*found none"),
        ("pulse,conductance [S]\n0,1e-6\n2,2e-6\n", {}, r"device: bad\.csv: pulse must be 1, -1, or 0 .*found 2"),
        ("pulse,conductance [S]\n0,1e-6\n1,2e-6\n", {}, r"device: .*bad\.csv: 10 pulses of each sign .*found 1"),
        ("good", {"step": 0.1}, "parameters: measured steps have no parameter 'step'; they have n_cond.*step_noise"),
        ("good", {"n_probabilities": 1}, "parameters: n_probabilities must be a whole number of at least 2, found 1"),
    ],
)  # fmt: skip
def test_what_no_device_can_be_is_refused(tmp_path: Path, text: str | None, parameters: dict[str, Any], words: str):
    data = tmp_path / "bad.csv"
    if text == "good":
        written(data, 200)
    elif text is not None:
        data.write_text(text)
    tables = {"network": NETWORK, "update": {"device": str(data), "parameters": parameters}}
    with pytest.raises(SpecError, match=rf"^here: update\.{words}"):
        parse_spec(tables, "here")


def test_the_columns_are_those_of_the_fits(tmp_path: Path):
    table = read_table(written(tmp_path / "train.csv", 200), PULSE_COLUMNS)
    assert len(table) == 201
