"""Gradients that lock-ins read while the network computes: exact ones, their noise, and how long to read."""

# Branches take scalars and lists where the fields, once set, are arrays.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

import json
import math

import numpy as np
import pytest
import torch
from test_spec_methods import parse_spec, refused, tables_of

import analog_ep as aep
from analog_ep import cli
from analog_ep.analyses.analyse import analyse
from analog_ep.analyses.conditions import FOLDER, Conditions
from analog_ep.circuit import Capacitors, Circuit, CircuitBuilder, Conductances, VoltageSources
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.circuit.noise import johnson_currents, shot_currents
from analog_ep.dynamics.linear_noise import LinearNoise
from analog_ep.dynamics.linearised import Linearised
from analog_ep.equilibrium.oscillation import Oscillation
from analog_ep.errors import StimulusError
from analog_ep.learning.gradients.branch_gradient import likeness
from analog_ep.learning.gradients.reading_noise import reading_noise
from analog_ep.ngspice.lock_in import lock_in, lock_in_samples
from analog_ep.ngspice.noisy_lock_in import Protocol, noisy_lock_in
from analog_ep.runs.building import build_gradient, build_network
from analog_ep.runs.folder import Run
from analog_ep.stimulus import Nudge

INPUTS = torch.tensor([[1.5, -1.0], [-0.7, 1.2], [0.4, 0.9]], dtype=torch.float64)
TARGETS = torch.tensor([[0.5], [-0.3], [0.2]], dtype=torch.float64)
OSCILLATION = Oscillation(2e4)


def conducting(dtype: torch.dtype = torch.float64) -> aep.ResistiveNetwork:
    """With diodes that bend the response at these inputs, and with two stages of different weight."""
    torch.manual_seed(0)
    return aep.ResistiveNetwork([2, 3, 1], diode=aep.ShockleyDiode(1e-6), dtype=dtype)


def scaled(network: aep.ResistiveNetwork, gradient: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.flatten() / network.parameter_scale for name, value in gradient.items()}


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("solver", "nudging", "distance"),
    [(None, 1e-8, 1e-8), (aep.Newton(), 1e-6, 1e-6), (aep.Ngspice(), 1e-6, 1e-5), (aep.Ngspice(), 1e-8, 1e-4)],
)
def test_the_gradient_is_that_of_implicit_differentiation(solver, nudging, distance):
    network = conducting()
    cost, found = aep.LockInEquilibriumPropagation(network, nudging, solver=solver).gradients(INPUTS, TARGETS)
    own, exact = aep.ImplicitDifferentiation(network).gradients(INPUTS, TARGETS)
    alike = likeness(found, exact)
    assert alike.cosine >= 0.9999
    assert alike.ratio == pytest.approx(1, abs=distance)
    assert float(cost) == pytest.approx(float(own), rel=1e-9)


def test_the_bias_is_quadratic_in_the_nudging():
    network = conducting()
    _, exact = aep.ImplicitDifferentiation(network).gradients(INPUTS, TARGETS)
    off = []
    for nudging in (1e-5, 2e-5):
        _, found = aep.LockInEquilibriumPropagation(network, nudging, solver=aep.Newton()).gradients(INPUTS, TARGETS)
        off.append(float((found["stage1"] - exact["stage1"]).norm()))
    assert off[1] / off[0] == pytest.approx(4, rel=0.05)


def test_single_precision():
    network = conducting(torch.float32)
    _, found = aep.LockInEquilibriumPropagation(network, 1e-6).gradients(INPUTS, TARGETS)
    _, exact = aep.ImplicitDifferentiation(network).gradients(INPUTS, TARGETS)
    assert found["stage1"].dtype == torch.float32
    assert likeness(found, exact).cosine >= 0.9999


def linear() -> Circuit:
    """A lattice without diodes, one branch of which stands in two places."""
    builder = CircuitBuilder("lattice")
    source, a, b, c = builder.add_nodes(["source", "a", "b", "c"]).tolist()
    builder.add(VoltageSources("v", source, 0, 0.0, 0))
    ends = [source, a, b, a, c], [a, b, 0, c, 0]
    builder.add(Conductances("r", *ends, [1e-5, 2e-5, 1e-5, 3e-5, 2e-5], "r", [0, 1, 2, 3, 1]))
    builder.set_outputs([b, c], [0, a])
    return builder.build()


