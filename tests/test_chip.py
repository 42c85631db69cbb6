"""A chip in every solver, and what it can measure of itself, against Newton, ngspice and sums over its branches."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from plain_ngspice import run_plain
from safetensors import safe_open
from safetensors.numpy import save_file

from analog_ep.circuit import Chip, Converter, Converters, LearningCircuit, draw_faults
from analog_ep.devices import DiodeClamp, IdealDiode, ShockleyDiode
from analog_ep.equilibrium import Newton, Ngspice, Relaxation, solve
from analog_ep.errors import CheckpointError, CircuitError
from analog_ep.export import write_netlist
from analog_ep.learning import EquilibriumPropagation
from analog_ep.learning.gradients.implicit import implicit_gradients
from analog_ep.networks import ResistiveNetwork
from analog_ep.stimulus import Nudge, SquaredError

SPREAD = {"siemens": 0.1, "gain": 0.02, "feedback": 0.02, "offset": 0.03}
NUDGING = 1e-7


def network(sizes=(3, 4, 3, 2), **options):
    diode = options.pop("diode", ShockleyDiode(1e-9))
    return ResistiveNetwork(sizes, diode=diode, dtype=torch.float64, seed=1, **options)


def samples(net, n=5, seed=0):
    random = np.random.default_rng(seed)
    inputs = torch.from_numpy(random.uniform(-1, 1, (n, net.n_inputs)))
    return inputs, torch.from_numpy(random.uniform(-0.1, 0.1, (n, net.n_outputs)))


def flat(gradients):
    return torch.cat([value.flatten() for value in gradients.values()]).double()


def cosine(one, other):
    return float(torch.nn.functional.cosine_similarity(flat(one), flat(other), dim=0))


def implicit(net, chip, inputs, targets):
    """Gradient of the chip itself by θ, in the shape of the parameters, without any equation of the phases."""
    circuit = net.circuit(chip)
    exact = implicit_gradients(circuit, SquaredError(), inputs, targets)
    return {name: (net.reference_conductance * exact[name]).reshape(net.get_parameter(name).shape) for name in exact}


@pytest.mark.parametrize("upper_and_lower", ["alternating", "pair"])
def test_junctions_of_a_chip_agree_with_newton_at_any_temperature(upper_and_lower):
    diode = ShockleyDiode(1e-9)
    net = network((3, 4, 2), diode=diode if upper_and_lower == "alternating" else diode.clamp(0.1, -0.2))
    inputs, _ = samples(net)
    drawn = Chip.draw(net.circuit(), 3, saturation_current=0.5, ideality=0.05, offset=0.01)
    warm = {
        f"clamp1_{side}.temperature": np.full(net.sizes[1] // (2 if upper_and_lower == "alternating" else 1), 350.0)
        for side in ("upper", "lower")
    }
    chip = replace(drawn, values={**drawn.values, **warm})
    state, truth = (solve(net, inputs, solver=solver, chip=chip) for solver in (Relaxation(), Newton()))
    assert (state.voltages - truth.voltages).abs().max() <= 1e-10
    assert (state.voltages - solve(net, inputs, solver=Newton(), chip=drawn).voltages).abs().max() > 1e-2


def test_thresholds_of_ideal_diodes_move_in_the_layer_equations_as_in_the_circuit():
    net = network((3, 5, 2), diode=IdealDiode(1e3))
    inputs, _ = samples(net)
    chip = Chip({}, {f"clamp1_{side}.offset": np.linspace(0.0, 0.1, n) for side, n in (("upper", 3), ("lower", 2))})
    state, truth = (solve(net, inputs, solver=solver, chip=chip) for solver in (Relaxation(), Newton()))
    assert (state.voltages - truth.voltages).abs().max() <= 1e-6  # microamperes through 1000 S, amplified
    assert (state.voltages - solve(net, inputs, solver=Newton()).voltages).abs().max() > 1e-2


@pytest.mark.ngspice
@pytest.mark.parametrize("reduced", [False, True])
def test_ngspice_solves_the_same_chip(reduced):
    net = network()
    inputs, targets = samples(net)
    chip = Chip.draw(net.circuit(), 7, **SPREAD, saturation_current=0.5, ideality=0.03)
    for nudge in (None, Nudge(1e-6, targets, SquaredError())):
        state, spice = (
            solve(net, inputs, nudge, solver=s, chip=chip) for s in (Relaxation(), Ngspice(reduced=reduced))
        )
        assert (state.voltages - spice.voltages).abs().max() <= 1e-8


def test_the_chip_itself_is_differentiated_where_its_amplifiers_are_known():
    net = network()
    inputs, targets = samples(net)
    chip = Chip.draw(net.circuit(), 2, siemens=0.2, saturation_current=0.5, offset=0.05)
    exact = implicit(net, chip, inputs, targets)
    factors = {
        name: torch.from_numpy(chip.factors[f"{name}.siemens"]).reshape(value.shape) for name, value in exact.items()
    }
    # θ reaches the cost through factor · θ, which no measurement of voltages tells.
    _, known = EquilibriumPropagation(net, NUDGING, chip=chip, known=chip).gradients(inputs, targets)
    assert cosine(known, exact) >= 1 - 1e-8
    assert factors["stage1"].std() > 0.1
    _, unknown = EquilibriumPropagation(net, NUDGING, chip=chip).gradients(inputs, targets)
    assert cosine(unknown, exact) < 0.999
    assert cosine({"stage1": unknown["stage1"]}, {"stage1": exact["stage1"]}) >= 1 - 1e-8  # sources drive these rows


@pytest.mark.ngspice
def test_ngspice_measures_the_same_gradient_on_twin_arrays():
    net = network((3, 4, 2))
    inputs, targets = samples(net)
    one, two = (Chip.draw(net.circuit(), seed, siemens=0.1, offset=0.01, gain=0.02) for seed in (0, 1))
    converters = Converters.draw(net.circuit(), 2, Converter(8, 1.0), adc_offset=1e-3)
    chip = replace(one, twin=two, converters=converters, learning=LearningCircuit.draw(net.circuit(), 3, 1e-6))
    found = [
        EquilibriumPropagation(net, 1e-4, solver=solver, chip=chip).gradients(inputs, targets)
        for solver in (Relaxation(), Ngspice())
    ]
    assert float(found[0][0]) == pytest.approx(float(found[1][0]), rel=1e-6)
    for name, value in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], value, rtol=1e-4, atol=1e-6 * float(value.abs().max()))


@pytest.mark.ngspice
def test_an_exported_nudge_follows_from_what_is_read(tmp_path):
    net = network((3, 4, 2))
    inputs, targets = samples(net, 1)
    chip = Chip({}, converters=Converters.draw(net.circuit(), 1, adc=[Converter(6, 1.0)], adc_offset=0.05))
    nudge = Nudge(1e-5, targets[0], SquaredError())
    write_netlist(net, inputs[0], nudge, path=tmp_path / "deck.cir", chip=chip)
    printed = run_plain(tmp_path / "deck.cir")
    free = solve(net, inputs, solver=Newton())
    seen = replace(free, outputs=net.outputs_of(chip.converters.read(free.layers)))
    assert (seen.outputs - free.outputs).abs().max() > 0.01
    nudged = solve(net, inputs, Nudge(1e-5, targets, SquaredError()), solver=Newton(), start=seen)
    for row, state in enumerate((free, nudged)):
        assert abs(printed["v(o0_p)"][row] - float(state.layers[-1][0, 0])) <= 2e-9


def branch_contrast(net, before, after):
    """Sum over the batch of ½ [after² − before²] of every branch, from all node voltages of the two states."""
    contrast = {}
    for name, group in net.circuit().trainable().items():
        across = [state.numpy()[:, group.positive] - state.numpy()[:, group.negative] for state in (before, after)]
        values = np.empty(len(group))
        values[group.index] = 0.5 * (across[1] ** 2 - across[0] ** 2).sum(0)
        contrast[name] = torch.from_numpy(values).reshape(net.get_parameter(name).shape)
    return contrast


def test_reads_are_quantised_and_share_the_converters_offset():
    net = network((3, 4, 2))
    inputs, targets = samples(net)
    circuit = net.circuit()
    converters = Converters.draw(circuit, 5, Converter(6, 1.0), [Converter(8, 0.5)], dac_offset=0.01, adc_offset=0.02)
    chip, beta = Chip({}, converters=converters), 1e-4
    cost, found = EquilibriumPropagation(net, beta, variant="positive", chip=chip).gradients(inputs, targets)
    driven = torch.round(inputs / (1 / 32)).clamp(-32, 31) / 32 + torch.from_numpy(converters.dac_offset)
    free = solve(net, driven, solver=Newton())

    def read(state):
        step = 0.5 / 128
        return tuple(
            torch.round((layer + torch.from_numpy(converters.adc_offset[name])) / step).clamp(-128, 127) * step
            for name, layer in zip(("h1", "o"), state.layers, strict=True)
        )

    seen = read(free)
    outputs = net.outputs_of(seen)
    nudged = solve(
        net, driven, Nudge(beta, targets, SquaredError()), solver=Newton(), start=replace(free, outputs=outputs)
    )
    before, after = (net.node_voltages(driven, read(state)) for state in (free, nudged))
    contrast = branch_contrast(net, before, after)
    for name, weight in zip(("stage1", "stage2"), net.weight_ratios, strict=True):
        expected = weight / beta * contrast[name] / len(inputs) * net.reference_conductance
        torch.testing.assert_close(found[name], expected, rtol=1e-9, atol=1e-12 * float(expected.abs().max()))
        assert len(found[name].unique()) > 2
    assert float(cost) == pytest.approx(float(0.5 * ((outputs - targets) ** 2).sum(-1).mean()), rel=1e-12)


def test_twin_arrays_run_one_phase_each():
    net = network((3, 4, 2))
    inputs, targets = samples(net)
    one, two = (Chip.draw(net.circuit(), seed, siemens=0.1) for seed in (0, 1))
    _, found = EquilibriumPropagation(net, 1e-5, chip=replace(one, twin=two)).gradients(inputs, targets)
    free = [solve(net, inputs, solver=Newton(), chip=chip) for chip in (one, two)]
    error = replace(free[1], outputs=free[0].outputs)
    nudged = [
        solve(net, inputs, Nudge(strength, targets, SquaredError()), solver=Newton(), start=start, chip=chip)
        for strength, start, chip in ((-1e-5, free[0], one), (1e-5, error, two))
    ]
    contrast = branch_contrast(net, *(state.voltages for state in nudged))
    for name, weight in zip(("stage1", "stage2"), net.weight_ratios, strict=True):
        expected = weight / 2e-5 * contrast[name] / len(inputs) * net.reference_conductance
        torch.testing.assert_close(found[name], expected, rtol=1e-6, atol=1e-9 * float(expected.abs().max()))
    _, single = EquilibriumPropagation(net, 1e-5, chip=one).gradients(inputs, targets)
    assert cosine(found, single) < 0.5


@pytest.mark.parametrize("variant", ["positive", "negative", "centered"])
def test_a_comparator_sees_the_contrast_and_its_own_bias(variant):
    net = network((3, 4, 2))
    inputs, targets = samples(net)
    beta = 1e-6
    bias = LearningCircuit.draw(net.circuit(), 4, spread=1e-4, comparator=True)
    free = solve(net, inputs, solver=Newton())
    phases = {0.0: free} | {
        s: solve(net, inputs, Nudge(s, targets, SquaredError()), solver=Newton(), start=free) for s in (-beta, beta)
    }
    earlier, later = {"positive": (0.0, beta), "negative": (-beta, 0.0), "centered": (-beta, beta)}[variant]
    contrast = branch_contrast(net, phases[earlier].voltages, phases[later].voltages)
    for known, left in ((None, 1.0), (Chip({}, learning=bias), 0.0)):
        method = EquilibriumPropagation(net, beta, variant=variant, chip=Chip({}, learning=bias), known=known)
        _, found = method.gradients(inputs, targets)
        for name, value in found.items():
            seen = contrast[name] / len(inputs) + left * torch.from_numpy(bias.bias[name]).reshape(value.shape)
            clear = seen.abs() > 1e-9
            assert clear.double().mean() > 0.9
            assert torch.equal(value[clear], torch.sign(seen)[clear])
            turned = (value * contrast[name] < 0).double().mean()
            assert (turned > 0.05) == bool(left)


def test_a_biased_but_proportional_learning_circuit_adds_to_the_gradient():
    net = network((3, 4, 2))
    inputs, targets = samples(net)
    bias = LearningCircuit.draw(net.circuit(), 4, spread=0.0, mean=3e-7)
    _, plain = EquilibriumPropagation(net, 1e-6).gradients(inputs, targets)
    _, found = EquilibriumPropagation(net, 1e-6, chip=Chip({}, learning=bias)).gradients(inputs, targets)
    for name, weight in zip(plain, net.weight_ratios, strict=True):
        added = torch.full_like(plain[name], 3e-7 * weight / 2e-6 * net.reference_conductance)
        torch.testing.assert_close(found[name] - plain[name], added, rtol=1e-6, atol=0)


def test_noise_of_the_converters_has_its_size_and_is_seeded():
    converter = Converter(noise=0.02)
    volts = torch.zeros(1000, 200)
    first, again = (converter.convert(volts, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert float(first.std()) == pytest.approx(0.02, rel=0.01)
    assert torch.equal(converter.convert(volts), volts)


def test_a_whole_chip_survives_the_disk(tmp_path):
    circuit = network().circuit()
    chip = replace(
        Chip.draw(circuit, 1, siemens=0.1, offset=0.01),
        twin=Chip.draw(circuit, 2, siemens=0.1),
        learning=LearningCircuit.draw(circuit, 3, 1e-6, comparator=True),
        converters=Converters.draw(circuit, 4, Converter(8, 2.0), [Converter(6, 0.5, 1e-3)], 0.01, 0.02),
    )
    chip.save(tmp_path / "chip.safetensors")
    loaded = Chip.load(tmp_path / "chip.safetensors")
    for one, other in ((chip, loaded), (chip.twin, loaded.twin)):
        for kind in ("factors", "values"):
            mine, theirs = getattr(one, kind), getattr(other, kind)
            assert mine.keys() == theirs.keys()
            assert all(np.array_equal(mine[key], theirs[key]) for key in mine)
    assert loaded.learning.comparator
    assert all(np.array_equal(loaded.learning.bias[name], chip.learning.bias[name]) for name in chip.learning.bias)
    assert (loaded.converters.dac, loaded.converters.adc) == (chip.converters.dac, chip.converters.adc)
    assert np.array_equal(loaded.converters.dac_offset, chip.converters.dac_offset)
    assert all(np.array_equal(loaded.converters.adc_offset[k], v) for k, v in chip.converters.adc_offset.items())


@pytest.mark.parametrize("drive", ["single", "differential"])
def test_factors_are_in_the_order_of_the_parameter(drive):
    net, tripled = (network(drive=drive) for _ in range(2))
    inputs, _ = samples(net)
    factors = {}
    for name, theta in tripled.named_parameters():
        factor = torch.ones(theta.shape, dtype=torch.float64)
        factor[0], factor[:, 1] = 3.0, 0.5
        theta.data.mul_(factor)
        factors[f"{name}.siemens"] = factor.numpy().ravel()
    chip = Chip(factors)
    for own, wanted in zip(net.circuit(chip).groups, tripled.circuit().groups, strict=True):
        for name, value in wanted.arrays().items():
            np.testing.assert_allclose(own.arrays()[name], value, rtol=1e-14)
    for solver in (Relaxation(), Newton()):
        found = solve(net, inputs, solver=solver, chip=chip).voltages
        torch.testing.assert_close(found, solve(tripled, inputs, solver=Newton()).voltages, rtol=0, atol=1e-10)


def test_a_seed_draws_the_same_chip_as_ever():
    net = network()
    circuit = net.circuit()
    chip = Chip.draw(circuit, 3, siemens=0.2)
    faults = Chip({}, draw_faults(circuit, 3, (1e-7, 1e-4), low=0.3))
    for name, group in circuit.trainable().items():
        n = len(group)
        streams = [np.random.default_rng([3, zlib.crc32(f"{name}.{key}".encode())]) for key in ("siemens", "fault")]
        # Numbers go to the elements in the order in which the circuit lists them.
        factors, stuck = np.exp(0.2 * streams[0].standard_normal(n)), streams[1].random(n) < 0.3
        mismatched, faulty = (drawn.apply(circuit).group(name).siemens for drawn in (chip, faults))
        np.testing.assert_allclose(mismatched / group.siemens, factors, rtol=1e-13)
        assert np.array_equal(faulty == 1e-7, stuck)


def test_a_chip_of_the_first_format_is_read_with_its_circuit(tmp_path):
    net, path = network(), tmp_path / "chip.safetensors"
    circuit = net.circuit()
    chip = replace(
        Chip.draw(circuit, 1, siemens=0.1, saturation_current=0.3, offset=0.01), twin=Chip.draw(circuit, 2, siemens=0.1)
    )
    chip = replace(chip, values={**chip.values, **draw_faults(circuit, 3, (1e-7, 1e-4), low=0.2)})
    chip.save(path)
    with safe_open(path, framework="numpy") as file:
        arrays, facts = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()["facts"]  # noqa: SIM118
    for label, group in circuit.trainable().items():
        for name in [name for name in arrays if name.endswith(f"/{label}.siemens")]:
            arrays[name] = arrays[name][group.index]
    save_file(arrays, path, metadata={"format": "analog_ep chip 1", "facts": facts})
    loaded = Chip.load(path, circuit)
    for one, other in ((chip, loaded), (chip.twin, loaded.twin)):
        for kind in ("factors", "values"):
            mine, theirs = getattr(one, kind), getattr(other, kind)
            assert mine.keys() == theirs.keys()
            assert all(np.array_equal(mine[key], theirs[key], equal_nan=True) for key in mine)
    with pytest.raises(CheckpointError, match=r"must be of format .*chip 2., found .*chip 1.; give the chip"):
        Chip.load(path)
    other = network((3, 5, 3, 2)).circuit()
    with pytest.raises(CircuitError, match="this chip has 32 elements in stage1, the circuit"):
        Chip.load(path, other).check(other)


def test_what_is_no_chip_is_refused(tmp_path):
    path = tmp_path / "chip.safetensors"
    with pytest.raises(CheckpointError, match="must be a whole chip, found none"):
        Chip.load(path)
    path.write_bytes(b"something else")
    with pytest.raises(CheckpointError, match="must be a whole chip, found none"):
        Chip.load(path)


def test_a_chip_of_another_network_is_refused():
    chip = Chip.draw(network((3, 5, 2)).circuit(), 0, siemens=0.1)
    net = network((3, 4, 2))
    with pytest.raises(CircuitError, match="this chip has 40 elements in stage1, the circuit 32; draw it for this"):
        solve(net, samples(net)[0], solver=Relaxation(), chip=chip)
    with pytest.raises(CircuitError, match="this chip has 40 elements in stage1, the circuit 32; draw it for this"):
        net.circuit(replace(Chip({}), twin=chip))
    other = network((3, 5, 2)).circuit()
    parts = (
        ({"learning": LearningCircuit.draw(other, 0, 1e-6)}, "learning biases of 40 cells in stage1, the circuit 32"),
        ({"converters": Converters.draw(other, 0, adc_offset=0.1)}, "5 values in adc_offset of h1, the circuit 4"),
        (
            {"converters": Converters.draw(network((4, 4, 2)).circuit(), 0, dac_offset=0.1)},
            "4 values in dac_offset, the circuit 3",
        ),
        ({"converters": Converters(adc=(Converter(),) * 3)}, "one ADC or 2, one per layer, are needed, found 3"),
    )
    for part, message in parts:
        with pytest.raises(CircuitError, match=message):
            Chip({}, **part).check(net.circuit())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Converter(1, 1.0), "a converter must have 2…24 bits, found 1"),
        (lambda: Converter(8), "a converter of 8 bits must have a finite full_scale, found none"),
        (lambda: Converter(full_scale=0.0), r"full_scale must be positive, found 0\.0"),
        (lambda: Converter(noise=-1.0), r"noise must be finite and not negative, found -1\.0"),
        (lambda: Converters.draw(network().circuit(), 0, adc_offset=-1.0), "the spread of adc_offset must be finite"),
        (
            lambda: Converters.draw(network().circuit(), 0, adc=[Converter()] * 2),
            "one ADC or 3, one per layer, are needed, found 2",
        ),
        (lambda: LearningCircuit.draw(network().circuit(), 0, -1.0), "the spread of learning bias must be finite"),
        (
            lambda: LearningCircuit.draw(network().circuit(), 0, 0.0, float("nan")),
            "the mean learning bias must be finite, found nan",
        ),
    ],
)
def test_parameters_outside_their_range(build, message):
    with pytest.raises(CircuitError, match=message):
        build()


def test_a_chips_series_resistances_are_those_of_its_circuit():
    clamp = DiodeClamp(ShockleyDiode(1e-9, series_resistance=2e4), upper=0.1, lower=-0.1)
    net = ResistiveNetwork([3, 5, 2], diode=clamp, dtype=torch.float64, seed=1)
    chip = Chip.draw(net.circuit(), 3, siemens=0.3)
    assert chip.changes("clamp1_upper_rs.siemens")
    inputs = torch.tensor([[3.0, -2.0, 5.0]], dtype=torch.float64)
    layers = solve(net, inputs, solver=Relaxation(), chip=chip)
    nodal = solve(net, inputs, solver=Newton(), chip=chip)
    torch.testing.assert_close(layers.outputs, nodal.outputs, rtol=1e-10, atol=0)
    alike = Chip({name: values for name, values in chip.factors.items() if "_rs" not in name})
    other = solve(net, inputs, solver=Newton(), chip=alike)
    assert float((other.outputs - nodal.outputs).abs().max()) > 1e-4
