"""What elements of a user's own say of their netlist form reaches the dialects that have it, and ngspice agrees."""

import inspect
import math
import re

import numpy as np
import pytest
import torch
from gnucap import ATOL, gnucap_tables
from own_forms import Batteries, CardDiode, CardTransistors, LoadedCells, SinhDiode, TabledElements, TabledSources
from own_kinds import CubicDiode, SquareLawTransistors
from plain_ngspice import run_plain
from scipy.optimize import brentq

from analog_ep import Newton, Ngspice, PiecewiseLinearDiode, ResistiveNetwork, ShockleyDiode, SquaredError, solve
from analog_ep.circuit import (
    Branches,
    Circuit,
    CircuitBuilder,
    Conductances,
    Diodes,
    VoltageSources,
    circuit_energy,
)
from analog_ep.devices.forms import FormWriter, ModelInstance, NetlistForm, Table
from analog_ep.devices.statement import states
from analog_ep.errors import CircuitError, StimulusError
from analog_ep.netlist.deck import write_deck
from analog_ep.netlist.dialects import DIALECTS, analyses_of
from analog_ep.netlist.netlist import NetlistWriter
from analog_ep.netlist.nudge_cards import is_expressible
from analog_ep.stimulus import Nudge

FACTOR, THRESHOLD, LOAD, SUPPLY = [2e-4, 1e-4], 0.4, 1e-4, 1.0
GATES = torch.tensor([[0.0], [0.41], [0.5], [0.9], [1.4], [3.0]], dtype=torch.float64)


def loaded(*groups: Branches) -> Circuit:
    """Nodes supply, gate, drain and other; the supply loads drain and other."""
    builder = CircuitBuilder("loaded")
    supply, gate, drain, other = builder.add_nodes(["supply", "gate", "drain", "other"])
    builder.add(VoltageSources("vdd", supply, 0, SUPPLY))
    builder.add(VoltageSources("vin", gate, 0, 0.0, 0))
    builder.add(Conductances("load", supply, [drain, other], LOAD, "load", [0, 1]))
    for group in groups:
        builder.add(group)
    builder.set_outputs(np.array([drain, other]), np.zeros(2, int))
    return builder.build()


def amplifier(kind: type[SquareLawTransistors] = CardTransistors) -> Circuit:
    return loaded(kind("m", [3, 4], 0, 2, FACTOR, THRESHOLD))


def drain_voltage(gate: float, factor: float) -> float:
    """Root of the load line against the textbook's two regions."""

    def imbalance(v: float) -> float:
        over = max(gate - THRESHOLD, 0.0)
        current = factor / 2 * over**2 if v >= over else factor * (over - v / 2) * v
        return current - LOAD * (SUPPLY - v)

    return float(brentq(imbalance, 0.0, SUPPLY, xtol=1e-15))  # pyright: ignore[reportArgumentType]


@pytest.mark.ngspice
@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("kind", [SquareLawTransistors, CardTransistors])
def test_ngspice_solves_transistors_by_their_expression_and_by_its_own_model(kind, reduced):
    found = solve(amplifier(kind), GATES, solver=Ngspice(reduced=reduced)).outputs
    expected = [[drain_voltage(float(gate), k) for k in FACTOR] for gate in GATES]
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-8)


def test_the_sample_elements_are_short():
    for kind in (SquareLawTransistors, CardTransistors):
        assert len(inspect.getsource(kind).splitlines()) <= 60
    for kind in (CubicDiode, SinhDiode, CardDiode):
        assert len(inspect.getsource(kind).splitlines()) <= 40


MODEL, ELEMENT = (
    ".model nmos_0 NMOS(LEVEL=1.0 VTO=0.4 KP=2e-05 GAMMA=0.0 LAMBDA=0.0 IS=1e-30)",
    "m_m_0 drain gate 0 0 nmos_0 W=",
)
SPECTRE = (
    "model nmos_0 mos1 type=n vto=0.4 kp=2e-05 gamma=0.0 lambda=0.0 is=1e-30",
    "m_m_0 (drain gate 0 0) nmos_0 w=",
)


