"""Bidirectional amplifiers of operational amplifiers and resistors: against ngspice's own subcircuits, and limits."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from analog_ep import (
    AdjointNetwork,
    AsymmetricEquilibriumPropagation,
    EquilibriumPropagation,
    ImplicitDifferentiation,
    Newton,
    Ngspice,
    ResistiveNetwork,
    SquaredError,
    solve,
)
from analog_ep.analyses.periphery import AMPLIFIERS, Periphery
from analog_ep.analyses.power import branch_power
from analog_ep.circuit import Amplifiers, Circuit, CircuitBuilder, Conductances, VoltageSources
from analog_ep.circuit.drawing import stream
from analog_ep.designs.op_amps import OpAmps, outputs_of, with_op_amps
from analog_ep.errors import AnalogEPError, CircuitError, NetlistError
from analog_ep.networks import CircuitNetwork
from analog_ep.networks.needs import conductances_of
from analog_ep.runs.building import build_gradient, build_network
from analog_ep.runs.folder import Run
from analog_ep.spec import Spec, parse_spec
from analog_ep.support.resources import netlists_folder
from tests.plain_ngspice import run_measured
from tests.read_by_ngspice import plain_voltages

LIBRARIES = {
    name: (netlists_folder() / name).read_text() for name in ("operational_amplifier.lib", "bidirectional_op_amps.lib")
}
INCLUDES = "".join(f".include {name}\n" for name in LIBRARIES)
A, K = 2.5, 0.15
SIEMENS = {"gin": 2e-7, "gload": 5e-8, "gcross": 3e-8, "gsingle": 8e-8}


def amplified() -> Circuit:
    """A pair and a single amplifier behind each other, each loaded, with a path back around them."""
    builder = CircuitBuilder("two amplifiers")
    s, u, p, n, w, o, t = builder.add_nodes(["s", "u", "p", "n", "w", "o", "t"])
    builder.add(VoltageSources("v", [s, t], 0, [0.3, 0.1]))
    builder.add(Conductances("gin", s, u, SIEMENS["gin"]))
    builder.add(Conductances("gload", p, 0, SIEMENS["gload"]))
    builder.add(Conductances("gcross", [n, p], [t, w], SIEMENS["gcross"]))
    builder.add(Conductances("gsingle", [w, o], [0, t], SIEMENS["gsingle"]))
    builder.add(Amplifiers("pair", [u], [p], [A], [K], [n]))
    builder.add(Amplifiers("one", [w], [o], [A], [K]))
    builder.set_outputs(o, 0)
    return builder.build()


def hand_deck(offsets: np.ndarray, gain: float) -> str:
    """The same in a designer's words, with instances of the subcircuits."""
    pair, single = ([f"o{i}={o!r}" for i, o in enumerate(part.tolist(), 1)] for part in (offsets[:5], offsets[5:8]))
    shared = f"a={A} k={K} r_sense=1e6 r_gain=1e5"
    return (
        f"two amplifiers\n{INCLUDES.replace('operational_amplifier.lib', 'own.lib')}Vs s 0 0.3\nVt t 0 0.1\n"
        f"Rin s u {1 / SIEMENS['gin']!r}\nRload p 0 {1 / SIEMENS['gload']!r}\n"
        f"Rc1 n t {1 / SIEMENS['gcross']!r}\nRc2 p w {1 / SIEMENS['gcross']!r}\n"
        f"Rs1 w 0 {1 / SIEMENS['gsingle']!r}\nRs2 o t {1 / SIEMENS['gsingle']!r}\n"
        f"X1 u p n bidirectional_op_amp_pair {shared} {' '.join(pair)}\n"
        f"X2 w o bidirectional_op_amps {shared} {' '.join(single)}\n"
        ".options reltol=1e-9 vntol=1e-12 abstol=1e-16\n.op\n.end\n"
    )


def with_gain(gain: float) -> str:
    return LIBRARIES["operational_amplifier.lib"].replace("gain=1000", f"gain={gain!r}")


