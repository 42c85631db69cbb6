"""A thousand hostile names, values and netlists, and more: no command runs, nothing is left, no number misleads."""

# Branches take scalars and lists where the fields, once set, are arrays.
# pyright: reportArgumentType=false

import contextlib
import math
import os
import re
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from analog_ep.circuit import Amplifiers, Circuit, CircuitBuilder, Conductances, VoltageSources
from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.errors import AnalogEPError, NgspiceError, NodeNameError
from analog_ep.netlist.netlist import NetlistWriter
from analog_ep.ngspice.process import run_ngspice

pytestmark = pytest.mark.ngspice

SAFE = re.compile(r"[a-z][a-z0-9_]*")


def examples(count: int) -> settings:
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much, HealthCheck.too_slow]
    phases = [Phase.explicit, Phase.generate]
    return settings(
        max_examples=count, deadline=None, derandomize=True, phases=phases, database=None, suppress_health_check=checks
    )


@pytest.fixture
def clean(tmp_path, monkeypatch):
    """Working directory, home and folder for temporary files: all empty at the end, and no process begun since left."""
    folders = [tmp_path / name for name in ("work", "home", "scratch")]
    for folder in folders:
        folder.mkdir()
    monkeypatch.chdir(folders[0])
    monkeypatch.setenv("HOME", str(folders[1]))
    monkeypatch.setattr(tempfile, "tempdir", str(folders[2]))
    # Pools that other tests worked with wait a while for further work.
    before = children()
    yield folders[0]
    assert [path for folder in folders for path in folder.iterdir()] == []
    assert children() - before == set()
    assert processes_in(tmp_path) == {os.getpid()}


def children() -> set[str]:
    """Numbers of the processes that this one began."""
    return {word for path in Path("/proc/self/task").glob("*/children") for word in path.read_text().split()}


