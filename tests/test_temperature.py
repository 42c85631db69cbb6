"""Decks, batches and dialects at other temperatures, against a circuit whose every junction is described there."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from deck_circuits import alternating, every_element, mixed_circuit, network
from gnucap import gnucap_tables, with_gnucap_constants
from mna import solve_mna
from plain_ngspice import run_plain
from test_dialects import READERS, read_by_ngspice

from analog_ep.circuit import Chip, Circuit, CircuitBuilder, Diodes, circuit_energy
from analog_ep.devices import DiodeClamp, IdealDiode, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.equilibrium import Newton, Ngspice, solve
from analog_ep.errors import CircuitError
from analog_ep.netlist.deck import save_deck, write_deck
from analog_ep.netlist.dialects import DIALECTS
from analog_ep.stimulus import Nudge, SquaredError

HOT = 398.15
"""125 °C. [K]"""


def heated(circuit: Circuit, kelvin: float = HOT) -> Circuit:
    """The circuit described at another temperature: junctions that are at the circuit's go along, others stay."""

    def warmed(group):
        if not (isinstance(group, Diodes) and isinstance(group.device, ShockleyDiode)):
            return group
        own = torch.as_tensor(group.device.temperature, dtype=torch.float64).expand(len(group))
        return replace(
            group, device=replace(group.device, temperature=torch.where(own == circuit.temperature, kelvin, own))
        )

    return replace(circuit, groups=tuple(warmed(group) for group in circuit.groups), temperature=kelvin)


def with_own_temperatures() -> Circuit:
    """Clamps, one of whose diodes is warmer and one colder than the circuit."""
    kelvin = torch.tensor([300.15, 350.0, 300.15, 280.0], dtype=torch.float64)
    clamp = DiodeClamp(ShockleyDiode(1e-12, 1.2, temperature=kelvin), -0.3, 0.3)
    return network([3, 4, 2], clamp)


CASES = {
    "pair": lambda: network([2, 2, 1], DiodeClamp(ShockleyDiode(), upper=-0.4, lower=0.4)),
    "alternating": lambda: network([3, 4, 2], alternating(4), gain=2.5),
    "own": with_own_temperatures,
    "series": lambda: network([2, 3, 1], ShockleyDiode(1e-9, series_resistance=50.0)),
    "gap": lambda: network([2, 3, 1], ShockleyDiode(1e-8, 1.05, energy_gap=0.69, saturation_exponent=2.0)),
    "nominal": lambda: network([2, 3, 1], ShockleyDiode(1e-10, nominal_temperature=320.0)),
    "small": lambda: network(
        [2, 3, 1], DiodeClamp(ShockleyDiode(1e-13, 1.4, energy_gap=0.9, saturation_exponent=2.0), -0.4, 0.4)
    ),
    "mixed": mixed_circuit,
}
INPUTS = np.array([0.9, -0.7, 0.4])


def stimulus(circuit: Circuit) -> tuple[np.ndarray, Nudge]:
    assert circuit.outputs is not None
    target = torch.full((len(circuit.outputs[0]),), 0.2, dtype=torch.float64)
    return INPUTS[: circuit.n_inputs], Nudge(2e-6, target, SquaredError(), "elastic")


def states(circuit: Circuit) -> np.ndarray:
    """Free and nudged voltages by a dense Newton, `(2, n_nodes)`. [V]"""
    inputs, nudge = stimulus(circuit)
    slope = -nudge.strength * np.eye(len(nudge.target))
    current = lambda o: (nudge.current(torch.from_numpy(o)).numpy(), slope)  # noqa: E731
    return np.stack([solve_mna(circuit, inputs), solve_mna(circuit, inputs, current)])


def at_125(deck: str) -> str:
    """A deck as its reader makes it hot."""
    return deck.replace("\n.end\n", "\n.temp 125\n.end\n")


