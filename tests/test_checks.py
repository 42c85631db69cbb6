"""The sanity check of a circuit, its energy, and a chip's mismatch."""

# Scalars for element values are spread over the elements, which the annotations do not say.
# pyright: reportArgumentType=false

import numpy as np
import pytest
import torch
from random_circuits import Recipe, build

from analog_ep.circuit import (
    Amplifiers,
    Chip,
    CircuitBuilder,
    Conductances,
    CurrentControlledCurrentSources,
    CurrentSources,
    Diodes,
    VoltageControlledCurrentSources,
    VoltageControlledVoltageSources,
    VoltageSources,
    check_circuit,
    circuit_energy,
    energy_weights,
)
from analog_ep.devices import PiecewiseLinearDiode, ShockleyDiode
from analog_ep.equilibrium.nodal.residual import kirchhoff_residual
from analog_ep.errors import CircuitError, EnergyUnavailableError


def divider():
    """A source, a free node x and a free node y in series to ground."""
    builder = CircuitBuilder("divider")
    top, x, y = builder.add_nodes(["top", "x", "y"])
    builder.add(VoltageSources("v", top, 0, 1.0))
    builder.add(Conductances("g", [top, x, y], [x, y, 0], 1e-3))
    return builder, int(top), int(x), int(y)


def amplified(gains, feedbacks, joined=False):
    """Two nodes of a first block, each amplified into one node of a second block."""
    builder = CircuitBuilder("amplified")
    top, x, y, p, q, z = builder.add_nodes(["top", "x", "y", "p", "q", "z"])
    builder.add(VoltageSources("v", top, 0, 1.0))
    builder.add(Conductances("g", [top, x, p, q], [x, y, z, z], [1e-3, 2e-3, 3e-3, 4e-3]))
    builder.add(Conductances("leak", [y, z], [0, 0], 1e-4))
    if joined:
        builder.add(Conductances("bridge", y, z, 1e-4))
    builder.add(Amplifiers("amp", [x, y], [p, q], gains, feedbacks))
    return builder.build()


def test_a_sound_circuit_passes():
    check_circuit(divider()[0].build())
    check_circuit(build(Recipe(0, block_sizes=(3, 3, 3), controlled=True, floating=True)))


BROKEN = [
    (lambda b, t, x, y: b.add(Conductances("h", x, y, [0.0])), "h: siemens must be positive, found 0.0 at element 0"),
    (lambda b, t, x, y: b.add(Conductances("h", x, y, [np.nan])), "h: siemens must be finite, found nan at element 0"),
    (lambda b, t, x, y: b.add(Conductances("h", x, y, [np.inf])), "h: siemens must be finite, found inf"),
    (lambda b, t, x, y: b.add(CurrentSources("i", x, 0, np.inf)), "i: amperes must be finite"),
    (lambda b, t, x, y: b.add(VoltageSources("w", t, 0, 2.0)), "must not form a loop, found one through w"),
    (lambda b, t, x, y: b.add(VoltageSources("w", x, x, 2.0)), "must not form a loop, found one through w"),
    (
        lambda b, t, x, y: b.add(VoltageControlledVoltageSources("e", t, 0, x, y, 2.0)),
        "must not form a loop, found one through e between 'top' and '0'",
    ),
    (lambda b, t, x, y: b.add_nodes(["alone"]), "needs a resistive path to ground .* found 1 without, such as alone"),
    (
        lambda b, t, x, y: b.add(CurrentSources("i", b.add_nodes(["open"]), x, 1e-3)),
        "i: a current source must drive a node with a resistive path to ground, found an open node 'open'",
    ),
    (
        lambda b, t, x, y: b.add(VoltageControlledCurrentSources("gm", x, b.add_nodes(["open"]), x, 0, 1e-3)),
        "gm: a current source must drive a node with a resistive path",
    ),
    (
        lambda b, t, x, y: b.add(CurrentControlledCurrentSources("f", x, 0, "v", 1, 1.0)),
        "f: control must lie in 0…0 of v",
    ),
    (
        lambda b, t, x, y: b.add(CurrentControlledCurrentSources("f", x, 0, "g", 0, 1.0)),
        "f: its current must be that of a voltage source, found g",
    ),
    (
        lambda b, t, x, y: b.add(CurrentControlledCurrentSources("f", x, 0, "nothing", 0, 1.0)),
        "no group of branches is called 'nothing'",
    ),
    (
        lambda b, t, x, y: b.add(Amplifiers("amp", x, b.add_nodes(["p"]), -1.0, 1.0)),
        "amp: gain must be positive, found -1.0",
    ),
    (
        lambda b, t, x, y: b.add(Amplifiers("amp", x, t, 1.0, 1.0)),
        "must not form a loop, found one through amp",
    ),
]