VACASK = (
    "model nmos_0 sp_mos1 (type=1 vto=0.4 kp=2e-05 gamma=0.0 lambda=0.0 is=1e-30)",
    "m_m_0 (drain gate 0 0) nmos_0 w=",
)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_model_card_reaches_every_dialect(dialect):
    text = write_deck(amplifier(), np.array([0.9]), dialect=dialect)
    model, element = {"spectre": SPECTRE, "vacask": VACASK}.get(dialect, (MODEL, ELEMENT))
    assert text.count(model) == text.count("model nmos_") == 1
    assert f"\n{element}" in text
    assert f"\n{element.replace('m_m_0', 'm_m_1').replace('drain', 'other')}" in text


@pytest.mark.ngspice
@pytest.mark.parametrize("dialect", ["ngspice", "ltspice", "hspice"])
def test_plain_ngspice_reads_the_model_cards_of_dialects(dialect, tmp_path):
    deck = write_deck(amplifier(), np.array([0.9]))
    lines = [line for line in write_deck(amplifier(), np.array([0.9]), dialect=dialect).splitlines() if "nmos_" in line]
    own = [line for line in deck.splitlines() if "nmos_" not in line]
    at = next(i for i, line in enumerate(own) if line.startswith("r_load"))
    (tmp_path / "m.cir").write_text("\n".join([*own[:at], *lines, *own[at:]]) + "\n")
    printed = run_plain(tmp_path / "m.cir")
    found = [printed["v(drain)"][0], printed["v(other)"][0]]
    np.testing.assert_allclose(found, [drain_voltage(0.9, k) for k in FACTOR], rtol=0, atol=1e-8)


@pytest.mark.gnucap
def test_gnucap_solves_the_model_card(tmp_path):
    for gate in (0.5, 0.9, 1.4):
        printed = gnucap_tables(write_deck(amplifier(), np.array([gate]), dialect="gnucap"), tmp_path)
        found = [printed["v(drain)"][0], printed["v(other)"][0]]
        np.testing.assert_allclose(found, [drain_voltage(gate, k) for k in FACTOR], rtol=0, atol=ATOL)


VOLTS = np.array([-0.2, 0.0, 0.25, 0.3, 0.7])
AMPERES = np.array([[-1e-5, 0.0, 4e-5, 2e-5, 5e-5], [-2e-6, 0.0, 1e-6, 3e-6, 4e-5]])
TABLE = Table(VOLTS, AMPERES)


def at_voltage(v: float, currents: np.ndarray) -> float:
    """The characteristic once more, by numpy's interpolation of a table that goes on far beyond."""
    ends = [currents[0] + (currents[1] - currents[0]) / (VOLTS[1] - VOLTS[0]) * (-9 - VOLTS[0])]
    ends += [currents[-1] + (currents[-1] - currents[-2]) / (VOLTS[-1] - VOLTS[-2]) * (9 - VOLTS[-1])]
    return float(np.interp(v, [-9, *VOLTS, 9], [ends[0], *currents, ends[1]]))


def tabled_voltages(gate: float) -> list[float]:
    """Of two of these elements as loads of the supply, each with a source of the gate's table to ground."""
    pull = [at_voltage(gate, currents) for currents in AMPERES]

    def root(k: int) -> float:
        def imbalance(v: float) -> float:
            return at_voltage(v, AMPERES[1]) + pull[k] - LOAD * (SUPPLY - v)

        return float(brentq(imbalance, -8.0, 8.0, xtol=1e-15))  # pyright: ignore[reportArgumentType]

    return [root(0), root(1)]


def tabled() -> Circuit:
    return loaded(TabledElements("t", [3, 4], 0, Table(VOLTS, AMPERES[1])), TabledSources("s", [3, 4], 0, TABLE, 2))


