"""Thermal noise of sampled reads: its rms is that of kT/C, and it enters the gradient of the phases as it must."""

import math

import pytest
import torch
from resistive import resistive_network

from analog_ep.circuit import sampled_noise
from analog_ep.errors import CircuitError, SpecError
from analog_ep.learning import EquilibriumPropagation
from analog_ep.runs.building import build_cost, build_dataset, build_gradient
from analog_ep.runs.chips import build_chip
from analog_ep.spec import default_spec, with_values

PICOFARAD_AT_300_K = 64.36e-6
"""√(1.380649e-23 J/K · 300 K / 1 pF), worked out by hand. [V]"""


def iris(**tables):
    tables.setdefault("gradient", {"nudging": 1e-4})
    return with_values(default_spec("iris"), **tables)


def chip_of(spec):
    chip = build_chip(spec, resistive_network(spec))
    assert chip is not None
    return chip


@pytest.mark.parametrize(("kelvin", "farads"), [(None, 1e-12), (75.0375, 1e-12), (None, 1e-14)])
def test_reads_have_the_rms_of_a_sampled_voltage(kelvin, farads):
    hardware = {} if kelvin is None else {"chip": {"temperature": kelvin}}
    chip = chip_of(iris(converters={"adc_capacitance": farads}, **hardware))
    expected = PICOFARAD_AT_300_K * math.sqrt(1e-12 / farads * (300.15 if kelvin is None else kelvin) / 300)
    still = tuple(torch.zeros(20000, n, dtype=torch.float64) for n in (10, 6))
    generator = torch.Generator().manual_seed(1)
    first, second = (chip.read(still, generator) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        # 120,000 values: a standard error of 0.2 %.
        assert float(one.std()) == pytest.approx(expected, rel=0.01)
        # Each read is of its own: the difference of two has twice the power.
        assert float((one - other).std()) == pytest.approx(math.sqrt(2) * expected, rel=0.01)


def test_it_adds_to_the_noise_of_the_conversion():
    converters = chip_of(iris(converters={"adc_capacitance": 1e-12, "adc_noise": 1e-4})).converters
    assert converters is not None
    assert converters.adc[0].noise == pytest.approx(math.hypot(1e-4, sampled_noise(1e-12)))


@pytest.mark.parametrize("variant", ["positive", "centered"])
def test_the_noise_of_the_gradient_is_the_one_that_independent_reads_give(variant):
    """Σ var of ((v + n)² − (v + n')²)/2Δβ over all cells, with the noise of a cell that of the nodes at its ends."""
    # So weak a nudge that the noise of its own current, which follows a read, is small beside that of the response.
    strength = 1e-7
    spec = iris(converters={"adc_capacitance": 1e-12}, gradient={"nudging": strength, "variant": variant})
    net = resistive_network(spec, torch.float64)
    data, cost = build_dataset(spec), build_cost(spec)
    inputs = data.test_inputs[:8].double()
    targets = cost.encode(data.test_labels[:8], 3, like=inputs)
    method = build_gradient(spec, net, build_chip(spec, net))
    quiet = EquilibriumPropagation(net, strength, cost, variant).gradients(inputs, targets)[1]
    draws = [method.gradients(inputs, targets)[1] for _ in range(40)]
    predicted = _predicted_variance(net, inputs, strength if variant == "positive" else 2 * strength)
    for name, clean in quiet.items():
        noise = torch.stack([draw[name] for draw in draws]) - clean
        measured = float(noise.square().sum((1, 2)).mean())
        # 40 draws of some 50 nodes' reads: a standard error below 5 %.
        assert measured == pytest.approx(predicted[name], rel=0.15)
        snr = float(clean.norm()) / math.sqrt(measured)
        assert snr == pytest.approx(float(clean.norm()) / math.sqrt(predicted[name]), rel=0.08)


def _predicted_variance(net, inputs, between):
    """Of the mean gradient by θ, by parameter, from reads of variance σ² in two phases that are Δβ apart."""
    circuit, sigma2 = net.circuit(), sampled_noise(1e-12) ** 2
    volts = EquilibriumPropagation(net, 1e-7).solver.solve(net, inputs).voltages
    # Amplifiers pass the noise of the read before them on, a times.
    kinds = {"a": net.gain**2, "h": 1.0, "o": 1.0}
    read = torch.tensor([kinds.get(name[0], 0.0) for name in circuit.node_names], dtype=torch.float64)
    result = {}
    for group, name, _ in circuit.trained_groups():
        first, second = (torch.tensor(nodes) for nodes in group.ends())
        across = volts[:, first] - volts[:, second]
        variance = sigma2 * (read[first] + read[second])
        share = float(net.weight_shares()[name]) * net.reference_conductance / between / len(inputs)
        result[name] = float((share**2 * 2 * (across**2 * variance + variance**2 / 2)).sum())
    return result


@pytest.mark.parametrize(
    ("converters", "gradient", "message"),
    [
        ({"adc_capacitance": 0.0}, {}, "converters.adc_capacitance must be greater than 0, found 0.0"),
        ({"adc_capacitance": -1e-12}, {}, "converters.adc_capacitance must be greater than 0, found -1e-12"),
        ({"adc_capacitance": 1e-12}, {"method": "small_signal"}, "gradient.method must be .*ep.*found .*small_signal"),
    ],
)
def test_what_cannot_be_sampled_is_refused(converters, gradient, message):
    with pytest.raises(SpecError, match=message):
        iris(converters=converters, gradient=gradient)


def test_a_capacitance_that_holds_nothing_is_refused():
    with pytest.raises(CircuitError, match="must be positive, found 0 F"):
        sampled_noise(0)
