"""What ngspice gets wrong without a word or with a mere warning: each is provoked here, and never believed."""

# Branches take scalars and lists where the fields, once set, are arrays.
# pyright: reportArgumentType=false

import ctypes.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from layered_networks import examples
from memristor_decks import MEMRISTOR_DECKS

from analog_ep.circuit import (
    Circuit,
    CircuitBuilder,
    Conductances,
    CurrentSources,
    Diodes,
    VoltageControlledVoltageSources,
    VoltageSources,
    check_circuit,
)
from analog_ep.circuit.names import validate_name
from analog_ep.devices import PiecewiseLinearDiode
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.errors import (
    CircuitError,
    ConvergenceError,
    NgspiceResultError,
    NodeNameError,
)
from analog_ep.netlist.netlist import NetlistWriter, number
from analog_ep.networks import ResistiveNetwork
from analog_ep.ngspice.process import find_ngspice, run_ngspice, run_plots
from analog_ep.ngspice.raw import read_raw
from analog_ep.stimulus import Nudge, SquaredError
from analog_ep.support.resources import netlists_folder

pytestmark = pytest.mark.ngspice

NO_INPUTS = torch.zeros(1, 0, dtype=torch.float64)
LOOP = "v_0 a 0 1\nv_1 a 0 2\nr_0 a 0 1"
"""Two sources that contradict each other: no analysis can succeed."""


