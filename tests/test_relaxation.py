"""Relaxation against Kirchhoff's law, Newton's method, and subtractions of tight solutions."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from layered_networks import Case, cases, examples

from analog_ep.circuit import Chip, Circuit
from analog_ep.devices import IdealDiode, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.equilibrium.equilibrium import Equilibrium, solve
from analog_ep.equilibrium.layered.relaxation import Relaxation
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.equilibrium.nodal.residual import kirchhoff_residual
from analog_ep.errors import ConvergenceError, NetworkError, StimulusError
from analog_ep.networks import ResistiveNetwork
from analog_ep.stimulus import CrossEntropy, Nudge, SquaredError

REAL = ("shockley", "piecewise")
COSTS = (SquaredError(), CrossEntropy(0.5))
RESIDUAL = {torch.float64: 1e-10, torch.float32: 1e-4}
"""Largest Kirchhoff residual, relative to the largest current through any node of the sample."""

strengths = st.sampled_from([1e-9, 1e-6, 1e-5])
kinds = st.sampled_from(["frozen", "elastic"])


def relative_residual(state: Equilibrium, circuit: Circuit, injected: torch.Tensor | None = None) -> float:
    """Largest residual of a batch, each sample's relative to its largest node current."""
    voltages = state.voltages.double().numpy()
    into = np.zeros_like(voltages)
    if injected is not None:
        assert circuit.outputs is not None
        positive, negative = circuit.outputs
        into[:, positive] += injected.double().numpy()
        into[:, negative] -= injected.double().numpy()
    residual, scale = kirchhoff_residual(circuit, voltages, into)
    largest = scale.max(1)
    return float((np.abs(residual).max(1) / np.where(largest > 0, largest, 1.0)).max())


def nudged_current(nudge: Nudge, free: Equilibrium, state: Equilibrium) -> torch.Tensor:
    return nudge.current(free.outputs if nudge.kind == "frozen" else state.outputs)


def settled(network: ResistiveNetwork, inputs: torch.Tensor, nudge: Nudge | None = None, **keywords) -> Equilibrium:
    """The state, or another example: layers that little but their amplifiers holds need thousands of sweeps."""
    state = solve(network, inputs, nudge, solver=Relaxation(max_steps=300), throw=False, **keywords)
    assume(state.converged.all())
    return state


def assert_close_voltages(found: Equilibrium, truth: Equilibrium, tolerance: float = 1e-8) -> None:
    largest = max(1.0, truth.voltages.abs().max().item())
    assert (found.voltages - truth.voltages).abs().max().item() <= tolerance * largest


@examples(230)
@given(case=cases(n_samples=4).map(lambda case: case.for_spice))
def test_free_state_agrees_with_newton(case):
    found = settled(case.network, case.inputs)
    assert_close_voltages(found, solve(case.network, case.inputs, solver=Newton()))


@examples(70)
@given(case=cases(n_samples=4, usual=True).map(lambda case: case.for_spice))
def test_usual_networks_converge_and_agree_with_newton(case):
    found = solve(case.network, case.inputs, solver=Relaxation())
    assert found.converged.all()
    assert_close_voltages(found, solve(case.network, case.inputs, solver=Newton()))


@examples(30)
@given(case=cases().map(lambda case: case.for_spice), strength=strengths, kind=kinds, cost=st.sampled_from(COSTS))
def test_nudged_state_agrees_with_newton(case, strength, kind, cost):
    nudge = Nudge(strength, case.targets, cost, kind)
    free = settled(case.network, case.inputs)
    found = settled(case.network, case.inputs, nudge, start=free)
    assert_close_voltages(found, solve(case.network, case.inputs, nudge, solver=Newton()))


@examples(25)
@given(case=cases(kinds=REAL, kendall=True), seed=st.integers(0, 100), nudged=st.booleans())
def test_a_chip_without_energy_agrees_with_newton(case, seed, nudged):
    network = case.network
    chip = Chip.draw(network.circuit(), seed, siemens=0.1, gain=0.02, feedback=0.02, offset=0.03)
    found = settled(network, case.inputs, chip=chip)
    nudge = Nudge(1e-6, case.targets, SquaredError()) if nudged else None
    if nudged:
        found = settled(network, case.inputs, nudge, start=found, chip=chip)
    assert_close_voltages(found, solve(network, case.inputs, nudge, solver=Newton(), chip=chip))


