"""Pulse trains as they are written down: a row a pulse, or whole trains in columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analog_ep.cards.measured_steps import pulses_of
from analog_ep.cards.pulse_tables import read_pulses
from analog_ep.cli import main
from analog_ep.errors import DataError
from analog_ep.measurements import Table, rows
from analog_ep.measurements.content import read_limited

UP, DOWN = [1e-6, 2e-6, 3e-6], [3e-6, 1.5e-6]
PULSE, CONDUCTANCE = [0, 1, 1, 0, -1], [*UP, *DOWN]


def read(tmp_path: Path, content: str, **options) -> Table:
    (tmp_path / "train.csv").write_text(content)
    return read_pulses(tmp_path / "train.csv", **options)


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("pulse,conductance [uS]\n0,1\n1,2\n1,3\n0,3\n-1,1.5\n", {}),
        ("pulse,G (uS)\n0,1\n1,2\n1,3\n0,3\n-1,1.5\n", {}),
        (
            "pulse,resistance [Mohm]\n0,1\n1,0.5\n1,0.333333333333333\n0,0.333333333333333\n-1,0.666666666666667\n",
            {},
        ),
        ("up [uS],down [uS]\n1,3\n2,1.5\n3,\n", {}),
        ("Pulse number,Potentiation (uS),Depression (uS)\n1,1,3\n2,2,1.5\n3,3,\n", {}),
        ("LTP/nS;LTD/nS\n1000;3000\n2000;1500\n3000;\n", {}),
        ("LTP,LTD\n0,1\n0.5,0.25\n1,\n", {"window": (1e-6, 3e-6)}),
        ("LTP (a.u.),LTD (norm.)\n0,1\n0.5,0.25\n1,\n", {"window": (1e-6, 3e-6)}),
        ("0,1\n1,2\n1,3\n0,3\n-1,1.5\n", {"header": "pulse,conductance [uS]"}),
        ("0   1\n1   2\n1 3\n0 3\n-1 1.5\n", {"header": "pulse,conductance [uS]"}),
        (
            "Time[ns]_LTP\tG_LTP\tTime[ns]_LTD\tG_LTD\n0\t1\t0\t3\n9\t2\t9\t1.5\n18\t3\t\t\n",
            {"header": ",up [uS],,down [uS]"},
        ),
        ("Time[ns]_LTP\tG[uS]_LTP\tTime[ns]_LTD\tG[uS]_LTD\n0\t1\t0\t3\n9\t2\t9\t1.5\n18\t3\t\t\n", {}),
        ("\ufeff1;3\n2;1,5\n3;\n", {"header": "up [uS],down [uS]"}),
        ("rmp1,rmp2\n1,3\n2,1.5\n3,\n", {"header": "up [uS],down [uS]"}),
    ],
)
def test_trains_are_read_in_every_form(tmp_path: Path, content: str, options):
    table = read(tmp_path, content, **options)
    np.testing.assert_array_equal(table["pulse"], PULSE)
    np.testing.assert_allclose(table["conductance"], CONDUCTANCE, rtol=1e-12)
    before, after, up = pulses_of(table)
    np.testing.assert_allclose(before, [1e-6, 2e-6, 3e-6], rtol=1e-12)
    np.testing.assert_allclose(after, [2e-6, 3e-6, 1.5e-6], rtol=1e-12)
    assert up.tolist() == [True, True, False]


@pytest.mark.parametrize("head", ["pulse,conductance [uS]", "pulse,resistance [Mohm]", "up [uS],down [uS]"])
def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str):
    reads = []
    monkeypatch.setattr(rows, "read_limited", lambda path: reads.append(path) or read_limited(path))
    read(tmp_path, f"{head}\n0,1\n1,2\n")
    assert reads == [tmp_path / "train.csv"]


def test_cycles_may_stand_in_columns(tmp_path: Path):
    table = read(tmp_path, "up 1 [uS],down 1 [uS],up 2 [uS]\n1,2,1\n2,1,2\n")
    assert table["pulse"].tolist() == [0, 1, 0, -1, 0, 1]
    assert table.lines is not None
    assert table.lines.tolist() == [2, 3, 2, 3, 2, 3]


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("LTP,LTD\n0,1\n", {}, r"the column 'LTP' must say its unit, .* by --range G_MIN G_MAX"),
        (
            "LTP,LTD\n0,1\n0.5,1.5\n",
            {"window": (0.0, 1.0)},
            "line 3: a share of the window must lie in 0…1",
        ),
        ("LTP (A),LTD (A)\n0,1\n0.5,0.5\n", {"window": (0.0, 1.0)}, r"'LTP \(A\)' must be in S, .*found 'A'"),
        ("pulse,resistance [ohm]\n0,1\n1,-2\n", {}, "line 3: a resistance must be positive, found -2 ohm"),
        ("pulse,x\n0,1\n", {}, r"must have the columns 'pulse', 'conductance \[S\]', found no conductance"),
        ("up [uS]\n1\nOVLD\n", {}, "line 3: up .uS. must be a finite number, found 'OVLD'"),
        ("a,b\n", {"header": "up [S],down [S]"}, "must have rows with numbers in cells 1, 2, as the columns given say"),
        ("Time[ns]_LTP\tG_LTP\n0\t1\n", {}, "the column 'G_LTP' must say its unit"),
    ],
)
def test_what_is_no_train_is_named(tmp_path: Path, content: str, options, words: str):
    with pytest.raises(DataError, match=words):
        read(tmp_path, content, **options)


def test_what_was_understood_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture):
    random = np.random.default_rng(0)
    up = 1e-6 + 2e-6 * (1 - np.exp(-np.arange(60) / 20)) + random.normal(0, 5e-9, 60)
    down = up[-1] - 2e-6 * (1 - np.exp(-np.arange(60) / 20)) + random.normal(0, 5e-9, 60)
    rows = "".join(f"{i},{a * 1e6},{b * 1e6}\n" for i, (a, b) in enumerate(zip(up, down, strict=True)))
    (tmp_path / "train.csv").write_text(f"n,LTP (uS),LTD (uS)\n{rows}")
    with pytest.raises(SystemExit) as end:
        main(["calibrate", "pulses", str(tmp_path / "train.csv"), "-o", str(tmp_path / "card.toml"), "--force"])
    assert not end.value.code
    printed = capsys.readouterr().out
    assert "LTP (uS), LTD (uS)" in printed
    assert "120" in printed
    assert (tmp_path / "card.toml").exists()