def plain(deck: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The program as it is, with no care taken."""
    command = [str(find_ngspice()), "-n", "-b", *options]
    return subprocess.run(command, input=deck, text=True, capture_output=True, cwd=folder, timeout=60, check=False)


SHARED = """
import ctypes, sys
class Vector(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("kind", ctypes.c_int), ("flags", ctypes.c_short),
                ("real", ctypes.c_void_p), ("complex", ctypes.c_void_p), ("length", ctypes.c_int)]
library = ctypes.CDLL(sys.argv[1])
send = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p)(lambda *_: 0)
end = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_int, ctypes.c_bool, ctypes.c_bool, ctypes.c_int, ctypes.c_void_p)(lambda *_: 0)
library.ngSpice_Init(send, send, end, None, None, None, None)
cards = [line.encode() for line in sys.argv[2:]] + [None]
library.ngSpice_Circ((ctypes.c_char_p * len(cards))(*cards))
library.ngGet_Vec_Info.restype = ctypes.POINTER(Vector)
status = library.ngSpice_Command(b"op")
vector = library.ngGet_Vec_Info(b"a")
print(status, vector[0].length if vector else 0)
"""


def test_the_shared_library_reports_success_of_a_failed_analysis():
    library = ctypes.util.find_library("ngspice")
    if library is None:
        pytest.skip("the ngspice shared library is not installed")
    cards = ["* t", *LOOP.splitlines(), ".end"]
    command = [sys.executable, "-c", SHARED, library, *cards]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    # Only that its vectors are empty tells; the toolkit's results come from the program alone.
    assert done.stdout.split()[-2:] == ["0", "0"]
    with pytest.raises(NgspiceResultError, match="singular matrix"):
        run_ngspice(f"* t\n{LOOP}\n.op\n.end\n", 1)


def test_a_control_section_turns_the_exit_status_around(tmp_path):
    failed = plain(f"* t\n{LOOP}\n.control\nop\nquit 0\n.endc\n.end\n", tmp_path)
    sound = plain("* t\nv_0 a 0 1\nr_0 a 0 1\n.control\nop\nprint v(a)\n.endc\n.end\n", tmp_path)
    assert (failed.returncode, sound.returncode) == (0, 1)
    with pytest.raises(CircuitError, match=r"a deck may hold elements and the cards .* found '\.control'"):
        run_ngspice(f"* t\n{LOOP}\n.control\nop\nquit 0\n.endc\n.op\n.end\n", 1)


def test_a_sweep_that_fails_midway_leaves_data_behind_a_header_without_points(tmp_path):
    jump = "v_0 a 0 1\nr_0 a b 1\nb_0 b 0 i=v(idx)>1.5 ? (v(b)>0.5 ? 10 : -10) : 0"
    plain(f"* t\n{jump}\nvidx idx 0 0\n.dc vidx 0 2 1\n.end\n", tmp_path, "-r", "out.raw")
    content = (tmp_path / "out.raw").read_bytes()
    assert b"No. Points: 0" in content
    assert content.partition(b"Binary:\n")[2]
    with pytest.raises(NgspiceResultError, match=r"must hold 0 bytes .* the analysis did not reach its end"):
        read_raw(tmp_path / "out.raw", 3)


def floating(with_source: bool = False) -> CircuitBuilder:
    builder = CircuitBuilder("t")
    x, a, b = builder.add_nodes(["x", "a", "b"]).tolist()
    builder.add(VoltageSources("x", x, 0, 1.0))
    builder.add(Conductances("r", [x, a], [0, b], 1e-3))
    if with_source:
        builder.add(CurrentSources("i", 0, a, 1e-3))
    return builder


def test_a_floating_node_and_a_current_into_one(tmp_path):
    deck = "* t\nv_0 x 0 1\nr_0 x 0 1e3\nr_1 a b 1e3\n{}\n.op\n.end\n"
    assert plain(deck.format("i_0 0 a 1e-3"), tmp_path).returncode == 0
    with pytest.raises(CircuitError, match="found 2 without, such as a, b"):
        check_circuit(floating().build())
    with pytest.raises(CircuitError, match="must drive a node with a resistive path to ground, found an open node 'a'"):
        check_circuit(floating(True).build())
    for card in ("i_0 0 a 1e-3", "* nothing"):
        with pytest.raises(NgspiceResultError, match="singular matrix"):
            run_ngspice(deck.format(card), 1)


def amplified(gain: float):
    """A node that an amplifier pulls after itself: the loop gain is `gain` / 2."""
    builder = CircuitBuilder("loop")
    v, x, y = builder.add_nodes(["v", "x", "y"]).tolist()
    builder.add(VoltageSources("v", v, 0, 1.0))
    builder.add(Conductances("r", [v, y], [x, x], 1e-3))
    builder.add(VoltageControlledVoltageSources("e", y, 0, x, 0, gain))
    return builder.build()


def test_a_loop_gain_of_one_or_more():
    assert solve(amplified(1.5), NO_INPUTS, solver=Ngspice()).voltages[0, 2] == pytest.approx(2.0)
    state = solve(amplified(3.0), NO_INPUTS, solver=Ngspice(), throw=False)
    assert state.voltages[0, 2] == pytest.approx(-1.0)
    assert not state.converged.any()
    assert "is unstable (sample 0 first), which ngspice does not say; look for a loop gain above 1" in state.message
    with pytest.raises(ConvergenceError, match="unstable"):
        solve(amplified(3.0), NO_INPUTS, solver=Ngspice())
    with pytest.raises(ConvergenceError, match="singular matrix: check node x"):
        solve(amplified(2.0), NO_INPUTS, solver=Ngspice())


def test_a_negative_nudge_beyond_its_bound():
    network = ResistiveNetwork([2, 1], diode=None, dtype=torch.float64, seed=1)
    circuit, target = network.circuit(), torch.zeros(1, 1, dtype=torch.float64)
    inputs = torch.ones(1, 2, dtype=torch.float64)
    (stage,) = circuit.of_kind(Conductances)
    ends = [stage.siemens[stage.negative == node].sum() for node in circuit.layers["o"]]
    # A conductance −b between v₊ and v₋ takes the two in series to zero.
    critical = 1 / (1 / ends[0] + 1 / ends[1])
    for share, stable in ((0.9, True), (1.1, False)):
        nudge = Nudge(-share * critical, target, SquaredError(), "elastic")
        state = solve(circuit, inputs, nudge, solver=Ngspice(), throw=False)
        assert bool(state.converged.all()) is stable
        assert ("unstable" in state.message) is not stable


def test_a_resistor_of_no_ohms_or_no_value():
    deck = "* t\ni_0 0 a 1.0\nr_0 a 0{}\n.op\n.end\n"
    # ngspice takes 1 mΩ for both, and says so of the second alone: no card may carry 0 Ω.
    assert run_ngspice(deck.format(" 0"), 1).columns(["v(a)"])[0, 0] == pytest.approx(1e-3)
    with pytest.raises(NgspiceResultError, match="resistance to low"):
        run_ngspice(deck.format(""), 1)
    infinite = Circuit("t", ("0", "a"), (Conductances("r", 1, 0, np.inf),))
    with pytest.raises(CircuitError, match="r: siemens must be finite, found inf"):
        check_circuit(infinite)
    with pytest.raises(CircuitError, match="r: a resistor cannot stand for 0 S or infinite conductance"):
        list(NetlistWriter(infinite).element_cards())


def test_suffixes_are_not_what_they_seem():
    raw = run_ngspice("* t\nv_0 a 0 1M\nv_1 b 0 1F\nv_2 c 0 1A\nr_0 a 0 1\nr_1 b 0 1\nr_2 c 0 1\n.op\n.end\n", 1)
    assert raw.columns(["v(a)", "v(b)", "v(c)"])[0].tolist() == [1e-3, 1e-15, 1.0]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
@examples(20)
def test_a_written_number_is_read_as_that_number(values):
    values = [value for value in values if value == 0 or 1e-290 < abs(value) < 1e290]
    cards = "\n".join(f"v_{i} n{i} 0 {number(value)}\nr_{i} n{i} 0 1.0" for i, value in enumerate(values))
    if values:
        read = run_ngspice(f"* t\n{cards}\n.op\n.end\n", 1).columns([f"v(n{i})" for i in range(len(values))])[0]
        np.testing.assert_allclose(read, values, rtol=4e-15, atol=1e-300)


WORDS = (
    "a e i v x c pi ln exp log abs sqrt sin max min if u uramp kelvin echarge boltz planck yes no true false in out dc "
    "tran noise op sens null not and or mod eq ne lt gt le ge par params default inf nan index m temp tnom freq omega "
    "w set let print save plot vdd vss ground root node branch n1 r1 d1 end ends option options title include model "
    "gm vt rs is bf level area off ic uic width wave pwl pulse ramp vbe"
)


def test_words_of_ngspice_are_nodes_like_any_other():
    builder = CircuitBuilder("t")
    names = [name for name in WORDS.split() if _is_allowed(name)]
    assert len(names) > 70
    nodes = builder.add_nodes(names)
    # Sources and expressions refer to the nodes by name.
    builder.add(VoltageSources("v", nodes[::2], 0, 1.0 + np.arange(len(nodes[::2]))))
    pairs = len(nodes) // 2
    builder.add(Conductances("r", nodes[: 2 * pairs : 2], nodes[1 : 2 * pairs : 2], 1e-3))
    builder.add(Diodes("d", nodes[1 : 2 * pairs : 2], 0, PiecewiseLinearDiode((0.0,), (1e-3,))))
    found = solve(builder.build(), NO_INPUTS, solver=Ngspice()).voltages[0].numpy()
    np.testing.assert_allclose(found[nodes[1 : 2 * pairs : 2]], 0.5 * (1.0 + np.arange(pairs)), rtol=1e-9)


def _is_allowed(name: str) -> bool:
    try:
        return validate_name(name) == name
    except NodeNameError:
        return False


def test_names_that_differ_in_case_alone_are_one_node(tmp_path):
    done = plain("* t\nv_0 a 0 1\nr_0 a B 1\nr_1 b 0 1\n.op\n.print op v(b)\n.end\n", tmp_path)
    assert "5.000000e-01" in done.stdout
    with pytest.raises(NodeNameError, match="found 'B'"):
        CircuitBuilder("t").add_nodes(["b", "B"])


def test_an_undefined_parameter_ends_the_program_alone():
    with pytest.raises(NgspiceResultError, match=r"must end with status 0, found 1: .*Undefined parameter \[nothing\]"):
        run_ngspice("* t\nv_0 a 0 {nothing}\nr_0 a 0 1\n.op\n.end\n", 1)


MEMRISTORS = (netlists_folder() / "memristors.lib").read_text(encoding="ascii")


def test_an_operating_point_reads_a_memristor_as_if_its_state_were_zero():
    # The library's comments have semicolons, which a deck for `run_ngspice` must not.
    library = "\n".join(line for line in MEMRISTORS.splitlines() if not line.startswith("*"))
    deck = f"* t\n{library}\nv_0 a 0 1.0\nx_0 a 0 state memristor_joglekar x0=0.9\n"
    resistance = -1 / run_ngspice(f"{deck}.op\n.end\n", 1).columns(["i(v_0)"])[0, 0]
    assert resistance == pytest.approx(16e3, rel=1e-3)
    (held,) = run_plots(f"{deck}.tran 1e-9 1e-8 uic\n.end\n")
    assert -1 / held.columns(["i(v_0)"])[-1, 0] == pytest.approx(0.9 * 100 + 0.1 * 16e3, rel=1e-3)


def test_a_transient_without_uic_ignores_initial_values():
    deck = "* t\nr_0 a 0 1e3\nc_0 a 0 1e-9 ic=1.0\n.tran 1e-9 1e-8{}\n.end\n"
    ignored, used = (run_plots(deck.format(word))[0].columns(["v(a)"])[-1, 0] for word in ("", " uic"))
    assert (ignored, used) == (pytest.approx(0.0, abs=1e-12), pytest.approx(np.exp(-0.01), rel=1e-3))
    for path in MEMRISTOR_DECKS:
        transients = [line for line in path.read_text(encoding="ascii").splitlines() if line.startswith(".tran")]
        assert transients, path.name
        assert all(line.endswith(" uic") for line in transients), path.name


def test_sensitivities_are_not_asked_for():
    with pytest.raises(CircuitError, match=r"found '\.sens v\(a\)'"):
        run_plots("* t\nv_0 a 0 1.0\nr_0 a 0 1e3\n.sens v(a)\n.end\n")