@pytest.mark.ngspice
@pytest.mark.parametrize("gain", [100.0, 1e5])
def test_they_are_what_ngspice_makes_of_the_subcircuits(gain: float):
    circuit = with_op_amps(amplified(), OpAmps({"gain": gain}, offset_spread=5e-3, seed=3))
    state = solve(circuit, torch.zeros(0, dtype=torch.float64), solver=Newton())
    offsets = 5e-3 * stream(3, "op_amps.offset").standard_normal(10)
    files: dict[str, str | bytes] = {
        "main.cir": hand_deck(offsets, gain),
        "own.lib": with_gain(gain),
        "bidirectional_op_amps.lib": LIBRARIES["bidirectional_op_amps.lib"],
    }
    theirs = plain_voltages(files)
    assert theirs is not None
    ours = dict(zip(circuit.node_names, state.node_voltages().tolist(), strict=True))
    for name in ("u", "p", "n", "w", "o"):
        assert ours[name] == pytest.approx(theirs[name], abs=1e-8)
    assert ours["x_pair_0_pump"] == pytest.approx(theirs["x1.pump"], abs=1e-8)
    assert abs(ours["p"] + ours["n"]) > 1e-4, "offsets show"


@pytest.mark.ngspice
@pytest.mark.parametrize(("farads", "swing"), [(1e-17, 1.0), (1e-12, 0.0)])
def test_without_capacitance_at_the_nodes_they_oscillate_and_that_is_said(farads: float, swing: float, tmp_path: Path):
    circuit = with_op_amps(amplified(), OpAmps(node_capacitance=farads))
    state = solve(circuit, torch.zeros(0, dtype=torch.float64), solver=Newton(), throw=False)
    assert bool(state.converged) == (swing == 0.0)
    assert ("unstable" in state.message) == (swing > 0.0)
    deck = hand_deck(np.zeros(8), 1000.0).replace(f"k={K} ", f"k={K} c_node={farads!r} ")
    deck = deck.replace("Vs s 0 0.3", "Vs s 0 0.3 pulse(0.28 0.3 1u 10n 10n 1 2)").replace(
        ".op", ".tran 20n 120u\n.meas tran high max v(o) from=100u to=120u\n.meas tran low min v(o) from=100u to=120u"
    )
    (tmp_path / "main.cir").write_text(deck)
    (tmp_path / "own.lib").write_text(with_gain(1000.0))
    (tmp_path / "bidirectional_op_amps.lib").write_text(LIBRARIES["bidirectional_op_amps.lib"])
    found = run_measured(tmp_path / "main.cir")
    assert found["high"] - found["low"] >= swing
    assert swing or found["high"] - found["low"] < 1e-3


def test_they_approach_ideal_amplifiers_as_one_over_their_gain():
    ideal = solve(amplified(), torch.zeros(0, dtype=torch.float64), solver=Newton()).node_voltages()
    off = []
    for gain in (1e3, 1e5):
        circuit = with_op_amps(amplified(), OpAmps({"gain": gain}))
        found = solve(circuit, torch.zeros(0, dtype=torch.float64), solver=Newton()).node_voltages()
        off.append(float((found[: len(ideal)] - ideal).abs().max()))
    assert off[1] < 1e-4
    assert off[0] / off[1] == pytest.approx(100, rel=0.05)


@pytest.mark.ngspice
def test_gain_poles_and_slewing_are_those_of_a_data_sheet(tmp_path: Path):
    # A follower's bandwidth is the product of gain and bandwidth; half a volt takes half a microsecond at 1 V/µs, and
    # the settling 16 mV before.
    lines = [
        "a follower",
        ".include operational_amplifier.lib",
        "v1 a 0 dc 0 ac 1 pulse(0 0.5 1u 1n 1n 10u 20u)",
        "x1 a o o operational_amplifier gain=1e5 bandwidth=1e6 slew=1e6 second_pole=1e12 r_out=1",
        ".control",
        "ac dec 200 1e3 1e8",
        "meas ac bandwidth when vdb(o)=-3.0103",
        "tran 1n 6u",
        "meas tran t1 when v(o)=0.05",
        "meas tran t2 when v(o)=0.25",
        ".endc",
        ".end",
    ]
    (tmp_path / "operational_amplifier.lib").write_text(LIBRARIES["operational_amplifier.lib"])
    (tmp_path / "f.cir").write_text("\n".join(lines) + "\n")
    found = run_measured(tmp_path / "f.cir")
    assert found["bandwidth"] == pytest.approx(1e6, rel=0.01)
    assert 0.2 / (found["t2"] - found["t1"]) == pytest.approx(1e6, rel=0.05)


