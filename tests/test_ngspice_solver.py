"""Circuits with closed-form solutions, solved by ngspice."""

# Branches take scalars and lists where the fields, once set, are arrays.
# pyright: reportArgumentType=false

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import lambertw

from analog_ep.circuit import (
    Amplifiers,
    Circuit,
    CircuitBuilder,
    Conductances,
    CurrentControlledCurrentSources,
    CurrentControlledVoltageSources,
    CurrentSources,
    Diodes,
    VoltageControlledCurrentSources,
    VoltageControlledVoltageSources,
    VoltageSources,
)
from analog_ep.constants import BOLTZMANN, ELEMENTARY_CHARGE
from analog_ep.devices import PiecewiseLinearDiode, ShockleyDiode
from analog_ep.equilibrium.equilibrium import Equilibrium, solve
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.errors import CircuitError, ConvergenceError, StimulusError
from analog_ep.netlist.netlist import SpiceOptions
from analog_ep.ngspice.process import engine_version
from analog_ep.stimulus import CrossEntropy, Nudge, SquaredError

pytestmark = pytest.mark.ngspice

RTOL = 1e-10

# At the default reltol ngspice may end one Newton step early, up to reltol·|v| from the solution.
TIGHT = SpiceOptions(reltol=1e-12)
INPUTS = torch.tensor([[1.0], [-2.5], [0.0], [3.7]], dtype=torch.float64)


def driven(*names: str) -> tuple[CircuitBuilder, list[int]]:
    """A builder whose first node is held at the one input."""
    builder = CircuitBuilder("t")
    nodes = builder.add_nodes(["x", *names]).tolist()
    builder.add(VoltageSources("x", nodes[0], 0, 0.0, 0))
    return builder, nodes


def voltages(circuit: Circuit, *names: str, inputs: torch.Tensor = INPUTS, **keywords) -> np.ndarray:
    state = solve(circuit, inputs, solver=Ngspice(**keywords))
    return state.voltages.numpy()[:, [circuit.node(name) for name in names]].squeeze()


def test_divider():
    builder, (x, middle) = driven("middle")
    builder.add(Conductances("r", [x, middle], [middle, 0], [1e-3, 3e-3]))
    found = solve(builder.build(), INPUTS, solver=Ngspice())
    np.testing.assert_allclose(found.voltages.numpy(), np.outer(INPUTS, [0, 1, 0.25]), rtol=RTOL, atol=1e-15)
    assert found.converged.all()
    assert found.iterations == 4
    assert "ngspice solved 4 samples; largest Kirchhoff residual" in found.message


def test_one_sample_no_sample_and_batch_shapes():
    builder, (x, middle) = driven("middle")
    builder.add(Conductances("r", [x, middle], [middle, 0], 1e-3))
    circuit = builder.build()
    assert voltages(circuit, "middle", inputs=INPUTS[:1]) == pytest.approx(0.5, rel=RTOL)
    assert solve(circuit, INPUTS[0], solver=Ngspice()).voltages.shape == (3,)
    assert solve(circuit, INPUTS[:0], solver=Ngspice()).voltages.shape == (0, 3)
    assert solve(circuit, INPUTS.reshape(2, 2, 1), solver=Ngspice()).voltages.shape == (2, 2, 3)


def test_a_circuit_whose_nodes_are_all_held_and_reversed_sources():
    builder = CircuitBuilder("t")
    a, b = builder.add_nodes(["a", "b"])
    builder.add(VoltageSources("s", [a, 0], [0, b], 0.5, [0, 0], [2.0, 1.0]))
    builder.add(Conductances("r", a, b, 1e-3))
    np.testing.assert_array_equal(voltages(builder.build(), "a", "b", inputs=INPUTS[:2]), [[2.5, -1.5], [-4.5, 2.0]])


def test_chunks_agree_with_one_run():
    builder, (x, a) = driven("a")
    builder.add(Conductances("r", x, a, 1e-4))
    builder.add_diodes("d", a, 0, ShockleyDiode())
    inputs = torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None]
    whole, parts = (voltages(builder.build(), "a", inputs=inputs, options=TIGHT, max_points=n) for n in (2000, 3))
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-13)


def test_floating_source_between_free_nodes():
    builder, (x, a, b) = driven("a", "b")
    builder.add(Conductances("r", [x, b], [a, 0], 1e-3))
    builder.add(VoltageSources("s", a, b, 0.5, 0, 1.0))
    # The loop current is i = (x − (0.5 + x))/2 kΩ whatever x is.
    np.testing.assert_allclose(voltages(builder.build(), "b"), -0.25, rtol=RTOL)