def test_noise_of_a_lattice_by_an_exact_walk():
    """Readings of an Ornstein–Uhlenbeck process, whose steps are exact, against the predicted variances."""
    network = aep.CircuitNetwork(linear(), (1e-6, 1e-4))
    inputs, targets = torch.tensor([[1.0]], dtype=torch.float64), torch.tensor([[0.1, 0.3]], dtype=torch.float64)
    # Intervals below the time constants, 20 ns and more: a walk that is looked at more seldom folds its noise back.
    nudge, frequency, points, chains = Nudge(1e-9, targets, aep.SquaredError()), 2e5, 400, 3000
    predicted = reading_noise(network, inputs, nudge, Oscillation(frequency))
    loaded = with_node_capacitance(network.circuit(), Oscillation().capacitance)
    walk = LinearNoise(loaded, johnson_currents(loaded))
    free = aep.solve(loaded, inputs, solver=aep.Newton())
    state = Linearised(loaded, inputs[0].numpy(), free.voltages[0].numpy())
    response = state.response(state.into_outputs(nudge.current(free.outputs)[0].numpy())[:, None], frequency)[:, 0].real
    mean, phase = np.tile(free.voltages[0].numpy(), (chains, 1)), np.tile(response, (chains, 1))
    at = [loaded.node(name) for name in walk.nodes]
    for n, noise in enumerate(walk.states(1 / (frequency * points), 2 * points, chains, seed=3)):
        if n >= points:
            mean[:, at] += noise.numpy() / points
            phase[:, at] += 2 * math.cos(2 * math.pi * n / points) * noise.numpy() / points
    (group,) = loaded.trainable_groups()
    first, second = group.ends()
    each = (mean[:, first] - mean[:, second]) * (phase[:, first] - phase[:, second]) / nudge.strength
    gradient = np.stack([np.bincount(group.index, row) for row in each])
    variance = gradient.var(axis=0, ddof=1)
    np.testing.assert_allclose(variance, predicted.variance(1 / frequency)["r"], rtol=0.12)
    off = gradient.mean(axis=0) - predicted.gradient["r"].numpy()
    assert (np.abs(off) < 4 * np.sqrt(variance / chains)).all()


def test_noise_that_the_method_draws():
    network = conducting()
    inputs, targets = INPUTS[:1], TARGETS[:1]
    predicted = reading_noise(network, inputs, Nudge(3e-8, targets, aep.SquaredError()), OSCILLATION)
    method = aep.LockInEquilibriumPropagation(network, 3e-8, OSCILLATION, periods=4, noise=True, seed=2)
    drawn = [scaled(network, method.gradients(inputs, targets)[1]) for _ in range(50)]
    for name, expected in predicted.variance(4 / 2e4).items():
        found = torch.stack([each[name] for each in drawn]).var(0)
        assert float(found.sum()) == pytest.approx(float(expected.sum()), rel=0.2)
        assert ((found / expected > 0.5) & (found / expected < 1.8)).all()
    _, exact = aep.ImplicitDifferentiation(network).gradients(inputs, targets)
    assert likeness(predicted.gradient, exact).cosine == pytest.approx(1, abs=1e-6)
    again = aep.LockInEquilibriumPropagation(network, 3e-8, OSCILLATION, periods=4, noise=True, seed=2)
    torch.testing.assert_close(scaled(network, again.gradients(inputs, targets)[1]), drawn[0], rtol=0, atol=0)


