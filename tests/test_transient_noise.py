"""Noise of the outputs over time against kT/C and ngspice's own spectrum."""

import math

import numpy as np
import pytest
import torch
from test_studies import KELVIN, SAMPLE, network, single

from analog_ep.analyses.noise import output_noise
from analog_ep.analyses.transient_noise import output_noise_over_time
from analog_ep.circuit import CircuitBuilder, Diodes, johnson_currents, shot_currents
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.constants import BOLTZMANN, ELEMENTARY_CHARGE
from analog_ep.errors import StimulusError
from analog_ep.ngspice.transient_noise import transient_noise


@pytest.mark.ngspice
def test_kt_over_c_over_time():
    tau, length = 1e-12 / 3e-5, 2000
    found = output_noise_over_time(single(1e-12), np.ones(1), interval=tau / 5, samples=5 * length, burn_in=50)
    # A current held for an interval of 2 x time constants loses 1 − tanh(x)/x of the variance.
    variance = BOLTZMANN * KELVIN / 1e-12 * math.tanh(0.1) / 0.1
    assert found.covariance[0, 0] == pytest.approx(variance, rel=4 * math.sqrt(2 / length))
    assert abs(found.outputs.mean()) < 4 * math.sqrt(2 * variance / length)
    assert found.rms[0] == math.sqrt(found.covariance[0, 0])
    assert found.times[-1] == pytest.approx((5 * length - 1) * tau / 5)


@pytest.mark.ngspice
@pytest.mark.parametrize("reduced", [False, True])
def test_noise_of_a_network_over_time(reduced):
    circuit = with_node_capacitance(network().circuit(), 1e-12)
    expected = output_noise(circuit, SAMPLE.numpy()).rms
    found = output_noise_over_time(circuit, SAMPLE.numpy(), interval=5e-10, samples=2000, burn_in=100, reduced=reduced)
    # The outputs settle in 5 ns: 200 time constants.
    np.testing.assert_allclose(found.rms, expected, rtol=4 * math.sqrt(0.5 / 200))


@pytest.mark.ngspice
def test_noise_that_follows_the_seed():
    circuit = with_node_capacitance(network().circuit(), 1e-12)
    first, again, other = (
        output_noise_over_time(circuit, SAMPLE.numpy(), interval=1e-9, samples=5, seed=seed).outputs
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-6


@pytest.mark.ngspice
def test_one_phase_has_the_noise_of_several():
    circuit = single(1e-12)
    free = transient_noise(circuit, np.ones(1), johnson_currents, interval=5e-9, samples=400, n_copies=1).voltages
    pair = transient_noise(
        circuit, np.ones(1), johnson_currents, interval=5e-9, samples=400, n_copies=1, nudges=(None, None)
    )
    assert free.std() > 0
    np.testing.assert_allclose(pair.voltages[:, 0].std(), free.std(), rtol=0.3)
    np.testing.assert_allclose(pair.voltages[:, 0], pair.voltages[:, 1], rtol=0, atol=1e-7)


def test_shot_noise_of_both_signs_of_current():
    circuit = network().circuit()
    voltages = np.linspace(-0.3, 0.3, circuit.n_nodes)
    found = shot_currents(circuit, voltages)
    groups = circuit.of_kind(Diodes)
    across = np.concatenate([voltages[group.anode] - voltages[group.cathode] for group in groups])
    thermal = BOLTZMANN * KELVIN / ELEMENTARY_CHARGE
    # Far enough from the reverse tail of ngspice's model the junction follows the exponential.
    forward = across > -3 * thermal
    current = 1e-9 * np.expm1(across / thermal)
    # S = q (i + 2 IS): what crosses forwards, and what crosses backwards.
    np.testing.assert_allclose(found.density[forward], ELEMENTARY_CHARGE * (current[forward] + 2e-9), rtol=1e-4)
    assert (across < 0).any()
    assert len(found) == len(across)
    assert bool((torch.from_numpy(found.density) > 0).all())


def test_noise_that_cannot_be():
    for circuit in (single(None), CircuitBuilder("bare").build()):
        words = f"noise over time needs outputs and capacitors, found none in {circuit.title!r}"
        with pytest.raises(StimulusError, match=words):
            output_noise_over_time(circuit, np.ones(circuit.n_inputs), interval=1e-9, samples=5)