def test_voltage_controlled_sources():
    builder, (x, control, e, g) = driven("control", "e", "g")
    builder.add(Conductances("r", [x, control, e, g], [control, 0, 0, 0], [1e-3, 1e-3, 1e-4, 2e-3]))
    builder.add(VoltageControlledVoltageSources("e", e, 0, control, x, 3.0))
    builder.add(VoltageControlledCurrentSources("g", g, 0, control, 0, 1e-3))
    expected = INPUTS.numpy() * [-1.5, -0.25]
    np.testing.assert_allclose(voltages(builder.build(), "e", "g"), expected, rtol=RTOL, atol=1e-15)


def test_current_controlled_sources():
    builder, (x, meter, f, h, h2) = driven("meter", "f", "h", "h2")
    builder.add(Conductances("r", [x, f, h, h2], [meter, 0, 0, 0], [1e-3, 2e-3, 1e-4, 1e-4]))
    builder.add(VoltageSources("meter", meter, 0, 0.0))
    builder.add(CurrentControlledCurrentSources("f", f, 0, "meter", 0, 4.0))
    builder.add(CurrentControlledVoltageSources("h", h, 0, "meter", 0, 500.0))
    # Through the driven source itself flows −x/1 kΩ.
    builder.add(CurrentControlledVoltageSources("h2", h2, 0, "x", 0, 500.0))
    expected = INPUTS.numpy() * [-2.0, 0.5, -0.5]
    np.testing.assert_allclose(voltages(builder.build(), "f", "h", "h2"), expected, rtol=RTOL, atol=1e-15)


@pytest.mark.parametrize("feedback", [0.25, 4.0, 0.7])
def test_single_ended_amplifier(feedback):
    gain, g, load = 4.0, 1e-3, 2e-4
    builder, (x, u, out) = driven("u", "out")
    builder.add(Conductances("r", [x, out], [u, 0], [g, load]))
    builder.add(Amplifiers("amp", u, out, gain, feedback))
    # g (x − u) = k · load · a·u
    u_expected = INPUTS.numpy()[:, 0] * g / (g + feedback * load * gain)
    expected = np.stack([u_expected, gain * u_expected], axis=1)
    np.testing.assert_allclose(voltages(builder.build(), "u", "out"), expected, rtol=RTOL, atol=1e-15)


@pytest.mark.parametrize("feedback", [1 / 3, 3.0, 0.9])
def test_differential_amplifier(feedback):
    gain, g, loads = 3.0, 1e-3, np.array([2e-4, 5e-4])
    builder, (x, u, p, n) = driven("u", "p", "n")
    builder.add(Conductances("r", [x, p, n], [u, 0, 0], [g, *loads]))
    builder.add(CurrentSources("pull", p, 0, 1e-4))
    builder.add(Amplifiers("amp", u, p, gain, feedback, n))
    # i₊ − i₋ = a u (g₊ + g₋) + 0.1 mA
    u_expected = (INPUTS.numpy()[:, 0] * g - feedback * 1e-4) / (g + feedback * gain * loads.sum())
    np.testing.assert_allclose(
        voltages(builder.build(), "u", "p", "n"), np.outer(u_expected, [1, gain, -gain]), rtol=RTOL, atol=1e-15
    )


def test_diode_against_lambert_w():
    conductance, saturation, ideality = 1e-3, 1e-9, 1.7
    builder, (x, a) = driven("a")
    builder.add(Conductances("r", x, a, conductance))
    builder.add_diodes("d", a, 0, ShockleyDiode(saturation, ideality, gmin=0.0))
    inputs = torch.tensor([[0.1], [0.5], [1.0], [5.0]], dtype=torch.float64)
    emission = ideality * BOLTZMANN * 300.15 / ELEMENTARY_CHARGE
    shifted = inputs.numpy()[:, 0] + saturation / conductance
    ratio = saturation / (conductance * emission)
    expected = shifted - emission * lambertw(ratio * np.exp(shifted / emission)).real
    np.testing.assert_allclose(voltages(builder.build(), "a", inputs=inputs), expected, rtol=1e-9)
    tight = voltages(builder.build(), "a", inputs=inputs, options=TIGHT)
    np.testing.assert_allclose(tight, expected, rtol=0, atol=1e-12)