@pytest.mark.parametrize("dtype", RESIDUAL)
@examples(30)
@given(case=cases(kinds=REAL, scales=(0.3, 1.0, 5.0)), strength=strengths, kind=kinds, cost=st.sampled_from(COSTS))
def test_kirchhoffs_law_holds_in_both_phases(dtype, case, strength, kind, cost):
    network, inputs, targets = case.single() if dtype == torch.float32 else (case.network, case.inputs, case.targets)
    circuit, nudge = network.circuit(), Nudge(strength, targets, cost, kind)
    free = settled(network, inputs)
    nudged = settled(network, inputs, nudge, start=free)
    assert relative_residual(free, circuit) <= RESIDUAL[dtype]
    assert relative_residual(nudged, circuit, nudged_current(nudge, free, nudged)) <= RESIDUAL[dtype]
    assert free.voltages.dtype == nudged.voltages.dtype == dtype


@pytest.mark.parametrize("dtype", RESIDUAL)
@examples(25)
@given(case=cases(kinds=["ideal"]))
def test_ideal_clamps_carry_only_what_presses_against_them(dtype, case):
    network, inputs, _ = case.single() if dtype == torch.float32 else (case.network, case.inputs, case.targets)
    state = settled(network, inputs)
    circuit = network.circuit()
    # At its threshold the stand-in carries nothing: what is left over at a clamped node goes through the ideal diode.
    outflow, scale = kirchhoff_residual(circuit, state.voltages.double().numpy())
    tolerance = RESIDUAL[dtype] * scale.max(1, keepdims=True)
    for number, (clamp, layer) in enumerate(zip(network.clamps, state.layers, strict=False), start=1):
        low, high = clamp.limits_like(layer)
        assert ((layer >= low) & (layer <= high)).all()
        left_over = torch.from_numpy(outflow[:, circuit.layers[f"h{number}"]])
        above, below = layer >= high, layer <= low
        assert (left_over[~below] <= torch.from_numpy(tolerance).expand_as(left_over)[~below]).all()
        assert (left_over[~above] >= -torch.from_numpy(tolerance).expand_as(left_over)[~above]).all()


@examples(25)
@given(case=cases(), strength=st.sampled_from([1e-7, 1e-5]), kind=kinds, cost=st.sampled_from(COSTS))
def test_response_is_the_difference_of_two_states(case, strength, kind, cost):
    network, nudge = case.network, Nudge(strength, case.targets, cost, kind)
    free = settled(network, case.inputs)
    nudged = settled(network, case.inputs, nudge, start=free)
    response = nudged.response(about=free)
    largest = max(1.0, *(layer.abs().max().item() for layer in nudged.layers))
    for change, after, before in zip(response, nudged.layers, free.layers, strict=True):
        torch.testing.assert_close(change, after - before, rtol=0, atol=1e-15 * largest)
    other = settled(network, case.inputs)
    for change, again in zip(nudged.response(about=other), response, strict=True):
        torch.testing.assert_close(change, again, rtol=0, atol=1e-11 * largest)


@examples(30)
@given(case=cases(), strength=st.sampled_from([1e-7, 1e-5]), kind=kinds)
def test_response_is_what_newton_finds_by_subtraction(case, strength, kind):
    network, nudge = case.for_spice.network, Nudge(strength, case.targets, SquaredError(), kind)
    free = settled(network, case.inputs)
    response = settled(network, case.inputs, nudge, start=free).response(about=free)
    before, after = (solve(network, case.inputs, n, solver=Newton()) for n in (None, nudge))
    largest = max(1.0, after.voltages.abs().max().item())
    for change, truth in zip(response, after.response(about=before), strict=True):
        torch.testing.assert_close(change, truth, rtol=0, atol=1e-9 * largest)


def test_a_strong_elastic_nudge_of_cross_entropy():
    network = ResistiveNetwork(
        [1, 2, 2],
        diode=IdealDiode(1.0).stand_in(1.0),
        conductance_range=(1e-6, 2e-6),
        dtype=torch.float64,
        bias_voltage=None,
    )
    inputs, targets = torch.full((1, 1), 9.0, dtype=torch.float64), torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    nudge = Nudge(1e-5, targets, CrossEntropy(0.25), "elastic")
    truth = solve(network, inputs, nudge, solver=Newton())
    assert_close_voltages(solve(network, inputs, nudge, solver=Relaxation()), truth)


def training_network(dtype: torch.dtype, **options) -> ResistiveNetwork:
    return ResistiveNetwork([4, 6, 5, 4, 3], dtype=dtype, **{"diode": ShockleyDiode(1e-9, 1.3), "seed": 2, **options})


