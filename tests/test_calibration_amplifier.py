"""Amplifier fits against transfer curves with known gain, offset, rails and noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analog_ep.calibration import Table, fit_amplifier, read_table
from analog_ep.calibration.amplifier import COLUMNS
from analog_ep.cards import load_card
from analog_ep.cli import main
from analog_ep.errors import DataError

INPUT = np.linspace(-1, 1, 120)


def measured(seed: int, gain: float = 4.0, offset: float = 0.012, rail: float = np.inf) -> Table:
    output = np.clip(gain * (INPUT + offset), -rail, rail)
    return Table(
        "curve.csv", {"input": INPUT, "output": output + 0.01 * np.random.default_rng(seed).standard_normal(120)}
    )


def test_intervals_cover_the_truth():
    fits = [fit_amplifier(measured(seed)) for seed in range(40)]
    assert {fit.model for fit in fits} == {"linear"}
    for name, true in (("gain", 4.0), ("offset", 0.012)):
        inside = sum(abs(f.estimates[name].value - true) < f.estimates[name].uncertainty for f in fits)
        assert 20 <= inside <= 34, name  # 27 expected, a deviation of 2.9
    assert sum(fit.adequacy.adequate for fit in fits) >= 38
    assert "the rails, which the outputs do not reach" in fits[0].sentence()


def test_gain_and_offset_are_those_of_ordinary_least_squares():
    table = measured(0)
    slope, intercept = np.polyfit(INPUT, table["output"], 1)
    fit = fit_amplifier(table)
    assert fit.values["gain"] == pytest.approx(slope, rel=1e-8)
    assert fit.values["offset"] == pytest.approx(intercept / slope, rel=1e-6)


def test_rails_are_found_where_they_are_reached():
    fit = fit_amplifier(measured(1, rail=2.5))
    assert fit.model == "rails"
    assert fit.adequacy.adequate
    for name, true in (("gain", 4.0), ("offset", 0.012), ("low", -2.5), ("high", 2.5)):
        assert abs(fit.estimates[name].value - true) < 4 * fit.estimates[name].uncertainty, name


def test_a_bent_curve_is_called_inadequate():
    table = Table("bent.csv", {"input": INPUT, "output": 4 * np.tanh(INPUT) + measured(2, gain=0.0)["output"]})
    assert "NOT adequate" in fit_amplifier(table).sentence()


def test_an_inverting_amplifier_has_a_negative_gain():
    fit = fit_amplifier(measured(3, gain=-3.0))
    assert fit.values["gain"] == pytest.approx(-3.0, abs=0.02)


def test_the_command_writes_a_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = tmp_path / "curve.csv"
    rows = [f"{x},{y}" for x, y in zip(*measured(4).columns.values(), strict=True)]
    data.write_text("input [V],output [V]\n" + "\n".join(rows) + "\n")
    main_exits(["calibrate", "amplifier", str(data), "-o", str(tmp_path / "amp.toml")])
    assert "linear is adequate" in capsys.readouterr().out
    values = load_card(tmp_path / "amp.toml").values("amplifier")
    assert values["gain"] == pytest.approx(4.0, abs=0.02)
    assert (tmp_path / "amp.png").is_file()


def main_exits(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("input [V],output [V]\n" + "1,2\n" * 9, "the input of an amplifier must change, found 1 V throughout"),
        ("input [V],output [V]\n1,2\n", "an amplifier needs at least 8 points, found 1; measure more"),
        (
            "input [V],output [V]\n" + "".join(f"{k},{(k - 4) ** 2}\n" for k in range(9)),
            "the output must rise, or fall, with the input, found means of",
        ),
        ("input [V],output [A]\n1,2\n", "column output must be in V, .* found 'A'"),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path: Path, text: str, words: str):
    data = tmp_path / "bad.csv"
    data.write_text(text)
    with pytest.raises(DataError, match=words):
        fit_amplifier(read_table(data, COLUMNS))
    with pytest.raises(SystemExit, match=words):
        main(["calibrate", "amplifier", str(data), "-o", str(tmp_path / "card.toml")])
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]
