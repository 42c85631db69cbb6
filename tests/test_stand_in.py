"""Ideal diodes in SPICE: the element that stands for them holds the nodes where the clamp would."""

import pytest
import torch

from analog_ep import Clamp, HardClamp, IdealDiode, Ngspice, Relaxation, ResistiveNetwork, solve
from analog_ep.circuit import Conductances, Diodes
from analog_ep.devices import PiecewiseLinearDiode
from analog_ep.netlist.netlist import NetlistWriter

CLAMPS = {
    "alternating at 0 V": lambda n: Clamp.alternating(IdealDiode(), n),
    "alternating at rails": lambda n: Clamp.alternating(IdealDiode(), n, upper=0.3, lower=-0.2),
    "between rails": lambda n: HardClamp(IdealDiode(), upper=3.0, lower=-3.0),
    "forward voltage": lambda n: HardClamp(IdealDiode(forward_voltage=0.05), upper=0.1, lower=-0.1),
}


def network(clamp: str, sizes: tuple[int, ...], gain: float, feedback: float | None = None) -> ResistiveNetwork:
    return ResistiveNetwork(
        sizes,
        diode=[CLAMPS[clamp](size) for size in sizes[1:-1]],
        gain=gain,
        feedback=feedback,
        initial_range=(1e-7, 2e-5),
        dtype=torch.float64,
    )


def _slope(diode: object) -> float:
    assert isinstance(diode, PiecewiseLinearDiode)
    return diode.increments[0]


@pytest.mark.ngspice
@pytest.mark.parametrize("clamp", CLAMPS)
@pytest.mark.parametrize(("sizes", "gain", "feedback"), [((10, 20, 5), 4.0, None), ((10, 30, 30, 5), 24.0, 1 / 96)])
def test_ngspice_comes_to_the_clamped_state(clamp, sizes, gain, feedback):
    net = network(clamp, sizes, gain, feedback)
    inputs = 5 * torch.randn(40, sizes[0], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ideal = solve(net, inputs, solver=Relaxation())
    found = solve(net, inputs, solver=Ngspice(reduced=True, timeout=20.0))
    for exact, layer in zip(ideal.layers, found.layers, strict=True):
        assert (layer - exact).abs().max() <= 1e-4 * exact.abs().max()


def test_the_slope_is_chosen_for_each_layer_and_given_ones_stay():
    net = network("alternating at 0 V", (3, 4, 4, 2), 4.0)
    with torch.no_grad():
        net.theta("stage1").mul_(1e-2)
    circuit = net.circuit()
    slopes = [_slope(clamp.diode) for clamp in net.spice_clamps]
    for layer, slope in enumerate(slopes, start=1):
        nodes = torch.tensor(circuit.layers[f"h{layer}"].copy())
        crossbar, diodes = circuit.group(f"stage{layer}"), circuit.group(f"clamp{layer}_upper")
        assert isinstance(crossbar, Conductances)
        assert isinstance(diodes, Diodes)
        assert 1e6 * crossbar.siemens.reshape(len(nodes), -1).sum(1).max() <= slope
        assert _slope(diodes.device) == slope
    given = ResistiveNetwork([3, 4, 2], diode=IdealDiode(on_conductance=2.0))
    assert given.spice_clamps[0].diode == PiecewiseLinearDiode((0.0,), (2.0,))


def test_the_tolerance_of_currents_follows_what_the_rounding_of_a_steep_clamp_leaves():
    flat, steep = (network(clamp, (3, 4, 2), 4.0).circuit() for clamp in ("alternating at 0 V", "between rails"))
    cards = [NetlistWriter(circuit, lambda group: [0.0] * len(group)).options_card() for circuit in (flat, steep)]
    assert "abstol=1e-15" in cards[0]
    diodes = steep.group("clamp1_upper")
    assert isinstance(diodes, Diodes)
    slope = _slope(diodes.device)
    assert f"abstol={slope * 3.0 * 64 * 2.0**-52!r}" in cards[1]