def test_diode_with_series_resistance_at_another_temperature():
    saturation, kelvin, series = 1e-12, 323.15, 250.0
    builder, (x, a) = driven("a")
    builder.add(Conductances("r", x, a, 1e-3))
    builder.add_diodes("d", a, 0, ShockleyDiode(saturation, temperature=kelvin, series_resistance=series))
    thermal = BOLTZMANN * kelvin / ELEMENTARY_CHARGE
    hot = saturation * np.exp((kelvin / 300.15 - 1) * 1.11 / thermal) * (kelvin / 300.15) ** 3

    def junction(total: float) -> float:
        def excess(v: float) -> float:
            return v + (1e3 + series) * (hot * np.expm1(v / thermal) + 1e-15 * v) - total

        return float(brentq(excess, -1, 1, xtol=1e-15))  # pyright: ignore

    inputs = torch.tensor([[0.3], [1.0], [2.0]], dtype=torch.float64)
    expected = [junction(total) for total in inputs[:, 0].tolist()]
    np.testing.assert_allclose(voltages(builder.build(), "d_j0", inputs=inputs), expected, rtol=1e-9)
    tight = voltages(builder.build(), "d_j0", inputs=inputs, options=TIGHT)
    np.testing.assert_allclose(tight, expected, rtol=0, atol=1e-12)


def test_piecewise_linear_diode_of_each_region():
    builder, (x, a) = driven("a")
    builder.add(Conductances("r", x, a, 1e-3))
    builder.add_diodes("d", a, 0, PiecewiseLinearDiode((-0.5, 0.5), (-1e-3, 2e-3), leakage=1e-3, offset=0.1))
    # i = 1 mS·v below −0.4 V, −0.4 mA between, and −0.4 mA + 2 mS (v − 0.6) above 0.6 V, shifted so that i(0) = 0.
    inputs = torch.tensor([[-2.0], [0.3], [3.6]], dtype=torch.float64)
    expected = [(-2.0 - 0.4) / 2, 0.3, (3.6 + 1.2) / 3]
    np.testing.assert_allclose(voltages(builder.build(), "a", inputs=inputs), expected, rtol=RTOL)


OPEN_OUTPUTS = np.array([0.4, -1.2])
"""Outputs per volt of input, without a nudge."""


def two_outputs() -> Circuit:
    """Two differential outputs of 2 kΩ each, whose open voltages are fixed multiples of the input."""
    builder, (x, *_) = driven("p0", "p1", "n0", "n1")
    sources = builder.add_nodes(["s0", "s1"])
    nodes = [builder.build().node(name) for name in ("p0", "p1", "n0", "n1")]
    builder.add(VoltageSources("s", sources, 0, 0.0, 0, OPEN_OUTPUTS))
    builder.add(Conductances("r", nodes, [*sources, 0, 0], 1e-3))
    builder.add(Conductances("rx", x, 0, 1e-3))
    builder.set_outputs(np.array(nodes[:2]), np.array(nodes[2:]))
    return builder.build()


TARGETS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.3, 0.7]], dtype=torch.float64)


def nudged(nudge: Nudge, start: Equilibrium | None = None) -> np.ndarray:
    return solve(two_outputs(), INPUTS, nudge, solver=Ngspice(), start=start).outputs.numpy()


@pytest.mark.parametrize("strength", [1e-4, -1e-4])
def test_elastic_squared_error_is_a_conductance(strength):
    shape = 2e3 * strength
    expected = (INPUTS.numpy() * OPEN_OUTPUTS + shape * TARGETS.numpy()) / (1 + shape)
    np.testing.assert_allclose(
        nudged(Nudge(strength, TARGETS, SquaredError(), "elastic")), expected, rtol=RTOL, atol=1e-14
    )


@pytest.mark.parametrize("strength", [1e-4, -1e-4, 0.0])
def test_frozen_squared_error_is_a_current(strength):
    free = INPUTS.numpy() * OPEN_OUTPUTS
    expected = free + 2e3 * strength * (TARGETS.numpy() - free)
    nudge = Nudge(strength, TARGETS, SquaredError())
    np.testing.assert_allclose(nudged(nudge), expected, rtol=RTOL, atol=1e-14)
    start = solve(two_outputs(), INPUTS, solver=Ngspice())
    np.testing.assert_allclose(nudged(nudge, start), expected, rtol=RTOL, atol=1e-14)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_cross_entropy(scale):
    free = INPUTS.numpy() * OPEN_OUTPUTS
    resistance, strength = 2e3, 1e-5 * scale

    def sigmoid(difference: float) -> float:
        return 0.5 * (1 + np.tanh(difference / 2))

    frozen = nudged(Nudge(strength, TARGETS, CrossEntropy(scale)))
    elastic = nudged(Nudge(strength, TARGETS, CrossEntropy(scale), "elastic"))
    for sample, (open_outputs, target) in enumerate(zip(free, TARGETS.numpy(), strict=True)):
        open_difference = open_outputs[0] - open_outputs[1]

        def excess(difference: float, o: float = open_difference, y: float = target[0]) -> float:
            return difference - o - 2 * resistance * strength / scale * (y - sigmoid(difference / scale))

        difference = brentq(excess, -20, 20, xtol=1e-15)
        for found, logit in ((frozen, open_difference), (elastic, difference)):
            current = strength / scale * (target[0] - sigmoid(logit / scale))
            expected = open_outputs + resistance * current * np.array([1, -1])
            np.testing.assert_allclose(found[sample], expected, rtol=RTOL, atol=1e-10)