TABLE_GATES = torch.tensor([[-1.0], [-0.1], [0.1], [0.27], [0.5], [2.0]], dtype=torch.float64)


@pytest.mark.parametrize("solver", [Newton(), pytest.param(Ngspice(), marks=pytest.mark.ngspice)])
def test_tables_are_solved_within_and_beyond_their_points(solver):
    found = solve(tabled(), TABLE_GATES, solver=solver).outputs
    expected = [tabled_voltages(float(gate)) for gate in TABLE_GATES]
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-9)


@pytest.mark.gnucap
def test_gnucap_solves_tables(tmp_path):
    for gate in TABLE_GATES:
        printed = gnucap_tables(write_deck(tabled(), gate, dialect="gnucap"), tmp_path)
        found = [printed["v(drain)"][0], printed["v(other)"][0]]
        np.testing.assert_allclose(found, tabled_voltages(float(gate)), rtol=0, atol=ATOL)


@pytest.mark.parametrize("dialect", ["xyce", "ltspice"])
def test_simulators_that_stop_at_the_ends_of_a_table_get_longer_ones(dialect):
    text = write_deck(tabled(), np.array([0.5]), dialect=dialect)
    assert text.count("i={table(" if dialect == "xyce" else "i=table(") == 4
    for name, control, currents in (("b_s_0", "gate", AMPERES[0]), ("b_s_1", "gate", AMPERES[1])):
        table = re.search(rf"^{name} \w+ 0 i=\{{?table\(v\({control}\),([^)]*)\)\}}?$", text, re.MULTILINE)
        assert table is not None
        points = np.array(table[1].split(","), dtype=float).reshape(-1, 2)
        for v in (-500.0, -0.3, 0.26, 0.69, 3.0, 900.0):
            expected = at_voltage(v, currents) if abs(v) < 9 else None
            # Between the ends of the check's own table and those of the deck's the line is the same.
            line = at_voltage(math.copysign(8.0, v), currents), at_voltage(math.copysign(7.0, v), currents)
            beyond = line[0] + (line[0] - line[1]) * (abs(v) - 8.0)
            np.testing.assert_allclose(
                np.interp(v, points[:, 0], points[:, 1]), beyond if expected is None else expected, rtol=1e-12
            )


NO_TABLES = [([0.0], [1.0]), ([0.0, 0.0], [1.0, 2.0]), ([0.0, np.nan], [1.0, 2.0]), ([0, 1], [0])]


@pytest.mark.parametrize("points", NO_TABLES)
def test_tables_that_are_none(points):
    with pytest.raises(CircuitError, match="a table must have finite points, two or more, of increasing voltage"):
        Table(*map(np.array, points))


def test_what_dialects_lack_is_said_with_those_that_have_it():
    advice = "found one needed for b_m_0; give it another netlist_form, or another dialect:"
    with pytest.raises(CircuitError, match=f"a gnucap netlist has no expressions, {advice} ngspice, xyce, ltsp"):
        write_deck(amplifier(SquareLawTransistors), np.array([0.9]), dialect="gnucap")
    advice = "found one needed for b_t_0; give it another netlist_form, or another dialect:"
    for dialect in ("hspice", "spectre"):
        with pytest.raises(CircuitError, match=f"a {dialect} netlist has no tables, {advice} ngspice, xyce, ltsp"):
            write_deck(tabled(), np.array([0.9]), dialect=dialect)

    class Modern(CardTransistors):
        def netlist_form(self):
            return ModelInstance("m", "NMOS", {"LEVEL": 14.0}, ("drain", "gate", "source", "source"))

    advice = "found one needed for m_m_0; write it for ngspice, xyce, ltspice, hspice, gnucap"
    with pytest.raises(CircuitError, match=f"a spectre netlist has no model NMOS of level 14, {advice}"):
        write_deck(amplifier(Modern), np.array([0.9]), dialect="spectre")
    assert "LEVEL=14.0" in write_deck(amplifier(Modern), np.array([0.9]))
    with pytest.raises(CircuitError, match="needs an engine that reads ngspice's netlists, found xyce, which is"):
        analyses_of(DIALECTS["xyce"])