@pytest.mark.ngspice
@pytest.mark.parametrize("described", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_deck_follows_the_temperature_of_its_simulator(case, described, tmp_path):
    circuit = CASES[case]()
    hot = heated(circuit)
    inputs, nudge = stimulus(circuit)
    deck = write_deck(hot if described else circuit, inputs, nudge, phase="both")
    save_deck(deck if described else at_125(deck), tmp_path / "deck.cir")
    printed, truth = run_plain(tmp_path / "deck.cir"), states(hot)
    assert np.abs(truth - states(circuit)).max() > 1e-2
    assert circuit.outputs is not None
    names = circuit.node_names
    for p, n in zip(*circuit.outputs, strict=True):
        found = printed[f"v({names[p]})-v({names[n]})"]
        np.testing.assert_allclose(found, truth[:, p] - truth[:, n], rtol=0, atol=1e-9)
    for node in [node for nodes in circuit.layers.values() for node in nodes]:
        np.testing.assert_allclose(printed[f"v({names[node]})"], truth[:, node], rtol=0, atol=1e-9)
    np.testing.assert_allclose(printed["v(energy)"], circuit_energy(hot, truth), rtol=1e-7)


def test_only_elements_that_differ_say_their_temperature():
    circuit = network([3, 4, 2], alternating(4))
    inputs, nudge = stimulus(circuit)
    deck, hot = (write_deck(c, inputs, nudge, phase="both") for c in (circuit, heated(circuit)))
    assert " temp=" not in deck
    assert "celsius" not in deck.replace("degrees Celsius", "")
    changed = [pair for pair in zip(deck.splitlines(), hot.splitlines(), strict=True) if pair[0] != pair[1]]
    assert [pair[1].split()[:2] for pair in changed] == [["*", "Temperature:"], [".options", "TEMP=125.0"]]
    assert "TEMP=125.0 TNOM=27.0 " in hot
    own = write_deck(with_own_temperatures(), INPUTS)
    assert {line.split("temp=")[1] for line in own.splitlines() if " temp=" in line} == {"76.85", "6.85"}


@pytest.mark.ngspice
@pytest.mark.parametrize("dialect", READERS)
def test_the_other_dialects_follow_too(dialect, tmp_path):
    circuit = every_element()
    nudge = Nudge(1e-5, torch.tensor([0.2], dtype=torch.float64), SquaredError(), "elastic")
    deck = READERS[dialect](write_deck(circuit, np.array([0.5]), nudge, phase="both", dialect=dialect))

    found = read_by_ngspice(deck.replace("temp=27 ", "temp=125 "), circuit, tmp_path)
    hot = heated(circuit)
    truth = solve_mna(hot, np.array([0.5]))
    assert np.abs(truth - solve_mna(circuit, np.array([0.5]))).max() > 1e-3
    np.testing.assert_allclose(found[0], truth, rtol=0, atol=1e-8)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_states_the_temperature_of_the_circuit_and_of_its_models(dialect):
    deck = write_deck(heated(network([2, 2, 1], alternating(2))), np.array([0.9, -0.7]), dialect=dialect)
    assert re.search(r"(?i)\btemp[ =]125\.0", deck)
    assert re.search(r"(?i)\btnom=27\.0", deck)
    assert not re.search(r"dtemp|trise", deck)


@pytest.mark.gnucap
@pytest.mark.parametrize(
    ("case", "described"), [("pair", False), ("pair", True), ("small", False), ("small", True), ("own", True)]
)
def test_gnucap_follows_too(case, described, tmp_path):
    circuit = CASES[case]()
    hot = heated(circuit)
    inputs, _ = stimulus(circuit)
    # The saturation current at the temperature of the elements depends on gnucap's constants.
    truth = solve_mna(with_gnucap_constants(hot), inputs)
    deck = write_deck(hot if described else circuit, inputs, dialect="gnucap")
    table = gnucap_tables(deck.replace("temp=27.0 ", "temp=125.0 "), tmp_path)
    for node in [node for nodes in circuit.layers.values() for node in nodes]:
        assert table[f"v({circuit.node_names[node]})"][0] == pytest.approx(truth[node], abs=3e-5)


@pytest.mark.ngspice
@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("case", ["pair", "alternating", "own", "series", "gap"])
def test_batches_run_at_the_circuit_s_temperature(case, reduced):
    hot = heated(CASES[case]())
    inputs = torch.tensor(np.random.default_rng(3).uniform(-1, 1, (5, hot.n_inputs)))
    ngspice, newton = (solve(hot, inputs, solver=solver) for solver in (Ngspice(reduced=reduced), Newton()))
    torch.testing.assert_close(ngspice.voltages, newton.voltages, rtol=0, atol=2e-11)


def test_a_circuit_is_as_warm_as_all_its_junctions():
    warm = network([2, 2, 1], DiodeClamp(ShockleyDiode(temperature=350.0), 0.1, -0.1))
    assert warm.temperature == 350.0
    assert with_own_temperatures().temperature == 300.15
    assert network([2, 2, 1], IdealDiode(1e-2)).temperature == 300.15
    assert warm.with_groups(warm.groups[:2]).temperature == 350.0
    assert CircuitBuilder("stated", temperature=77.0).build().temperature == 77.0
    with pytest.raises(CircuitError, match="temperature of a circuit must be positive and finite, found 0 K"):
        CircuitBuilder("cold", temperature=0).build()


def test_a_chip_has_a_temperature(tmp_path):
    circuit = network([2, 2, 1], DiodeClamp(ShockleyDiode(), 0.1, -0.1))
    keys = [f"{group.label}.temperature" for group in circuit.of_kind(Diodes)]
    by_junctions = Chip({}, {key: np.full(2, 400.0) for key in keys})
    assert by_junctions.apply(circuit).temperature == 400.0
    assert Chip({}, {keys[0]: np.full(2, 400.0)}).apply(circuit).temperature == 300.15
    linear = network([2, 2, 1], DiodeClamp(PiecewiseLinearDiode((0.0,), (1e-2,)), 0.1, -0.1))
    Chip({}, temperature=400.0, twin=Chip({}, temperature=350.0)).save(tmp_path / "chip.safetensors")
    stored = Chip.load(tmp_path / "chip.safetensors")
    assert stored.apply(linear).temperature == 400.0
    assert stored.later.apply(linear).temperature == 350.0
    with pytest.raises(CircuitError, match="temperature of a chip must be positive and finite, found -1 K"):
        Chip({}, temperature=-1)
