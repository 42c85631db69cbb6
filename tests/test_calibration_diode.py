"""Diode fits against simulated measurements and against ngspice's own curve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import lambertw

from analog_ep.calibration import Noise, Table, card_of, fit_diode, fit_figure, read_table, write_card
from analog_ep.calibration.diode import COLUMNS
from analog_ep.cards import load_card
from analog_ep.cli import main
from analog_ep.constants import thermal_voltage
from analog_ep.devices import ShockleyDiode
from analog_ep.errors import CardError, DataError
from analog_ep.ngspice.process import run_ngspice
from analog_ep.support.resources import calibration_folder

TRUTH = {"saturation_current": 4e-9, "ideality": 1.9, "series_resistance": 0.65}
VOLTAGE = np.linspace(0.1, 0.9, 100)


def exact_current(voltage: np.ndarray, saturation: float, ideality: float, resistance: float) -> np.ndarray:
    """The Shockley equation behind a resistance in closed form, by Lambert's W; shares no code with the fit."""
    emission = ideality * thermal_voltage()
    argument = saturation * resistance / emission * np.exp((voltage + saturation * resistance) / emission)
    return emission / resistance * lambertw(argument).real - saturation


def measured(seed: int, relative: float = 0.01, floor: float = 1e-10) -> Table:
    noise = np.random.default_rng(seed)
    current = exact_current(VOLTAGE, *TRUTH.values())
    current = current * (1 + relative * noise.standard_normal(len(VOLTAGE))) + floor * noise.standard_normal(
        len(VOLTAGE)
    )
    return Table("measured.csv", {"voltage": VOLTAGE, "current": current})


def cramer_rao(relative: float, floor: float) -> dict[str, float]:
    """Smallest standard deviation that an unbiased estimate can have."""
    centre = np.array(list(TRUTH.values()))
    columns = []
    for k, value in enumerate(centre):
        step = np.zeros(3)
        step[k] = 1e-5 * value
        columns.append(
            (exact_current(VOLTAGE, *(centre + step)) - exact_current(VOLTAGE, *(centre - step))) / (2e-5 * value)
        )
    deviation = np.sqrt((relative * exact_current(VOLTAGE, *centre)) ** 2 + floor**2)
    whitened = np.column_stack(columns) / deviation[:, None]
    bound = np.linalg.inv(whitened.T @ whitened)
    return dict(zip(TRUTH, np.sqrt(np.diag(bound)), strict=True))


def test_stated_intervals_cover_the_truth_and_errors_are_at_the_cramer_rao_bound():
    fits = [fit_diode(measured(seed)) for seed in range(16)]
    bound = cramer_rao(0.01, 1e-10)
    for name, true in TRUTH.items():
        errors = np.array([fit.estimates[name].value - true for fit in fits])
        stated = np.array([fit.estimates[name].uncertainty for fit in fits])
        assert 6 <= (np.abs(errors) < stated).sum() <= 15, name  # 11 expected, a deviation of 1.9
        assert np.sqrt((errors**2).mean()) < 1.5 * bound[name], name
        assert np.median(stated) == pytest.approx(bound[name], rel=0.3)


def test_an_adequate_model_is_called_adequate_and_what_is_not_told_is_said():
    fit = fit_diode(measured(0))
    assert fit.adequacy.adequate
    assert fit.sentence().startswith("shockley is adequate: no residual test rejects it at 1%")
    assert "the data cannot tell energy_gap, from one temperature" in fit.sentence()
    low = VOLTAGE < 0.5
    short = Table("low.csv", {name: column[low] for name, column in measured(0).columns.items()})
    assert "series_resistance from 0" in fit_diode(short).sentence()


def test_a_resistance_that_the_data_cannot_tell_from_0_is_0():
    low = VOLTAGE < 0.45
    short = Table("low.csv", {name: column[low] for name, column in measured(2).columns.items()})
    fit = fit_diode(short)
    assert fit.values["series_resistance"] == 0
    assert fit.estimates["series_resistance"].uncertainty > TRUTH["series_resistance"] / 3
    for name in ("saturation_current", "ideality"):
        assert abs(fit.estimates[name].value - TRUTH[name]) < 4 * fit.estimates[name].uncertainty
    assert fit_diode(measured(2)).values["series_resistance"] > 0


def test_data_of_one_temperature_hold_there_alone_unless_the_gap_is_given():
    warm = Table("warm.csv", {**measured(0).columns, "temperature": np.full(len(VOLTAGE), 320.0)})
    card = card_of(fit_diode(warm), "warm", "", "")
    device = card.diode(320.0)
    assert isinstance(device, ShockleyDiode)
    assert (device.temperature, device.nominal_temperature) == (320.0, 320.0)
    with pytest.raises(CardError, match="the card warm holds at its own temperature alone, found 330 K asked for"):
        card.diode(330.0)
    known = card_of(fit_diode(warm, energy_gap=0.69), "warm", "", "").diode(330.0)
    assert isinstance(known, ShockleyDiode)
    assert (known.temperature, known.energy_gap) == (330.0, 0.69)
    with pytest.raises(DataError, match="the energy gap must be positive, found -1"):
        fit_diode(warm, energy_gap=-1.0)


def test_another_law_is_called_inadequate():
    table = measured(1)
    leak = 3e-6 * VOLTAGE**2  # space-charge-limited leakage beside the junction
    fit = fit_diode(Table("odd.csv", {"voltage": VOLTAGE, "current": table["current"] + leak}))
    assert not fit.adequacy.adequate
    assert "NOT adequate" in fit.sentence()