def test_an_inherited_form_of_another_law_is_refused():
    class Leaky(ShockleyDiode):
        def current(self, voltage):
            return super().current(voltage) + 1e-6 * voltage

    circuit = loaded(Diodes("d", [3, 4], 0, Leaky()))
    with pytest.raises(CircuitError, match="d: no netlist card stands for Leaky; give it expressions of"):
        NetlistWriter(circuit, lambda group: [0.0] * len(group))

    class Warm(ShockleyDiode):
        """Of the same law."""

    cards = list(NetlistWriter(loaded(Diodes("d", 3, 0, Warm())), lambda group: [0.0] * len(group)).element_cards())
    assert cards[-1] == "d_d_0 drain 0 diode_0"


def test_what_a_class_states_counts_from_its_law_on():
    class Law:
        def law(self): ...
        def form(self): ...

    class Changed(Law):
        def law(self): ...

    class Both(Changed):
        def form(self): ...

    class Inherits(Both): ...

    assert [states(kind, ("form",), "law") for kind in (Law, Changed, Both, Inherits)] == [True, False, True, True]


def test_words_of_a_model_card_are_plain():
    with pytest.raises(CircuitError, match=r"a model card holds plain words, found 'NMOS\\n\.control'"):
        ModelInstance("m", "NMOS\n.control", {}, ("drain",))
    with pytest.raises(CircuitError, match="found 'W=1 L'"):
        ModelInstance("m", "NMOS", {}, ("drain",), {"W=1 L": 1.0})


@pytest.mark.ngspice
def test_a_diode_by_a_model_card_is_the_diode():
    junction = {"saturation_current": torch.tensor([1e-9, 1e-8], dtype=torch.float64), "ideality": 1.7}
    circuits = [loaded(Diodes("d", [3, 4], 0, kind(**junction))) for kind in (CardDiode, ShockleyDiode)]
    text = write_deck(circuits[0], np.array([0.0]))
    assert ".model d_0 D(IS=1e-09 N=1.7 CJO=1e-12)" in text
    assert ".model d_1 D(IS=1e-08 N=1.7 CJO=1e-12)" in text
    card, plain = (solve(circuit, GATES[:1], solver=Ngspice()).outputs.numpy() for circuit in circuits)
    np.testing.assert_allclose(card, plain, rtol=0, atol=1e-12)


@pytest.mark.ngspice
def test_a_diode_of_ones_own_trains_and_its_deck_prints_the_energy(tmp_path):
    net = ResistiveNetwork([3, 4, 2], diode=SinhDiode(), gain=3.0, dtype=torch.float64, seed=3)
    inputs = torch.tensor([[0.1, 0.2, 0.3]], dtype=torch.float64)
    found = solve(net, inputs, solver=Newton())
    by_ngspice = solve(net, inputs, solver=Ngspice())
    np.testing.assert_allclose(by_ngspice.voltages.numpy(), found.voltages.numpy(), rtol=0, atol=1e-9)
    text = write_deck(net.circuit(), inputs[0])
    assert text.count(".func sinh_") == 2 * len(net.circuit().of_kind(Diodes))
    (tmp_path / "sinh.cir").write_text(text)
    energy = float(circuit_energy(net.circuit(), found.voltages.numpy())[0])
    assert run_plain(tmp_path / "sinh.cir")["v(energy)"][0] == pytest.approx(energy, rel=1e-6)