@pytest.mark.ngspice
def test_noise_in_ngspice():
    """Johnson and shot noise of a network that conducts, in a transient: its variance within 20 % of the prediction."""
    network, nudging = conducting(), 3e-7
    nudge = Nudge(nudging, TARGETS[:1], aep.SquaredError())
    predicted = reading_noise(network, INPUTS[:1], nudge, OSCILLATION)
    loaded = with_node_capacitance(network.circuit(), OSCILLATION.capacitance)
    free = aep.solve(loaded, INPUTS[:1], solver=aep.Newton())
    volts = free.voltages[0].numpy()

    def noise(whole: Circuit):
        everywhere = np.concatenate([[0.0], np.tile(volts[1:], (whole.n_nodes - 1) // (loaded.n_nodes - 1))])
        return johnson_currents(whole) + shot_currents(whole, everywhere)

    currents = nudge.current(free.outputs)[0].numpy()
    # Steps of a fiftieth of a period leave the slow noise as it is: a walk's sum follows the currents' own.
    protocol = Protocol(readings=20, points=50, n_copies=32)
    readings = noisy_lock_in(loaded, INPUTS[0].numpy(), currents, 2e4, noise, protocol)
    for group, name, index in loaded.trained_groups():
        first, second = group.ends()
        each = [part[..., first] - part[..., second] for part in (readings.mean, readings.in_phase)]
        share = predicted.gradient[name].numpy() / np.bincount(
            index, (volts[first] - volts[second]) * response_of(loaded, volts, currents, first, second) / nudging
        )
        gradient = share * (each[0] * each[1] / nudging)[..., np.argsort(index)].reshape(-1, len(index))
        variance = gradient.var(axis=0, ddof=1)
        expected = predicted.variance(1 / 2e4)[name].numpy()
        assert variance.sum() == pytest.approx(expected.sum(), rel=0.2)
        assert np.median(variance / expected) == pytest.approx(1, abs=0.2)


def response_of(circuit: Circuit, volts: np.ndarray, currents: np.ndarray, first: np.ndarray, second: np.ndarray):
    state = Linearised(circuit, INPUTS[0].numpy(), volts)
    nodes = state.response(state.into_outputs(currents)[:, None], 2e4)[:, 0].real
    return nodes[first] - nodes[second]


def test_time_and_snr_are_each_others_inverse():
    network = conducting()
    noise = reading_noise(network, INPUTS, Nudge(1e-8, TARGETS, aep.SquaredError()), OSCILLATION)
    for snr in (0.1, 1.0, 30.0):
        assert noise.snr(noise.time(snr)) == pytest.approx(snr, rel=1e-12)
    # Four times the samples with the same gradient: a quarter of the variance.
    more = reading_noise(
        network, INPUTS.repeat(4, 1), Nudge(1e-8, TARGETS.repeat(4, 1), aep.SquaredError()), OSCILLATION
    )
    assert float(more.white["stage1"].sum()) == pytest.approx(float(noise.white["stage1"].sum()) / 4)
    with pytest.raises(StimulusError, match="an SNR must be positive, and the gradient not zero, found 0"):
        noise.time(0)


def test_a_fast_nudge_is_refused_with_a_slow_one():
    method = aep.LockInEquilibriumPropagation(conducting(), 1e-6, Oscillation(5e6))
    with pytest.raises(
        StimulusError, match="must be slow against the circuit's time constants, found a lag of"
    ) as caught:
        method.gradients(INPUTS, TARGETS)
    slow = float(str(caught.value).split("at most ")[1].split(" Hz")[0])
    found = aep.LockInEquilibriumPropagation(conducting(), 1e-6, Oscillation(slow)).gradients(INPUTS, TARGETS)[1]
    assert bool(torch.isfinite(found["stage1"]).all())


@pytest.mark.ngspice
def test_ngspice_sees_a_lag_itself():
    loaded = with_node_capacitance(conducting().circuit(), 1e-12)
    with pytest.raises(
        StimulusError, match=r"must follow a sinusoidal nudge in phase, found a lag of \d+° at 5e\+06 Hz"
    ):
        lock_in_samples(loaded, INPUTS[:1].numpy(), np.array([[1e-7]]), 5e6)
    # Nothing to nudge is no lag.
    mean, in_phase = lock_in_samples(loaded, INPUTS[:1].numpy(), np.zeros((1, 1)), 2e4)
    assert np.abs(in_phase).max() < 1e-6 * np.abs(mean).max()


@pytest.mark.ngspice
def test_phasor_of_a_low_pass():
    builder = CircuitBuilder("low pass")
    x, a = builder.add_nodes(["x", "a"]).tolist()
    builder.add(VoltageSources("x", x, 0, 0.0, 0))
    builder.add(Conductances("r", x, a, 1e-5))
    builder.add(Capacitors("c", a, 0, 1e-12))
    builder.set_outputs(a, 0)
    mean, leading, lagging = (
        part[a] for part in lock_in(builder.build(), np.array([0.5]), np.array([1e-6]), 0.2e7 / (2 * np.pi)).phasor()
    )
    expected = 0.1 / (1 + 0.2j)
    assert [mean, leading, lagging] == pytest.approx([0.5, expected.real, -expected.imag], abs=1e-5)


def test_readings_that_are_too_short():
    method = aep.LockInEquilibriumPropagation(conducting(), 1e-8, OSCILLATION, periods=2, snr=1e4)
    words = r"must last [\d.e+-]+ s for an SNR of 10000, found 0.0001 s and an SNR of [\d.]+; read for [\d.e+]+ periods"
    with pytest.raises(StimulusError, match=words):
        method.gradients(INPUTS, TARGETS)
    with pytest.raises(StimulusError, match="reads whole periods, one or more, found 0"):
        aep.LockInEquilibriumPropagation(conducting(), 1e-8, periods=0)
    with pytest.raises(StimulusError, match="found 0 readings of 1 periods of 128 points in 16 copies"):
        Protocol(readings=0)
    with pytest.raises(StimulusError, match=r"positive frequency, found 0.0 Hz"):
        Oscillation(0.0)
    with pytest.raises(StimulusError, match=r"positive capacitance, found -1.0"):
        Oscillation(capacitance=-1.0)
    with pytest.raises(StimulusError, match="an even number of points, found 3"):
        Oscillation(points=3)


def test_no_noise_of_units_without_conductances():
    network = aep.HopfieldNetwork([2, 2, 1], dtype=torch.float64)
    method = aep.LockInEquilibriumPropagation(network, 0.05, Oscillation(1e2), snr=1.0)
    with pytest.raises(StimulusError, match="a noise of readings needs trainable conductances, found none in"):
        method.gradients(INPUTS.abs(), TARGETS)


def test_a_spec_names_it():
    spec = parse_spec(tables_of("lock_in", "shockley", frequency=2e4, periods=3, noise=True, snr=1.0), "test")
    method = build_gradient(spec, build_network(spec))
    assert isinstance(method, aep.LockInEquilibriumPropagation)
    assert (method.time, method.noise, method.snr) == (3 / 2e4, True, 1.0)
    refused(
        tables_of("lock_in", "shockley", kind="elastic"), 'gradient.method = "lock_in" needs gradient.kind = "frozen"'
    )


@pytest.mark.pictures
def test_the_study_of_a_run(tmp_path, capsys):
    spec = parse_spec(tables_of("lock_in", "shockley"), "test")
    Run.create(tmp_path / "run", spec).train([])
    with pytest.raises(SystemExit) as done:
        cli.main(["analyse", str(tmp_path / "run"), "lock-in", "--frequency", "100", "--snr", "20", "--json"])
    assert done.value.code in (0, None)
    said = json.loads(capsys.readouterr().out)
    (asked,) = [row for row in said["times"] if row["snr"] == 20]
    assert asked["reached"] >= 20
    assert asked["time"] * 100 == pytest.approx(round(asked["time"] * 100))
    assert (tmp_path / "run" / FOLDER / "lock-in_0_frequency=100_snr=20.png").read_bytes().startswith(b"\x89PNG")
    report = analyse(tmp_path / "run", "lock-in", 0, Conditions(frequency=100.0, snr=20.0))
    assert report.table().row_count == 6
    network = build_network(spec)
    assert said["attenuation"] == pytest.approx(1, abs=1e-3)
    assert said["samples"] == 4
    assert network.n_inputs == 2