def test_nudges_of_the_wrong_shape():
    with pytest.raises(StimulusError, match=r"targets must have shape \(4, 2\), found \(4, 1\)"):
        nudged(Nudge(1e-3, TARGETS[:, :1], SquaredError(), "elastic"))
    with pytest.raises(StimulusError, match="a frozen nudge needs the outputs of the free state"):
        Ngspice().solve_circuit(two_outputs(), INPUTS.numpy(), Nudge(1e-3, TARGETS, SquaredError()))
    builder, (x, a) = driven("a")
    builder.add(Conductances("r", [x, a], [a, 0], 1e-3))
    with pytest.raises(StimulusError, match="a nudge needs outputs, found none"):
        solve(builder.build(), INPUTS, Nudge(1e-3, TARGETS, SquaredError(), "elastic"), solver=Ngspice())
    with pytest.raises(StimulusError, match="max_points must be at least 1, found 0"):
        Ngspice(max_points=0)


def test_a_broken_circuit_never_reaches_ngspice(monkeypatch, tmp_path):
    monkeypatch.setenv("ANALOG_EP_NGSPICE", str(tmp_path / "absent"))
    builder, (x, a, b) = driven("a", "b")
    builder.add(Conductances("r", x, a, 1e-3))
    builder.add(CurrentSources("i", 0, b, 1e-3))
    with pytest.raises(CircuitError, match="found an open node 'b'"):
        solve(builder.build(), INPUTS, solver=Ngspice())


def test_a_singular_circuit_names_the_samples_and_the_node():
    builder, (x, a) = driven("a")
    builder.add(Conductances("r", x, a, 1e-3))
    builder.add(VoltageControlledCurrentSources("g", 0, a, a, 0, 1e-3))
    state = solve(builder.build(), INPUTS, solver=Ngspice(), throw=False)
    assert not state.converged.any()
    assert state.voltages.isnan().all()
    assert state.voltage_error_bound.isinf().all()
    with pytest.raises(ConvergenceError, match=r"4 of 4 that it did not .*singular matrix: check node a"):
        solve(builder.build(), INPUTS, solver=Ngspice())


def off(folder: Path, change: str) -> Path:
    """An ngspice that gives another `volts` for a circuit's last node at the first of two samples."""
    script = folder / "ngspice_wrong"
    script.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, struct, subprocess, sys\n"
        f"status = subprocess.run([{shutil.which('ngspice')!r}, *sys.argv[1:]]).returncode\n"
        "path = pathlib.Path('out.raw')\n"
        "if path.exists():\n"
        "    data = bytearray(path.read_bytes())\n"
        "    volts = struct.unpack('<d', data[-24:-16])[0]\n"
        f"    data[-24:-16] = struct.pack('<d', {change})\n"
        "    path.write_bytes(data)\n"
        "sys.exit(status)\n"
    )
    script.chmod(0o755)
    engine_version.cache_clear()
    return script


def test_voltages_that_break_kirchhoffs_law_are_not_converged(tmp_path):
    script = off(tmp_path, "volts * (1 + 1e-5)")
    builder, (x, a) = driven("a")
    builder.add(Conductances("r", [x, a], [a, 0], 1e-3))
    circuit, inputs = builder.build(), INPUTS[:2]
    state = solve(circuit, inputs, solver=Ngspice(script), throw=False)
    assert state.converged.tolist() == [False, True]
    assert float(state.residual[0]) == pytest.approx(1e-8, rel=1e-3)
    with pytest.raises(ConvergenceError, match=r"found 1 of 2 samples that do not \(0\): .* left over at node 'a'"):
        solve(circuit, inputs, solver=Ngspice(Path(script)))


@pytest.mark.parametrize(("volts", "converged"), [(5e-13, True), (2e-11, False)])
def test_what_rounding_costs_at_a_stiff_clamp_is_forgiven_and_no_more(tmp_path, volts, converged):
    """0.5 pV is 50 nA beside a diode of 100 kS, far more than a relative 1e-6 of the node's current."""
    builder, (x, a) = driven("a")
    builder.add(Conductances("r", x, a, 1e-3))
    builder.add(Diodes("d", a, 0, PiecewiseLinearDiode((0.0,), (1e5,))))
    state = solve(builder.build(), INPUTS[:2], solver=Ngspice(off(tmp_path, f"volts + {volts!r}")), throw=False)
    assert float(state.residual[0]) == pytest.approx(volts * 1e5, rel=1e-3)
    assert bool(state.converged[0]) is converged