def test_a_co_content_is_not_inherited_by_another_law():
    class Leaky(SinhDiode):
        def current(self, voltage):
            return super().current(voltage) + 1e-6 * voltage

        def conductance(self, voltage):
            return super().conductance(voltage) + 1e-6

        def cocontent(self, voltage):
            return super().cocontent(voltage) + 0.5e-6 * voltage**2

        def current_difference(self, voltage, change):
            return super().current_difference(voltage, change) + 1e-6 * change

        def in_parallel(self, count):
            raise NotImplementedError

        def expressions(self, voltages):
            return [f"{text}+1e-6*{v}" for text, v in zip(super().expressions(voltages), voltages, strict=True)]

    text = write_deck(loaded(Diodes("d", 3, 0, Leaky())), np.array([0.5]))
    assert "no energy is printed: d has no expression for its co-content" in text


@pytest.mark.ngspice
def test_sources_and_assemblies_of_ones_own_reach_ngspice():
    circuit = loaded(Batteries("cell", 3, 4), LoadedCells("weak", 4, 0))
    cards = list(NetlistWriter(circuit, lambda group: group.rows().values(np.zeros(1))).element_cards())
    assert cards[-3:] == [
        "v_cell_0 drain other 1.5",
        "r_weak_0 other _weak_0_in 1000.0",
        "v_weak_0_cell _weak_0_in 0 1.0",
    ]
    # Kirchhoff's law for both nodes, which the cell joins: load (2 (1 − v) − 1.5) = (v − 1)/1000.
    other = (LOAD * (2 * SUPPLY - 1.5) + 1e-3) / (2 * LOAD + 1e-3)
    for solver in (Newton(), Ngspice(), Ngspice(reduced=True)):
        found = solve(circuit, GATES[:2], solver=solver).outputs.numpy()
        np.testing.assert_allclose(found, [[other + 1.5, other]] * 2, rtol=0, atol=1e-9)


class HalfError(SquaredError):
    """C = ¼ Σ (o − y)²: another gradient, with its own expression."""

    def gradient(self, outputs, targets):
        return (outputs - targets) / 2

    def error_expressions(self, outputs, targets):
        errors, _ = super().error_expressions(outputs, targets)
        return errors, 2.0


def test_a_cost_states_its_expression_for_its_own_gradient():
    class CubedTargetError(SquaredError):
        def gradient(self, outputs, targets):
            return outputs - targets**3

    assert is_expressible(SquaredError())
    assert is_expressible(HalfError())
    assert not is_expressible(CubedTargetError())
    target = torch.tensor([0.2, 0.1], dtype=torch.float64)
    text = write_deck(amplifier(), np.array([0.9]), Nudge(1e-6, target, HalfError(), "elastic"), phase="both")
    assert "b_phase_0 0 drain i=((5e-07)*(0.2-v(drain,0)))*v(phase)" in text
    with pytest.raises(StimulusError, match="found CubedTargetError; give it error_expressions, or use a frozen nudge"):
        write_deck(amplifier(), np.array([0.9]), Nudge(1e-6, target, CubedTargetError(), "elastic"), phase="both")


def test_a_form_of_ones_own_writes_itself():
    class Switch(NetlistForm):
        name, letter = "elements", "s"

        def cards(self, writer: FormWriter, group):
            yield from (f"s_{group.label}_{i} a b c d sw" for i in range(len(group)))

    class Switches(Conductances):
        def netlist_form(self):
            return Switch()

    cards = NetlistWriter(loaded(Switches("s", 3, 4, 1e-3)), lambda group: [0.0] * len(group)).element_cards()
    assert list(cards)[-1] == "s_s_0 a b c d sw"


def test_a_steep_table_or_diode_raises_the_tolerance_of_currents():
    steep = PiecewiseLinearDiode((0.1,), (1e6,))
    card = NetlistWriter(loaded(Diodes("d", 3, 1, steep)), lambda group: [0.0] * len(group)).options_card()
    # 64 times the last bit of g (t + V): the bias is the supply's 1 V.
    assert f"abstol={1e6 * (0.1 + 1.0) * 64 * 2.0**-52!r}" in card
