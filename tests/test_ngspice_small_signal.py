"""The response to vanishing nudges by `.ac`, against closed forms, finite nudges and implicit differentiation."""

# Branches take scalars and lists where the fields, once set, are arrays.
# pyright: reportArgumentType=false

import numpy as np
import pytest
import torch

from analog_ep.circuit import Capacitors, CircuitBuilder, Conductances, VoltageSources
from analog_ep.devices import DiodeClamp, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.errors import NgspiceResultError, StimulusError
from analog_ep.learning.gradients.implicit import implicit_gradients
from analog_ep.learning.gradients.ngspice_small_signal import NgspiceSmallSignal
from analog_ep.learning.gradients.propagation import SmallSignal
from analog_ep.networks import ResistiveNetwork
from analog_ep.ngspice.small_signal import small_signal_response
from analog_ep.stimulus import CrossEntropy, SquaredError

pytestmark = pytest.mark.ngspice

SHOCKLEY = ShockleyDiode(saturation_current=1e-9)
KINKED = PiecewiseLinearDiode((0.0,), (1e-3,), leakage=1e-9)


def divider(*, outputs: bool = True):
    """Two outputs of 0.5 kΩ and 0.8 kΩ to ground, one with a capacitor that a direct current does not see."""
    builder = CircuitBuilder("t")
    x, a, b = builder.add_nodes(["x", "a", "b"]).tolist()
    builder.add(VoltageSources("x", x, 0, 0.0, 0))
    builder.add(Conductances("r", [x, a, x, b], [a, 0, b, 0], [1e-3, 1e-3, 1e-3, 2.5e-4]))
    builder.add(Capacitors("c", a, 0, 1.0))
    if outputs:
        builder.set_outputs(np.array([a, b]), np.array([0, a]))
    return builder.build()


@pytest.mark.parametrize("reduced", [False, True])
def test_a_linear_circuit(reduced):
    currents = np.array([[1.0, 0.0], [0.0, 1.0], [-2.0, 3.0]])
    found = small_signal_response(divider(), np.ones((3, 1)), currents, reduced=reduced, processes=2)
    first, second = currents.T
    expected = np.stack([0 * first, 0 * first, 500 * (first - second), 800 * second], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_what_a_small_signal_cannot_do():
    with pytest.raises(StimulusError, match="a nudge needs outputs, found none"):
        small_signal_response(divider(outputs=False), np.ones((1, 1)), np.ones((1, 0)))


def test_a_failed_sample_is_named(tmp_path):
    script = tmp_path / "fake"
    script.write_text('#!/bin/sh\nif [ "$1" = --version ]; then echo "** ngspice-39 :"; exit 0; fi\necho singular\n')
    script.chmod(0o755)
    with pytest.raises(NgspiceResultError, match=r"^sample 0: ngspice must run without complaint, found: singular"):
        small_signal_response(divider(), np.ones((2, 1)), np.ones((2, 2)), executable=script)


@pytest.mark.parametrize("drive", ["differential", "single"])
@pytest.mark.parametrize("diode", [SHOCKLEY, KINKED, DiodeClamp(SHOCKLEY, upper=0.2, lower=-0.1)])
@pytest.mark.parametrize("cost", [SquaredError(), CrossEntropy(0.1)])
def test_the_exact_gradient_in_every_layer(drive, diode, cost):
    network = ResistiveNetwork([3, 5, 4, 2], diode=diode, drive=drive, dtype=torch.float64, seed=1)
    random = torch.Generator().manual_seed(5)
    inputs = 2 * torch.randn(2, 2, 3, dtype=torch.float64, generator=random)
    targets = torch.eye(2, dtype=torch.float64).expand(2, 2, 2)
    value, gradients = NgspiceSmallSignal(network, cost, Ngspice(reduced=drive == "single")).gradients(inputs, targets)
    exact = implicit_gradients(network, cost, inputs, targets)
    in_torch = SmallSignal(network, cost).gradients(inputs, targets)
    torch.testing.assert_close(value, in_torch[0], rtol=1e-9, atol=0)
    for name, gradient in gradients.items():
        assert gradient.norm() > 0
        assert float(torch.cosine_similarity(gradient.flatten(), exact[name], dim=0)) > 1 - 1e-9
        expected = network.reference_conductance * exact[name].reshape(gradient.shape)
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))
