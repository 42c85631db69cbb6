"""Measurements as instruments and spreadsheets write them: read, or refused by file and line."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from analog_ep.calibration.amplifier import COLUMNS as AMPLIFIER
from analog_ep.calibration.diode import COLUMNS, fit_diode
from analog_ep.calibration.memristor import COLUMNS as MEMRISTOR
from analog_ep.calibration.memristor import fit_memristor
from analog_ep.calibration.plausible import require_no_plateau
from analog_ep.calibration.pulses import COLUMNS as PULSES
from analog_ep.calibration.pulses import fit_pulses
from analog_ep.cards.measured_steps import measured_steps
from analog_ep.cli import main
from analog_ep.errors import AnalogEPError, DataError
from analog_ep.measurements import Table, read_table

VOLTAGE = np.array([0.1, 0.2, 0.3])
CURRENT = np.array([1e-6, 2.5e-5, -1e-3])
PLAIN = "voltage [V],current [A]\n0.1,1e-6\n0.2,2.5e-5\n0.3,-1e-3\n"


def read(tmp_path: Path, content: str | bytes, columns=COLUMNS) -> Table:
    path = tmp_path / "data.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, columns)


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le"),
        PLAIN.encode("utf-16-be"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace("\n", ",,\n"),
        PLAIN.replace(",", ", "),
        PLAIN.replace("-1e-3", "\N{MINUS SIGN}1e-3"),
        PLAIN + "\n  \n,\n",
        "sep=;\nVoltage [V];Current [A]\n0,1;1e-6\n0,2;2,5E-5\n0,3;-1e-3\n",
        "voltage [mV]\tcurrent [µA]\n100\t1\n200\t25\n300\t-1000\n".encode("cp1252"),
        "voltage (mV),current (uA)\n100,1\n200,25\n300,-1000\n",
        "U / V,voltage / mV,current/mA\n0,100,0.001\n0,200,0.025\n0,300,-1\n",
        "Keithley 2636B\nNPLC,1\nTime: 12:03, 3 rows\n\n" + PLAIN,
        "voltage [V],current [A]\n0.1,1e-6\nvoltage [V],current [A]\n0.2,2.5e-5\n0.3,-1e-3\n",
        'voltage [V],remark,current [A]\n0.1,"a, b",1e-6\n0.2,,2.5e-5\n0.3,x,-1e-3\n',
    ],
)
def test_what_instruments_and_spreadsheets_write_is_read(tmp_path: Path, content: str | bytes):
    table = read(tmp_path, content)
    np.testing.assert_allclose(table["voltage"], VOLTAGE, rtol=1e-12)
    np.testing.assert_allclose(table["current"], CURRENT, rtol=1e-12)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (PLAIN + "0.4,9.9E+37\n", r"line 5: current must be measured, found 9.9E\+37, by which an instrument says"),
        (PLAIN + "9.91E+37,1\n", r"line 5: voltage must be measured, found 9.91E\+37"),
        (PLAIN + "0.4,-1e38\n", "line 5: current must be measured, found -1e38"),
        (PLAIN.replace("[A]", "[nA]") + "0.4,3.4e38\n", "line 5: current must be measured, found 3.4e38"),
        (PLAIN + "0.4,inf\n", "line 5: current must be a finite number, found 'inf'"),
        (PLAIN + "0.4,-Infinity\n", "line 5: current must be a finite number"),
        (PLAIN + "0.4,OVLD\n", "line 5: current must be a finite number, found 'OVLD'"),
        (PLAIN + "0.4,1_000\n", "line 5: current must be a finite number, found '1_000'"),
        (PLAIN + f"0.4,{'9' * 200000}\n", "line 5: current must be a finite number, found '9{40}…'"),
        (PLAIN + f'0.4,"{"9" * 200000}"\n', "line 5: must be cells of a CSV, found: field larger than field limit"),
        (PLAIN + '0.4,"1\n2"\n', "line 5: must be cells of a CSV, found: unexpected end of data"),
        (
            PLAIN + "0,4,1,5\n",
            "line 5: a row must have the header's 2 cells, found 4; numbers with decimal commas need",
        ),
        (
            "voltage [V]\tcurrent [A]\n0.1\t1,000\n",
            "line 2: numbers must have one decimal mark, found ',' here and '.' in line 2",
        ),
        ("voltage [V],current [A]\n,\n", "must have rows below its header, found none"),
        ("voltage [V],current [A/m]\n1,1\n", "the column current must be in A, .* found 'A/m'"),
        (f"voltage{' ' * 200000}x,current [A]\n1,1\n", "must have the columns .* found no voltage in: "),
        (f"{'x' * 200000}\n", "must have the columns .* found no voltage and no current in: x{200}…"),
        (b"\xff\xfe\x00\xd8", "must be CSV in text, found other bytes"),
        (b"\x00" * 20, "must have the columns"),
    ],
)
def test_lines_at_fault_are_named(tmp_path: Path, content: str | bytes, words: str):
    with pytest.raises(DataError, match=f"data.csv.*{words}"):
        read(tmp_path, content)


def test_a_pipe_is_no_table(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe must be a readable CSV file, found: no regular file"):
        read_table(tmp_path / "pipe", COLUMNS)


CELLS = st.sampled_from(
    ["", "0", "1e-9", "-1", "nan", "inf", "9.9E+37", "1e400", "9" * 300, '"', '"a\nb"', "é", "\x00", "1,5", "1;5", "\t",
     "x" * 200, "voltage [V]", "current [mA]", "[", "]", "#", "sep=;", "\ufeff", "\u2028", "0x10", "1_0", "+"]
)  # fmt: skip


@given(
    st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=12),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]),
    st.booleans(),
)
@settings(
    max_examples=300, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
def test_any_table_is_read_or_refused_in_one_line(tmp_path: Path, rows, delimiter, end, coding, sound):
    head = [["voltage [V]", "current [A]"], *([["0.1", "1e-9"]] if sound else [])]
    content = end.join(delimiter.join(row) for row in [*head, *rows]).encode(coding)
    try:
        table = read(tmp_path, content)
    except AnalogEPError:
        return
    assert len(table) > 0
    assert all(np.isfinite(table[name]).all() for name in ("voltage", "current"))
    with np.errstate(all="ignore"):
        try:
            fit_diode(table)
        except AnalogEPError:
            return


def diode_rows(voltage: np.ndarray) -> np.ndarray:
    return 4e-9 * np.expm1(voltage / 0.049)


def test_currents_without_their_sign_are_refused():
    voltage = np.linspace(-1, 0.9, 96)
    current = np.abs(diode_rows(voltage))
    table = Table("abs.csv", {"voltage": voltage, "current": current}, np.arange(2, 98))
    with pytest.raises(
        DataError, match=r"abs.csv, line 2: the current must have the sign of the voltage, .* in 48 of 48"
    ):
        fit_diode(table)
    # Noise about 0 has either sign.
    noise = 1e-8 * np.random.default_rng(0).standard_normal(96)
    fit_diode(Table("noisy.csv", {"voltage": voltage, "current": diode_rows(voltage) + noise}))


def test_the_compliance_of_an_instrument_is_named():
    voltage = np.linspace(0.1, 0.9, 81)
    current = np.minimum(diode_rows(voltage), 1e-3)
    table = Table("held.csv", {"voltage": voltage, "current": current}, np.arange(2, 83))
    with pytest.raises(
        DataError, match=r"held.csv, line 53: the current must follow the voltage, found it at 0.001 A ov"
    ):
        fit_diode(table)


def test_a_memristors_trace_without_signs_or_clipped_is_refused():
    time = np.linspace(0, 1, 200)
    voltage = 1.2 * np.sin(2 * np.pi * time)
    current = voltage / np.where(time < 0.4, 1e5, 5e3)
    columns = {"time": time, "voltage": voltage, "current": current}
    with pytest.raises(
        DataError, match=r"row 1.*: the current must have the sign of the voltage, .* of negative voltage"
    ):
        fit_memristor(Table("abs.csv", {**columns, "current": np.abs(current)}))
    with pytest.raises(DataError, match=r"found it at 0.0001 A over \d+ rows from .* compliance of an instrument"):
        fit_memristor(Table("held.csv", {**columns, "current": current.clip(-1e-4, 1e-4)}))
    # Limited at one polarity, behind noise, and beside larger currents of the other.
    random = np.random.default_rng(0)
    for noise in (0.0, 0.003, 0.01, 0.02):
        limited = np.where(time < 0.5, voltage / 2e3, current).clip(-1, 1e-4)
        held = limited * (1 + noise * random.standard_normal(len(time)))
        with pytest.raises(DataError, match=r"found it at (9\.\d+e-05|0\.00010?\d?) A over \d+ rows .* compliance"):
            fit_memristor(Table("held.csv", {**columns, "current": held}))
    assert {column.name for column in MEMRISTOR} >= columns.keys()


@pytest.mark.parametrize("noise", [0.0, 0.003, 0.01, 0.03])
def test_a_current_with_a_broad_maximum_is_no_compliance(noise: float):
    # A device that switches off under a sine, whose current turns round while the voltage goes on.
    time = np.linspace(0, 1, 200)
    voltage = np.sin(2 * np.pi * time)
    current = voltage * np.exp(-3 * np.cumsum(np.abs(voltage)) / len(time)) * 1e-3
    for seed in range(20):
        noisy = current * (1 + noise * np.random.default_rng(seed).standard_normal(200))
        require_no_plateau(Table("turns.csv", {"voltage": voltage, "current": noisy}))


def trains(with_start: bool) -> str:
    noise = np.random.default_rng(1)
    rows = ["pulse,conductance [uS]"]
    for train in range(2):
        g = 1.0
        if with_start or train == 0:
            rows.append(f"0,{g}")
        for pulse in [1] * 100 + [-1] * 100 if train else [1] * 100:
            bound = 100.0 if pulse > 0 else 1.0
            g += 0.02 * (bound - g) * (1 + 0.1 * noise.standard_normal())
            rows.append(f"{pulse},{g:.6f}")
    return "\n".join(rows) + "\n"


def test_a_train_that_begins_unsaid_is_named(tmp_path: Path):
    fit = fit_pulses(read(tmp_path, trains(True), PULSES), model="SoftBounds")
    assert fit.values["conductance_max"] == pytest.approx(1e-4, rel=0.02)
    table = read(tmp_path, trains(False), PULSES)
    words = (
        r"data.csv, line 103: a pulse must not take the conductance far against its sign, .* by a pulse of \+1, and 1 s"
    )
    with pytest.raises(DataError, match=words):
        fit_pulses(table)
    with pytest.raises(DataError, match=words):
        measured_steps(tmp_path / "data.csv")


def test_an_unusable_fit_writes_no_card_but_by_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    x = np.linspace(-1, 1, 200)
    rows = "".join(f"{v},{4 * v + 2 * v**3}\n" for v in x)
    (tmp_path / "bent.csv").write_text(f"input [V],output [V]\n{rows}")
    command = ["calibrate", "amplifier", str(tmp_path / "bent.csv"), "-o", str(tmp_path / "card.toml")]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 3
    words = capsys.readouterr()
    assert "is NOT adequate" in words.out
    assert "no card was written: the model is not adequate; --force writes it all the same" in words.err
    assert [path.name for path in tmp_path.iterdir()] == ["bent.csv"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--force"])
    assert ended.value.code == 0
    assert (tmp_path / "card.toml").exists()
    assert {column.name for column in AMPLIFIER} >= {"input", "output"}


@pytest.mark.parametrize(
    "content",
    [
        "V (V),I (A)\n0.1,1e-6\n0.2,2.5e-5\n0.3,-1e-3\n",
        "Voltage/V;Current/mA\n0,1;1e-3\n0,2;2,5e-2\n0,3;-1\n",
        "Index,Voltage-1 (V),Current-1 (A)\n1,0.1,1e-6\n2,0.2,2.5e-5\n3,0.3,-1e-3\n",
        "V1,Time,I1\nV,s,mA\n0.1,0,1e-3\n0.2,1,2.5e-2\n0.3,2,-1\n",
        '"V, V","I, uA"\n0.1,1\n0.2,25\n0.3,-1000\n',
        "V_mV,I_uA\n100,1\n200,25\n300,-1000\n",
        "V_mV   I_uA\n100   1\n200  25\n300 -1000\n",
        "Bias mV\tDrain Current (uA)\n100\t1\n200\t25\n300\t-1000\n",
        "CH1 Voltage [V],Ch1_Current [A],limit current [A] max\n0.1,1e-6,1\n0.2,2.5e-5,1\n0.3,-1e-3,1\n",
        "voltage [V],current [A],Drain Current (A)\n0.1,1e-6,1\n0.2,2.5e-5,1\n0.3,-1e-3,1\n",
    ],
)
def test_columns_are_known_by_the_words_of_instruments(tmp_path: Path, content: str):
    table = read(tmp_path, content)
    np.testing.assert_allclose(table["voltage"], VOLTAGE, rtol=1e-12)
    np.testing.assert_allclose(table["current"], CURRENT, rtol=1e-12)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "V1 (V),V2 (V),I (A)\n1,2,3\n",
            r"must be the voltage, found 2 that may be: 'V1 \(V\)', 'V2 \(V\)'",
        ),
        ("Voltage,Current\n1,2\n", "the column voltage must say its unit"),
        ("Item,Smu1.V[1][1],Smu1.I[1][1],\n1,2,3,\n", "the column voltage must say its unit"),
        ("Vds (V),I (A)\n1,2\n", "found no voltage in: Vds"),
        ("V (A),I (A)\n1,2\n", "the column voltage must be in V"),
    ],
)
def test_columns_that_may_be_others_are_not_guessed(tmp_path: Path, content: str, words: str):
    with pytest.raises(DataError, match=words):
        read(tmp_path, content)


def test_a_header_can_be_given(tmp_path: Path):
    (tmp_path / "raw.txt").write_text("Keithley 2400\nrun 7, 3 points\n0.1,17,1\n0.2,17,25\n0.3,17,-1000\n")
    table = read_table(tmp_path / "raw.txt", COLUMNS, "voltage [V],,current [uA]")
    np.testing.assert_allclose(table["current"], CURRENT, rtol=1e-12)
    assert table.lines is not None
    assert table.lines.tolist() == [3, 4, 5]
    with pytest.raises(DataError, match="must have rows with numbers in cells 1, 4, as the columns given say"):
        read_table(tmp_path / "raw.txt", COLUMNS, "voltage [V],,,current [uA]")
    (tmp_path / "raw.txt").write_text("0.1,17,1\n0.2,17,overflow\n")
    with pytest.raises(DataError, match="line 2: current must be a finite number, found 'overflow'"):
        read_table(tmp_path / "raw.txt", COLUMNS, "voltage [V],,current [uA]")


def test_a_workbook_is_read_like_its_csv(tmp_path: Path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["Keithley 2450"], [], ["Voltage (V)", "Current (mA)"], [0.1, 1e-3], [0.2, 2.5e-2], [0.3, -1.0]):
        book.active.append(row)
    book.save(tmp_path / "iv.xlsx")
    table = read_table(tmp_path / "iv.xlsx", COLUMNS)
    np.testing.assert_allclose(table["voltage"], VOLTAGE, rtol=1e-12)
    np.testing.assert_allclose(table["current"], CURRENT, rtol=1e-12)
    assert table.place(2).endswith("iv.xlsx, line 6")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no workbook", PLAIN.encode()])
def test_what_is_no_workbook_is_refused(tmp_path: Path, content: bytes):
    pytest.importorskip("openpyxl")
    (tmp_path / "iv.xlsx").write_bytes(content)
    with pytest.raises(DataError, match="must be a workbook such as Excel writes, found: "):
        read_table(tmp_path / "iv.xlsx", COLUMNS)
    (tmp_path / "iv.xls").write_bytes(content)
    with pytest.raises(DataError, match=r"must be CSV or a workbook .xlsx, found .xls"):
        read_table(tmp_path / "iv.xls", COLUMNS)


def test_a_workbook_that_is_a_bomb_is_refused(tmp_path: Path):
    pytest.importorskip("openpyxl")
    with zipfile.ZipFile(tmp_path / "iv.xlsx", "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/worksheets/sheet1.xml", b"\0" * (300 << 20))
    with pytest.raises(DataError, match="must hold at most 256 MiB, found 300 MiB"):
        read_table(tmp_path / "iv.xlsx", COLUMNS)