@pytest.mark.parametrize(("damage", "words"), BROKEN)
def test_a_broken_circuit_is_named(damage, words):
    builder, top, x, y = divider()
    damage(builder, top, x, y)
    with pytest.raises(CircuitError, match=words):
        check_circuit(builder.build())


def test_missing_ground_is_found():
    builder = CircuitBuilder("adrift")
    a, b = builder.add_nodes(["a", "b"])
    builder.add(Conductances("g", a, b, 1.0))
    with pytest.raises(CircuitError, match="must have a ground, found no branch at node 0"):
        check_circuit(builder.build())


@pytest.mark.parametrize("ring", [[0], [0, 1], [0, 1, 2]])
def test_a_ring_of_amplifiers_is_found(ring):
    builder = CircuitBuilder("ring")
    nodes = builder.add_nodes(["a", "b", "c"])
    builder.add(Conductances("g", nodes, 0, 1.0))
    builder.add(Amplifiers("amp", nodes[ring], nodes[np.roll(ring, -1)], 2.0, 1.0))
    with pytest.raises(CircuitError, match=r"must not feed each other in a ring, found one through amp at '[ab]'"):
        check_circuit(builder.build())


def test_a_chain_of_amplifiers_is_allowed():
    builder, _, x, _ = divider()
    chain = builder.add_nodes(f"c{i}" for i in range(3))
    builder.add(Amplifiers("amp", [x, *chain[:-1]], chain, 2.0, 0.5))
    check_circuit(builder.build())


def test_nudge_conductances_may_be_negative_and_hold_no_node():
    builder, _, x, y = divider()
    builder.add(Conductances("nudge", x, y, -1e-6, nudge=True))
    check_circuit(builder.build())
    builder.add(Conductances("more", builder.add_nodes(["far"]), x, 1e-6, nudge=True))
    with pytest.raises(CircuitError, match="such as far"):
        check_circuit(builder.build())


def test_a_diode_that_leaks_is_a_path():
    builder, _, x, _ = divider()
    builder.add(Diodes("d", x, builder.add_nodes(["behind"]), ShockleyDiode()))
    check_circuit(builder.build())


def test_a_diode_that_blocks_is_no_path():
    builder, _, x, _ = divider()
    builder.add(Diodes("d", x, builder.add_nodes(["behind"]), PiecewiseLinearDiode((0.3,), (1.0,))))
    with pytest.raises(CircuitError, match="such as behind"):
        check_circuit(builder.build())


def test_weights_follow_feedback_over_gain():
    circuit = amplified([4.0, 4.0], [0.5, 0.5])
    expected = {"0": 1, "top": 1, "x": 1, "y": 1, "p": 0.125, "q": 0.125, "z": 0.125}
    assert dict(zip(circuit.node_names, energy_weights(circuit).require(), strict=True)) == pytest.approx(expected)


@pytest.mark.parametrize(("gains", "joined"), [([4.0, 5.0], False), ([4.0, 4.0], True)])
def test_broken_reciprocity_has_no_weights(gains, joined):
    weights = energy_weights(amplified(gains, [0.5, 0.5], joined))
    assert weights.nodes is None
    assert "amplifiers amp join two blocks by different k/a" in weights.reason
    with pytest.raises(EnergyUnavailableError, match="this circuit has no energy: the amplifiers amp"):
        weights.require()


def test_an_ideal_transformer_may_bridge_one_block():
    assert np.all(energy_weights(amplified([4.0, 4.0], [4.0, 4.0], joined=True)).require() == 1)


def test_a_one_way_source_has_no_energy():
    builder, _, x, y = divider()
    builder.add(VoltageControlledCurrentSources("gm", x, 0, y, 0, 1e-4))
    assert energy_weights(builder.build()).reason == "gm is a one-way controlled source"


@pytest.mark.parametrize("seed", range(8))
def test_the_energy_gradient_is_kirchhoffs_law(seed):
    # dE/dv at a free node, amplifier outputs following, is its weight times the net current out of it.
    circuit = build(Recipe(seed, block_sizes=(3, 2, 2), decades=2.0))
    if seed % 2:
        across = CurrentSources("across", circuit.node("n0_0"), circuit.node("n1_0"), 1e-5)
        circuit = circuit.with_groups([*circuit.groups, across])
    weights = energy_weights(circuit).require()
    free = np.array([circuit.node(name) for name in circuit.node_names if name.startswith("n")])
    rng = np.random.default_rng(seed)
    state, injected = 0.3 * rng.standard_normal(circuit.n_nodes), 1e-6 * rng.standard_normal(circuit.n_nodes)

    def follow(voltages):
        for group in circuit.of_kind(Amplifiers):
            element, node, sign = group.outputs()
            voltages[:, node] = sign * (group.gain * (voltages[:, group.input] + group.offset))[:, element]
        return voltages

    step = 1e-5
    moved = np.tile(state, (2 * len(free), 1))
    moved[np.arange(len(free)), free] += step
    moved[len(free) + np.arange(len(free)), free] -= step
    energy = circuit_energy(circuit, follow(moved), injected)
    gradient = (energy[: len(free)] - energy[len(free) :]) / (2 * step)
    residual, scale = kirchhoff_residual(circuit, follow(state[None].copy()), injected[None])
    expected = (weights * residual[0])[free]
    assert np.abs(gradient - expected).max() <= 2e-5 * np.abs(weights * scale[0]).max()