def test_temperatures_give_the_gap():
    temperatures = (273.15, 300.15, 343.15)
    current = [
        ShockleyDiode(**TRUTH, temperature=t, energy_gap=1.05).current(torch.from_numpy(VOLTAGE)).numpy()
        for t in temperatures
    ]
    noise = 1 + 0.01 * np.random.default_rng(3).standard_normal((3, len(VOLTAGE)))
    columns = {
        "voltage": np.tile(VOLTAGE, 3),
        "current": (np.stack(current) * noise).ravel(),
        "temperature": np.repeat(temperatures, len(VOLTAGE)),
    }
    fit = fit_diode(Table("warm.csv", columns))
    assert fit.adequacy.adequate
    assert not fit.untold
    for name, true in (*TRUTH.items(), ("energy_gap", 1.05)):
        assert abs(fit.estimates[name].value - true) < 4 * fit.estimates[name].uncertainty, name


@pytest.mark.ngspice
def test_the_1n4148_card_reproduces_ngspices_own_curve_over_six_decades():
    deck = (
        "* the published card\n.options TEMP=27 TNOM=27 reltol=1e-12 vntol=1e-15 abstol=1e-20 gmin=1e-15\n"
        ".model m D(IS=4.352e-9 N=1.906 RS=0.6458)\nvs a 0 0\nd1 a 0 m\n.dc vs 0.02 0.8201 0.01\n.save i(vs)\n.end\n"
    )
    theirs = -run_ngspice(deck, 81).columns(["i(vs)"])[:, 0]
    voltage = torch.linspace(0.02, 0.82, 81, dtype=torch.float64)
    ours = load_card("nxp_1n4148").diode().current(voltage).numpy()
    assert theirs.max() / theirs.min() > 1e6
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)


def test_the_shipped_cards_follow_from_their_curves():
    for name, exponent in (("nxp_1n4148", 3.0), ("nxp_prll5819", 2.0)):
        card = load_card(name)
        table = read_table(calibration_folder() / card.source["data"], COLUMNS)
        fit = fit_diode(table, noise=Noise(1e-3, 1e-12), saturation_exponent=exponent)
        for key, estimate in fit.estimates.items():
            assert card.parameters[key].value == pytest.approx(estimate.value, rel=1e-6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "voltage [V],charge [A]\n1,2\n",
            r"must have the columns 'voltage \[V\]', 'current \[A\]', found no current in: ",
        ),
        ("voltage,current [A]\n1,2\n", r"column voltage must say its unit, as in 'voltage \[V\]', found none"),
        ("voltage [V],current [W]\n1,2\n", r"column current must be in A, with a prefix .*, found 'W'"),
        ("voltage [V],voltage [V],current [A]\n1,1,2\n", "a column may stand once, found 'voltage' twice"),
        ("voltage [V],current [A]\n0.1,1e-9\n0.2,nan\n", "line 3: current must be a finite number, found 'nan'"),
        ("voltage [V],current [A]\n0.1\n", "line 2: current must be a finite number, found 'nothing'"),
        ("voltage [V],current [A]\n", "must have rows below its header, found none"),
        ("", "must have a header such as 'voltage .V.', 'current .A.', found an empty file"),
        ("voltage [V],current [A]\n0.5,1e-3\n", "a diode needs at least 8 points, found 1; measure more"),
        (
            "voltage [V],current [A]\n" + "".join(f"{0.1 * k},{1 - 0.1 * k}\n" for k in range(9)),
            "the current of a diode must rise with the voltage, found mean currents .* check the polarity",
        ),
        (
            "voltage [V],current [A],temperature [K]\n" + "".join(f"{0.1 * k},{k},-3\n" for k in range(9)),
            "temperatures must be above 0 K, found -3 K",
        ),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path: Path, text: str, words: str):
    data = tmp_path / "bad.csv"
    data.write_text(text)
    with pytest.raises(DataError, match=words):
        fit_diode(read_table(data, COLUMNS))
    with pytest.raises(SystemExit, match=words):
        main(["calibrate", "diode", str(data), "-o", str(tmp_path / "card.toml")])
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


def test_units_carry_prefixes_and_celsius(tmp_path: Path):
    data = tmp_path / "units.csv"
    data.write_text("# a comment\ncurrent [uA], voltage [mV], temperature [°C], remark\n1,200,27,x\n")
    table = read_table(data, COLUMNS)
    assert (table["current"][0], table["voltage"][0]) == (pytest.approx(1e-6), pytest.approx(0.2))
    assert table["temperature"][0] == pytest.approx(300.15)


@pytest.mark.pictures
def test_the_card_and_its_picture_are_written_together(tmp_path: Path):
    fit = fit_diode(measured(0))
    write_card(fit, tmp_path / "My Diode.toml", Path("measured.csv"))
    card = load_card(tmp_path / "My Diode.toml")
    device = card.diode()
    assert card.name == "my_diode"
    assert isinstance(device, ShockleyDiode)
    assert device.saturation_current == fit.values["saturation_current"]
    assert (tmp_path / "My Diode.png").read_bytes() == fit_figure(fit, "my_diode")


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        ({"relative": -1.0}, "relative noise must be a number of at least 0, found -1"),
        ({"relative": 0.0, "floor": 0.0}, "relative noise and noise floor must not both be 0"),
    ],
)
def test_impossible_noise_is_refused(noise: dict[str, Any], words: str):
    with pytest.raises(DataError, match=words):
        Noise(**noise)