def samples(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(5, 4, dtype=torch.float64, generator=random)
    return inputs.float().to(dtype), torch.eye(3, dtype=dtype)[[0, 1, 2, 0, 1]]


def single_precision_twin(network: ResistiveNetwork) -> ResistiveNetwork:
    """A float64 network with exactly the parameters of a float32 one."""
    twin = training_network(torch.float64, diode=list(network.clamps), drive=network.drive)
    twin.load_state_dict({name: value.double() for name, value in network.state_dict().items()})
    return twin


@pytest.mark.parametrize("kind", ["frozen", "elastic"])
@pytest.mark.parametrize("drive", ["single", "differential"])
@pytest.mark.parametrize(
    "diode", [ShockleyDiode(1e-9, 1.3), PiecewiseLinearDiode((0.125,), (2.0**-10,), leakage=2.0**-30), IdealDiode()]
)
def test_response_in_single_precision_where_subtraction_is_noise(diode, drive, kind):
    single = training_network(torch.float32, diode=diode, drive=drive)
    double = single_precision_twin(single)
    responses = {}
    for network in (single, double):
        dtype = network.theta("stage1").dtype
        inputs, targets = samples(dtype)
        free = solve(network, inputs, solver=Relaxation())
        nudged = solve(network, inputs, Nudge(1e-15, targets, SquaredError(), kind), solver=Relaxation(), start=free)
        responses[dtype] = (free, nudged, nudged.response(about=free))
    free, nudged, response = responses[torch.float32]
    for change, truth, after, before in zip(
        response, responses[torch.float64][2], nudged.layers, free.layers, strict=True
    ):
        assert (change.double() - truth).norm() <= 1e-4 * truth.norm()
        assert ((after - before).double() - truth).norm() > 0.5 * truth.norm()


def test_response_scales_with_the_nudge_far_below_rounding():
    network, (inputs, targets) = training_network(torch.float64), samples()
    free = solve(network, inputs, solver=Relaxation())

    def response(strength: float) -> torch.Tensor:
        nudge = Nudge(strength, targets, SquaredError())
        return torch.cat(solve(network, inputs, nudge, solver=Relaxation(), start=free).response(about=free), -1)

    torch.testing.assert_close(response(1e-16) * 1e8, response(1e-24) * 1e16, rtol=1e-8, atol=0)


def test_not_converging_is_a_status():
    network, (inputs, _) = training_network(torch.float64), samples()
    state = solve(network, inputs, solver=Relaxation(max_steps=2), throw=False)
    assert not state.converged.any()
    assert state.converged.shape == state.residual.shape == (5,)
    assert (state.residual > 0).all()
    assert state.iterations == 2
    words = "5 samples did not reach rtol 1e-13 in 2 sweeps; raise max_steps or rtol"
    assert state.message == words
    with pytest.raises(ConvergenceError, match=words):
        solve(network, inputs, solver=Relaxation(max_steps=2))
    with pytest.raises(ConvergenceError, match=words):
        state.require_converged()


def test_a_nudged_state_of_a_free_one_that_did_not_converge_did_not_converge():
    network, (inputs, targets) = training_network(torch.float64), samples()
    solver = Relaxation(max_steps=4, response_rtol=0.5)
    state = solve(network, inputs, Nudge(1e-9, targets, SquaredError()), solver=solver, throw=False)
    assert not state.converged.any()


def test_converged_states_say_so():
    network, (inputs, _) = training_network(torch.float64), samples()
    state = solve(network, inputs, solver=Relaxation())
    assert state.converged.all()
    assert state.message == f"converged in {state.iterations} sweeps"
    assert state.require_converged() is state


def test_warm_start_takes_fewer_sweeps_to_the_same_state():
    network, (inputs, _) = training_network(torch.float64), samples()
    cold = solve(network, inputs, solver=Relaxation())
    warm = solve(network, inputs, solver=Relaxation(), start=cold)
    near = solve(network, inputs * (1 + 1e-9), solver=Relaxation(), start=cold)
    assert warm.iterations <= 2 < near.iterations < cold.iterations
    assert_close_voltages(warm, cold, 1e-12)
    assert_close_voltages(near, cold, 1e-7)
    for before, after in zip(cold.layers, solve(network, inputs, solver=Relaxation()).layers, strict=True):
        assert torch.equal(before, after)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
@pytest.mark.parametrize("hidden", [(), (3,), (3, 2)])
@pytest.mark.parametrize("cost", COSTS)
def test_shapes(batch, hidden, cost):
    network = ResistiveNetwork([2, *hidden, 3], diode=ShockleyDiode(1e-9), dtype=torch.float64)
    inputs = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(2, 3, 2)
    inputs = {(): inputs[0, 0], (3,): inputs[0], (2, 3): inputs, (0,): inputs[0, :0]}[batch]
    free = solve(network, inputs, solver=Relaxation())
    nudge = Nudge(1e-6, torch.full((*batch, 3), 1 / 3, dtype=torch.float64), cost, "elastic")
    nudged = solve(network, inputs, nudge, solver=Relaxation(), start=free)
    for state in (free, nudged):
        assert [tuple(layer.shape) for layer in state.layers] == [(*batch, n) for n in (*hidden, 6)]
        assert tuple(state.outputs.shape) == (*batch, 3)
        assert tuple(state.voltages.shape) == (*batch, network.circuit().n_nodes)
        assert tuple(state.converged.shape) == tuple(state.residual.shape) == batch
        assert state.converged.all()
    one_by_one = [solve(network, row, solver=Relaxation()).outputs for row in inputs.reshape(-1, 2)]
    if one_by_one:
        torch.testing.assert_close(free.outputs.reshape(-1, 3), torch.stack(one_by_one), rtol=1e-10, atol=1e-13)


def test_a_network_without_hidden_layers_is_a_voltage_divider():
    network = ResistiveNetwork([2, 1], bias_voltage=None, dtype=torch.float64, seed=1)
    inputs = torch.tensor([[0.7, -0.2]], dtype=torch.float64)
    g = network.conductances["stage1"]
    held = torch.cat([inputs, -inputs], -1)
    truth = held @ g / g.sum(0)
    torch.testing.assert_close(solve(network, inputs, solver=Relaxation()).layers[0], truth, rtol=1e-13, atol=0)


def test_zero_inputs_without_bias_leave_everything_at_zero():
    network = ResistiveNetwork([2, 3, 1], bias_voltage=None)
    state = solve(network, torch.zeros(4, 2), solver=Relaxation())
    assert state.converged.all()
    assert not any(layer.any() for layer in state.layers)


def test_errors_say_what_must_hold():
    network = ResistiveNetwork([2, 3, 1])
    with pytest.raises(StimulusError, match="Relaxation solves layered networks, found a Circuit; use Newton for any"):
        solve(network.circuit(), torch.zeros(1, 2), solver=Relaxation())
    with pytest.raises(StimulusError, match=r"inputs must end in 2 values, found shape \(1, 3\)"):
        solve(network, torch.zeros(1, 3), solver=Relaxation())
    with pytest.raises(StimulusError, match="inputs must be finite, found NaN or infinity"):
        solve(network, torch.full((1, 2), torch.nan), solver=Relaxation())


def test_energy_is_lowest_at_the_free_state():
    case_network, (inputs, _) = training_network(torch.float64), samples()
    state = solve(case_network, inputs, solver=Relaxation())
    lowest = case_network.energy(inputs, state.layers)
    random = torch.Generator().manual_seed(3)
    for size in (1e-4, 1e-2):
        moved = tuple(
            layer + size * torch.randn(layer.shape, dtype=torch.float64, generator=random) for layer in state.layers
        )
        assert (case_network.energy(inputs, moved) > lowest).all()


def test_case_strategy_covers_every_kind():
    seen: set[str] = set()

    @examples(120)
    @given(case=cases())
    def collect(case: Case) -> None:
        seen.update(type(clamp.diode).__name__ for clamp in case.network.clamps)
        seen.add(case.network.drive)
        seen.add(f"{len(case.network.clamps)} hidden layers")
        seen.add(f"bias {case.network.bias_voltage}")

    collect()
    assert seen == {
        "ShockleyDiode",
        "PiecewiseLinearDiode",
        "IdealDiode",
        "single",
        "differential",
        "1 hidden layers",
        "2 hidden layers",
        "3 hidden layers",
        "bias None",
        "bias 0.5",
    }


def test_a_free_state_of_other_conductances_is_refused():
    network, (inputs, targets) = training_network(torch.float64), samples()
    free = solve(network, inputs, solver=Relaxation())
    with torch.no_grad():
        network.get_parameter("stage2").mul_(0.5)
    with pytest.raises(StimulusError, match="the free state must be that of the same conductances and chip"):
        solve(network, inputs, Nudge(1e-6, targets, SquaredError()), solver=Relaxation(), start=free)


def test_a_free_state_of_another_chip_is_refused():
    network, (inputs, targets) = training_network(torch.float64), samples()
    chip = Chip.draw(network.circuit(), 0, siemens=0.1)
    free = solve(network, inputs, solver=Relaxation(), chip=chip)
    with pytest.raises(StimulusError, match="the free state must be that of the same conductances and chip"):
        solve(network, inputs, Nudge(1e-6, targets, SquaredError()), solver=Relaxation(), start=free)


def test_a_chip_whose_sources_are_off_is_left_to_newton():
    network, (inputs, _) = training_network(torch.float64), samples()
    chip = Chip.draw(network.circuit(), 0, scale=0.01)
    with pytest.raises(NetworkError, match=r"the layer equations hold no mismatch of inputs\.scale"):
        solve(network, inputs, solver=Relaxation(), chip=chip)
    assert solve(network, inputs, solver=Newton(), chip=chip).converged.all()