SPEC = {
    "data": {"source": "xor"},
    "network": {
        "sizes": [2, 3, 2],
        "gain": 3.0,
        "bias_voltage": 0.6,
        "conductance_range": [1e-9, 1e-7],
        "op_amps": {"offset_spread": 5e-3, "sense_resistance": 5e5},
    },
    "cost": {"function": "squared_error"},
    "gradient": {"method": "ep", "nudging": 1e-12, "variant": "centered"},
    "training": {"dtype": "float64", "epochs": 2, "batch_size": 4},
}


def spec_with(**op_amps: object) -> Spec:
    network = SPEC["network"] | {"op_amps": SPEC["network"]["op_amps"] | op_amps}  # pyright: ignore[reportOperatorIssue]
    return parse_spec(SPEC | {"network": network}, "a spec")


def samples() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    inputs = 0.6 * torch.rand(3, 2, dtype=torch.float64, generator=random)
    return inputs, 0.1 * torch.rand(3, 2, dtype=torch.float64, generator=random)


def flat(gradients: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([gradients[name].reshape(-1) for name in sorted(gradients)])


def test_phases_with_the_weights_of_ideal_amplifiers_come_near_the_gradient():
    network = build_network(spec_with(), torch.float64)
    inputs, targets = samples()
    cost, solver = SquaredError(), Newton()
    _, plain = EquilibriumPropagation(network, 1e-12, cost, solver=solver, variant="centered").gradients(
        inputs, targets
    )
    _, adjoint = AdjointNetwork(network, cost, solver=solver).gradients(inputs, targets)
    _, exact = ImplicitDifferentiation(network, cost, solver=solver).gradients(inputs, targets)
    largest = float(flat(exact).abs().max())
    assert torch.allclose(flat(adjoint), flat(exact), rtol=1e-7, atol=1e-9 * largest)
    method = AsymmetricEquilibriumPropagation(network, 1e-13, cost, solver=solver, variant="centered")
    assert torch.allclose(flat(method.gradients(inputs, targets)[1]), flat(exact), rtol=1e-4, atol=1e-6 * largest)
    cosine = torch.nn.functional.cosine_similarity(flat(plain), flat(exact), dim=0)
    assert 1e-7 < 1 - cosine < 5e-3, "near it, and not equal: gains are finite"
    torch.testing.assert_close(flat(plain).norm(), flat(exact).norm(), rtol=0.05, atol=0)


@pytest.mark.ngspice
def test_the_exact_gradient_is_that_of_ngspice_by_differences():
    network = conductances_of(build_network(spec_with(), torch.float64), "differences need conductances", "")
    inputs, targets = samples()
    _, exact = ImplicitDifferentiation(network, SquaredError(), solver=Newton()).gradients(inputs, targets)
    name, at, step = "stage1", 4, 2e-12

    def cost(change: float) -> float:
        values = {label: g.clone() for label, g in network.conductances.items()}
        values[name].view(-1)[at] += change
        network.set_conductances(values)
        outputs = solve(network, inputs, solver=Ngspice()).outputs
        return float(SquaredError().value(outputs, targets).mean())

    before = {label: g.clone() for label, g in network.conductances.items()}
    high, low = cost(step), cost(-2 * step)
    network.set_conductances(before)
    slope = (high - low) / (2 * step)
    # Gradients are by θ = g/g_ref.
    found = float(exact[name].reshape(-1)[at]) / network.parameter_scale
    assert found == pytest.approx(slope, rel=1e-4)


def test_supplies_give_what_op_amps_draw():
    circuit = with_op_amps(amplified(), OpAmps({"rail": 0.9}))
    volts = solve(circuit, torch.zeros(0, dtype=torch.float64), solver=Newton()).node_voltages()[None].numpy()
    nodes = outputs_of(circuit)
    assert len(nodes) == 8
    power, supply, current = branch_power(circuit, volts), 1.8, 1e-5
    watts = Periphery(supply, current).phase(circuit, volts, power, nodes)
    # By hand: a quiescent current each, and what every output sends through the resistors at it, from the nearer rail.
    drawn = 0.0
    for node in nodes:
        leaving = 0.0
        for group in circuit.of_kind(Conductances):
            for g, a, b in zip(group.siemens, group.positive, group.negative, strict=True):
                leaving += g * (volts[0, node] - volts[0, b if a == node else a]) * (node in (a, b))
        drawn += abs(leaving) * supply / 2
    assert watts[AMPLIFIERS] + power.delivered[power.amplifiers] == pytest.approx(
        8 * supply * current + drawn, rel=1e-9
    )


def test_names_alone_make_no_operational_amplifiers():
    circuit = with_op_amps(amplified(), OpAmps())
    assert len(outputs_of(replace(circuit, ideal=None))) == 0


def test_a_run_keeps_the_library_and_resumes(tmp_path: Path):
    own = tmp_path / "lab" / "mine.lib"
    own.parent.mkdir()
    own.write_text(LIBRARIES["operational_amplifier.lib"].replace("gain=1000", "gain=300"))
    spec = spec_with(library=str(own))
    Run.create(tmp_path / "run", spec).save()
    found = build_network(spec).circuit()
    own.unlink()
    (tmp_path / "run").rename(tmp_path / "moved")
    again = Run.resume(tmp_path / "moved").spec
    assert sorted(again.network.contents()) == ["mine.lib"]
    circuit = build_network(again).circuit()
    for group in found.groups:
        for name, array in group.arrays().items():
            np.testing.assert_array_equal(array, circuit.group(group.label).arrays()[name])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"parameters": {"gian": 3.0}}, "a parameter of 'operational_amplifier' must be one of gain, "),
        ({"library": "nowhere.lib"}, "must be a readable netlist"),
        ({"sense_resistance": 0.0}, "sense_resistance"),
        ({"offset_spread": -1.0}, "offset_spread"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(changed: dict[str, object], words: str):
    with pytest.raises(AnalogEPError, match=words) as caught:
        build_network(spec_with(**changed))
    assert "\n" not in str(caught.value)


def test_a_library_must_have_the_subcircuit_and_nothing_beside_it(tmp_path: Path):
    path = tmp_path / "other.lib"
    path.write_text(".subckt other a b c\nr1 a b 1\n.ends\n")
    with pytest.raises(NetlistError, match=r"other.lib must have a .subckt operational_amplifier inp inn out params"):
        with_op_amps(amplified(), OpAmps(library=path))
    path.write_text(LIBRARIES["operational_amplifier.lib"] + "r1 a b 1\n")
    with pytest.raises(
        NetlistError, match=r"line \d+: a library must have subcircuits and models alone, found 'r1 a b 1'"
    ):
        with_op_amps(amplified(), OpAmps(library=path))


def test_gains_of_one_and_circuits_without_amplifiers_are_refused():
    with pytest.raises(CircuitError, match="need amplifiers to replace, found none"):
        with_op_amps(ResistiveNetwork([2, 1]).circuit(), OpAmps())
    with pytest.raises(CircuitError, match=re.escape("a gain above 1 and a positive feedback, found 1")):
        with_op_amps(ResistiveNetwork([2, 2, 1], gain=1.0).circuit(), OpAmps())


def test_relaxation_has_no_meaning_beside_them():
    with pytest.raises(AnalogEPError, match=re.escape("relaxation has no meaning with network.op_amps")):
        parse_spec(SPEC | {"relaxation": {"rtol": 1e-5}}, "a spec")


def test_a_spec_trains_by_the_circuit_of_op_amps():
    spec = spec_with()
    network = build_network(spec, torch.float64)
    assert isinstance(network, CircuitNetwork)
    cost = build_gradient(spec, network).backward(*samples())
    assert math.isfinite(float(cost))


def test_the_examples_of_the_page_run():
    page = (Path(__file__).parent.parent / "docs" / "op-amps.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    exec(compile(code, "docs/op-amps.md", "exec"), {"__name__": "example"})
    (table,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    given = tomllib.loads(table)["network"]["op_amps"]
    assert len(outputs_of(build_network(spec_with(**given)).circuit())) == 15