def chip_circuit():
    builder, _, x, y = divider()
    builder.add_diodes("d", np.full(4000, x), np.full(4000, y), ShockleyDiode())
    return builder.build()


def test_a_chip_scatters_parameters_by_a_log_normal_factor():
    circuit = chip_circuit()
    chip = Chip.draw(circuit, seed=3, saturation_current=0.5)
    applied = chip.apply(circuit).group("d")
    assert isinstance(applied, Diodes)
    logs = torch.log(applied.device.saturation_current / 1e-14)  # pyright: ignore[reportAttributeAccessIssue]
    assert float(logs.std()) == pytest.approx(0.5, rel=0.05)
    assert abs(float(logs.mean())) < 0.05
    assert torch.all(applied.device.ideality == 1)  # pyright: ignore[reportAttributeAccessIssue]


def test_offsets_are_sums_and_thresholds_of_diodes_only_rise():
    builder, _, x, y = divider()
    builder.add(Amplifiers("amp", [x] * 4000, builder.add_nodes(f"p{i}" for i in range(4000)), 2.0, 0.5))
    builder.add_diodes("d", np.full(4000, x), np.full(4000, y), PiecewiseLinearDiode((0.2,), (1e-3,)))
    circuit = builder.build()
    applied = Chip.draw(circuit, seed=3, offset=0.01, threshold=0.05).apply(circuit)
    amplifiers, diodes = applied.group("amp"), applied.group("d")
    assert isinstance(amplifiers, Amplifiers)
    assert float(amplifiers.offset.std()) == pytest.approx(0.01, rel=0.05)
    assert abs(float(amplifiers.offset.mean())) < 1e-3
    shift = diodes.device.offset  # pyright: ignore[reportAttributeAccessIssue]
    assert float(shift.min()) >= 0
    assert float(shift.mean()) == pytest.approx(0.05 * np.sqrt(2 / np.pi), rel=0.05)


def test_a_value_stands_in_place_of_nominal_and_factor():
    circuit = chip_circuit()
    key, n = "d.saturation_current", 4000
    chip = Chip({key: np.full(n, 3.0)}, {key: np.where(np.arange(n) == 1, 5e-12, np.nan)})
    saturation = chip.apply(circuit).group("d").device.saturation_current  # pyright: ignore[reportAttributeAccessIssue]
    assert saturation[:3].tolist() == pytest.approx([3e-14, 5e-12, 3e-14])


def test_a_chip_is_its_seed_and_other_spreads_do_not_disturb_it():
    circuit = chip_circuit()
    first, again = Chip.draw(circuit, 1, siemens=0.1), Chip.draw(circuit, 1, siemens=0.1, ideality=0.1)
    assert np.array_equal(first.factors["g.siemens"], again.factors["g.siemens"])
    assert not np.array_equal(first.factors["g.siemens"], Chip.draw(circuit, 2, siemens=0.1).factors["g.siemens"])


def test_a_chip_survives_the_disk(tmp_path):
    circuit = chip_circuit()
    chip = Chip.draw(circuit, 1, siemens=0.1, ideality=0.02)
    chip.save(tmp_path / "chip.safetensors")
    loaded = Chip.load(tmp_path / "chip.safetensors")
    assert loaded.factors.keys() == chip.factors.keys()
    assert all(np.array_equal(loaded.factors[key], chip.factors[key]) for key in chip.factors)


def test_a_chip_of_another_circuit_is_refused():
    circuit = chip_circuit()
    with pytest.raises(CircuitError, match="no branch has a parameter 'colour'; there are "):
        Chip.draw(circuit, 0, colour=0.1)
    with pytest.raises(CircuitError, match=r"the spread of siemens must be finite and not negative, found -0\.1"):
        Chip.draw(circuit, 0, siemens=-0.1)
    with pytest.raises(CircuitError, match="this chip has branches h that the circuit lacks"):
        Chip({"h.siemens": np.ones(3)}).apply(circuit)
    with pytest.raises(CircuitError, match=r"this chip has factors g\.colour that the circuit has no elements for"):
        Chip({"g.colour": np.ones(3)}).apply(circuit)
    with pytest.raises(CircuitError, match="this chip has 2 elements in g, the circuit 3"):
        Chip({"g.siemens": np.ones(2)}).apply(circuit)