def processes_in(folder: Path) -> set[int]:
    """Processes that work in a folder or below, those that have left their parents and their group included."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if os.readlink(link).startswith(str(folder)):
                found.add(int(link.parent.name))
    return found


COMMANDS = [
    "a\n.control\nshell touch owned\n.endc", "`touch owned`", "a; touch owned", "$(touch owned)", "a\r\n.control",
    "all", "gnd", "0", "temper", "v(a)", "a b", "ä", "", "A", "a\x00b", "1a", "a" + "é", "a\u2028b", "idx", "_a",
]  # fmt: skip
HOSTILE_NAMES = st.sampled_from(COMMANDS) | st.text(max_size=8) | st.from_regex(r"[a-zA-Z0-9_.;$`'\"{}()=,-]{1,6}\n?")


@given(name=HOSTILE_NAMES, where=st.sampled_from(["node", "label", "title", "circuit"]))
@examples(400)
def test_names(clean, name, where):
    try:
        builder = CircuitBuilder(name if where == "title" else "t")
        x, a = builder.add_nodes(["x", name if where == "node" else "a"]).tolist()
        builder.add(VoltageSources(name if where == "label" else "s", x, 0, 1.0))
        builder.add(Conductances("r", [x, a], [a, 0], 1e-3))
        circuit = builder.build()
        if where == "circuit":
            circuit = Circuit(name, ("0", "x", name), circuit.groups)
        writer = NetlistWriter(circuit)
        text = "\n".join([writer.title_card(), *writer.element_cards()])
    except NodeNameError:
        return
    assert where == "title" or SAFE.fullmatch(name), name
    assert len(text.splitlines()) == 4
    assert text.isascii()


NUMBERS = st.sampled_from(
    [math.nan, math.inf, -math.inf, 0.0, -0.0, -1e-3, 5e-324, 1e-300, 1e300, 1.8e308, 1e-3, 1e15, 1e-15]
) | st.floats(allow_nan=True, allow_infinity=True)


def exposed(siemens: float, volts: float, gain: float, saturation: float) -> Circuit:
    builder = CircuitBuilder("t")
    x, a, out, b = builder.add_nodes(["x", "a", "out", "b"]).tolist()
    builder.add(VoltageSources("x", x, 0, volts))
    builder.add(Conductances("r", [x, a, out, b], [a, 0, b, 0], [siemens, 1e-5, 1e-4, 1e-4]))
    builder.add_diodes("d", a, 0, ShockleyDiode(saturation))
    builder.add(Amplifiers("amp", a, out, gain, 0.1))
    return builder.build()


@given(values=st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), hostile=st.integers(0, 3), one=st.booleans())
@example(values=(0.0, 0.0, 2.3e-311, 0.0), hostile=2, one=True)  # k/a overflows
@examples(250)
def test_values(clean, values, hostile, one):
    usual = [1e-4, 1.0, 2.0, 1e-12]
    chosen = [v if not one or i == hostile else usual[i] for i, v in enumerate(values)]
    try:
        circuit = exposed(*chosen)
        found = solve(circuit, torch.zeros(1, 0, dtype=torch.float64), solver=Ngspice(timeout=10), throw=False)
    except AnalogEPError:
        return
    if not bool(found.converged.all()):
        return
    with np.errstate(all="ignore"):
        expected = solve(circuit, torch.zeros(1, 0, dtype=torch.float64), solver=Newton(), throw=False)
    if bool(expected.converged.all()):
        scale = float(expected.voltages.abs().max())
        torch.testing.assert_close(found.voltages, expected.voltages, rtol=0, atol=1e-5 * max(scale, 1e-6))


HOSTILE_CARDS = [
    ".control\nshell touch owned\nquit 0\n.endc", "*#shell touch owned", "*# source evil", "`touch owned`", ".lib evil",
    ".include /etc/passwd", ".inc /etc/passwd", ".exec touch owned", ".csparam a=1", "r_9 a 0 1 ; touch owned",
    "shell touch owned", "a1 [a] b filesrc\n.model filesrc filesource(file=\"/etc/passwd\")", "+", "\x00", "é",
    ".if (1)", " .control", "\t.CONTROL\nshell touch owned", ".CoNtRoL", "\r.control", "set ngbehavior=ps",
    "write owned",
    ".dc nosuch 0 2 1", ".dc vidx 0 2 0", "r_9", "r_9 a", "r_9 a 0", "r_9 a 0 nosuch", "d_9 a 0 nosuch", ".global",
    "b_9 a 0 i=foo(", "b_9 a 0 i=1/", "b_9 a 0 v=v(", "e_9 a 0 b", "f_9 a 0 vnone 1", "h_9 a 0 vnone 1", "x_9 a nosuch",
    "v_9 a 0 1e400", "v_9 b 0 5\nv_8 b 0 6", "i_9 0 open 1\nc_9 open 0 1", ".model m nosuch", "q_9 a b 0", "y_9 a 0 1",
    ".alter", ".tran", ".ac", ".noise", ".print dc v(a) > owned", ".plot", ".meas", ".end\n.control\nshell touch owned",
]  # fmt: skip


@given(cards=st.lists(st.sampled_from(HOSTILE_CARDS), min_size=1, max_size=3), noise=st.text(max_size=4))
@examples(250)
def test_netlists(clean, cards, noise):
    body = "\n".join(cards)
    deck = (
        f"* t\nvidx idx 0 0.0\nv_0 a 0 1.0\nr_0 a b 1e3\nr_1 b 0 1e3\n{body}\n.dc vidx 0 2 1\n.save v(b)\n.end\n{noise}"
    )
    try:
        raw = run_ngspice(deck, 3, timeout=0.5)
    except (AnalogEPError, NgspiceError):
        return
    # A continuation of nothing is harmless; whatever else got through must leave the divider as it was.
    np.testing.assert_allclose(raw.columns(["v(b)"]), 0.5, rtol=1e-6)
    assert "owned" not in body


FRAGMENTS = (
    "\n.control\nshell touch owned; sleep 60 &\n.endc\n", "`touch owned`", "; shell touch owned", "$(touch owned)",
    "{owned}", "{", "}", "'", '"', "(", ")", "\n+ ", "\n", "\r", "\x00", "\x1b[2J", " .end ", "\n.end\n", "\n* ",
    "\n*#shell touch owned\n", " > owned", "1e999", "nan", "-inf", "0x10", "1M", "%s%n", "../../owned", "v(", "=", ",",
    "a" * 5000, "9" * 400, "é",
)  # fmt: skip
SOUND = (
    "* t\nvidx idx 0 0.0\nv_0 a 0 1.0\nr_0 a b 1e3\nr_1 b 0 1e3\nd_0 b 0 m\n.model m D(IS=1e-14)\n"
    ".dc vidx 0 2 1\n.end\n"
)


@given(
    cuts=st.lists(st.tuples(st.integers(0, len(SOUND)), st.integers(0, 6), st.sampled_from(FRAGMENTS)), max_size=3),
    noise=st.text(max_size=3),
)
@examples(200)
def test_damaged_netlists(clean, cuts, noise):
    deck = SOUND
    for place, length, fragment in cuts:
        deck = deck[:place] + fragment + noise + deck[place + length :]
    begin = time.monotonic()
    try:
        raw = run_ngspice(deck, 3, timeout=2.0)
    except AnalogEPError:
        return
    finally:
        assert time.monotonic() - begin < 10
    # What got through is another circuit or the same one; of the same one the numbers must be right.
    assert np.isfinite(raw.values).all()
    if deck == SOUND:
        volts = raw.columns(["v(b)"])
        np.testing.assert_allclose((1 - 2 * volts) / 1e3, 1e-14 * np.expm1(volts / 0.02586492), atol=1e-8)
