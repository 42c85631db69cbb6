"""Decks that several engines run: a circuit each, its netlist by dialect, and what its result must be.

What must come out is said by PyTorch: Newton's states of both phases and the changes by exact differentiation, and the
written memristors by their own integration.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from analog_ep import HopfieldNetwork, ResistiveNetwork, ShockleyDiode, implicit_gradients
from analog_ep.circuit import (
    Amplifiers,
    Chip,
    Circuit,
    CircuitBuilder,
    Conductances,
    CurrentControlledCurrentSources,
    CurrentControlledVoltageSources,
    CurrentSources,
    Diodes,
    FloatingGateMosfets,
    Mosfets,
    VoltageControlledCurrentSources,
    VoltageControlledVoltageSources,
    VoltageSources,
)
from analog_ep.circuit.adjoint import asymmetric_circuit, asymmetric_weights
from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.devices import Clamp, DiodeClamp, EkvMosfet, HardClamp, IdealDiode, Level1Mosfet, PiecewiseLinearDiode
from analog_ep.devices.memristors import VTEAM
from analog_ep.devices.memristors.writing import WriteSchedule, WriteVoltages, write_crossbar
from analog_ep.equilibrium import Newton, solve
from analog_ep.netlist import SpiceOptions, write_deck
from analog_ep.netlist.adjoint_deck import write_adjoint_deck
from analog_ep.netlist.settling_deck import write_settling_deck
from analog_ep.netlist.timing import TwoPhaseTiming
from analog_ep.netlist.transient_deck import write_transient_deck
from analog_ep.netlist.verilog_memristors import vacask_write_deck
from analog_ep.networks import LeakyIntegrators
from analog_ep.networks.wires import Wires
from analog_ep.ngspice.memristor_deck import memristor_write_deck
from analog_ep.stimulus import CrossEntropy, Nudge, SquaredError

Points = Mapping[str, np.ndarray]
"""Vectors of a result by name, nodes by their own, in small letters."""

_TIGHT = SpiceOptions(reltol=1e-12)
_SATURATION = 1e-9
_CAPACITANCE = 1e-12


@dataclass(frozen=True)
class Deck(ABC):
    """A circuit, and what an engine must find for it.

    Attributes
    ----------
    build : callable
        Makes the circuit.
    allowed : float
        Largest difference of an engine that works: 1e-12 V, beside wires of 1 Ω, whose currents are rounded, 1e-11 V.
    """

    build: Callable[[], Any]
    allowed: float = 1e-12

    unit: ClassVar[str] = "V"
    plot: ClassVar[str] = "phases"
    """What VACASK's analysis is called."""

    @abstractmethod
    def netlist(self, dialect: str) -> str:
        """Text for "ngspice" or "vacask"."""

    @abstractmethod
    def difference(self, points: Points) -> float:
        """The largest, of `unit`."""


@dataclass(frozen=True)
class Phases(Deck):
    """Free and nudged voltages of all nodes."""

    kind: str = "frozen"
    cost: Any = SquaredError()  # noqa: RUF009
    strength: float = 2e-5
    volts: float = 1.0
    """Of the largest input."""
    from_free: bool = False
    """Whether the search begins at the free state: there are other equilibria."""

    def netlist(self, dialect: str) -> str:
        circuit, inputs, nudge, free, _ = self._states()
        start = free.voltages.numpy() if self.from_free else None
        options: dict[str, Any] = {"dialect": dialect, "options": _TIGHT, "start": start}
        return write_deck(circuit, inputs, nudge, free.outputs, "both", **options)

    def difference(self, points: Points) -> float:
        circuit, _, _, free, nudged = self._states()
        expected = torch.stack([free.voltages, nudged.voltages]).numpy()
        names = [name for name in circuit.node_names if name in points]
        assert len(names) == circuit.n_nodes - 1
        nodes = [circuit.node(name) for name in names]
        return _largest([points[name] for name in names], expected[:, nodes].T)

    @cache  # noqa: B019
    def _states(self) -> Any:
        circuit = self.build()
        inputs, target = _stimulus(circuit)
        inputs *= self.volts
        nudge = Nudge(self.strength, target, self.cost, self.kind)  # pyright: ignore[reportArgumentType]
        free = solve(circuit, inputs, solver=Newton())
        return circuit, inputs, nudge, free, solve(circuit, inputs, nudge, solver=Newton(), start=free)


@dataclass(frozen=True)
class Adjoint(Deck):
    """The exact gradient, which an adjoint network prints, of its largest entry."""

    unit: ClassVar[str] = "of the largest"
    allowed: float = 1e-9

    def netlist(self, dialect: str) -> str:
        circuit = self.build()
        inputs, target = _stimulus(circuit)
        free = solve(circuit, inputs, solver=Newton()).voltages.numpy()
        options: dict[str, Any] = {"dialect": dialect}
        return write_adjoint_deck(circuit, free, Nudge(1e-6, target, SquaredError()), **options)

    def difference(self, points: Points) -> float:
        circuit = self.build()
        inputs, target = _stimulus(circuit)
        exact = implicit_gradients(circuit, SquaredError(), inputs[None], target[None])
        worst = 0.0
        for group, name, index in circuit.trained_groups():
            wanted = exact[name].flatten().numpy()[index]
            found = [points[f"grad_{group.label}_{i}"][0] for i in range(len(group))]
            worst = max(worst, _largest(found, wanted) / abs(wanted).max())
        return worst


@dataclass(frozen=True)
class Asymmetric(Phases):
    """Both phases of asymmetric EP about the free state."""

    @cache  # noqa: B019
    def _states(self) -> Any:
        nominal = self.build()
        inputs, target = _stimulus(nominal)
        circuit = Chip.draw(nominal, 3, gain=0.1, feedback=0.1).apply(nominal)
        free = solve(circuit, inputs, solver=Newton())
        corrected = asymmetric_circuit(circuit, free.voltages.numpy(), asymmetric_weights(nominal))
        nudge, none = Nudge(self.strength, target, self.cost, "frozen"), torch.zeros(0, dtype=torch.float64)
        about = solve(corrected, none, solver=Newton())
        return corrected, none, nudge, about, solve(corrected, none, nudge, solver=Newton(), start=about)


@dataclass(frozen=True)
class Cycle(Deck):
    """Voltages of all nodes, and those that are stored, at the ends of the phases of two samples."""

    strength: float = 2e-5
    plot: ClassVar[str] = "transient"
    timing: ClassVar[TwoPhaseTiming] = TwoPhaseTiming(8e-6, 8e-6)

    def netlist(self, dialect: str) -> str:
        circuit, inputs, targets = self._stimulus()
        nudge, options = Nudge(self.strength, targets, SquaredError()), {"dialect": dialect}
        loaded = with_node_capacitance(circuit, _CAPACITANCE)
        return write_transient_deck(loaded, inputs, nudge, self.timing, rate=1.0, **options)  # pyright: ignore

    def difference(self, points: Points) -> float:
        circuit, inputs, targets = self._stimulus()
        free = solve(circuit, inputs, solver=Newton())
        nudged = solve(circuit, inputs, Nudge(self.strength, targets, SquaredError()), solver=Newton(), start=free)
        worst, timing = 0.0, self.timing
        for sample in range(len(inputs)):
            ends = sample * timing.period + timing.free - 2 * timing.edge, timing.measured(sample)
            for i, name in enumerate(circuit.node_names[1:], 1):
                expected = [float(free.voltages[sample, i]), float(nudged.voltages[sample, i])]
                worst = max(worst, _largest(np.interp(ends, points["time"], points[name]), expected))
                if f"_hold_{name}" in points:
                    held = np.interp(ends[1], points["time"], points[f"_hold_{name}"])
                    worst = max(worst, abs(float(held) - expected[0]))
        return worst

    def _stimulus(self) -> tuple[Circuit, Tensor, Tensor]:
        circuit = self.build()
        pairs = [_stimulus(circuit, seed) for seed in (1, 2)]
        return circuit, *(torch.stack(values) for values in zip(*pairs, strict=True))  # pyright: ignore


@dataclass(frozen=True)
class Settling(Deck):
    """Voltages of the layers of a circuit with capacitors of its own at the ends of both phases, from rest."""

    duration: float = 1.5e-4
    plot: ClassVar[str] = "transient"

    def netlist(self, dialect: str) -> str:
        circuit, inputs, nudge = self._question()
        options: dict[str, Any] = {"dialect": dialect, "duration": self.duration}
        return write_settling_deck(circuit, inputs, nudge, **options)

    def difference(self, points: Points) -> float:
        circuit, inputs, nudge = self._question()
        free = solve(circuit, inputs, solver=Newton())
        nudged = solve(circuit, inputs, nudge, solver=Newton(), start=free)
        names = [circuit.node_names[node] for layer in circuit.layers.values() for node in layer]
        nodes = [circuit.node(name) for name in names]
        found = [np.interp([self.duration, 2 * self.duration], points["time"], points[name]) for name in names]
        return _largest(found, torch.stack([free.voltages, nudged.voltages]).numpy()[:, nodes].T)

    def _question(self) -> tuple[Circuit, Tensor, Nudge]:
        circuit = self.build()
        inputs, target = _stimulus(circuit)
        return circuit, inputs, Nudge(2e-6, target, SquaredError(), "elastic")


@dataclass(frozen=True)
class Writes(Deck):
    """States and conductances of memristors behind the pulses of an update, whose way there is integrated."""

    allowed: float = 1e-3
    unit: ClassVar[str] = "of the largest"
    plot: ClassVar[str] = "write"
    start: ClassVar[Tensor] = torch.tensor([[0.2, 0.5, 0.8], [0.6, 0.3, 0.4]], dtype=torch.float64)

    def netlist(self, dialect: str) -> str:
        write = {"ngspice": memristor_write_deck, "vacask": vacask_write_deck}[dialect]
        return write(VTEAM(), self.start, self.build())

    def difference(self, points: Points) -> float:
        schedule = self.build()
        expected = write_crossbar(VTEAM(), self.start, schedule, tolerance=1e-9)
        times, columns = schedule.times[schedule.read_corners], range(3)
        amperes = [points.get(f"v_column_{j}:flow(br)", points.get(f"i(v_column_{j})")) for j in columns]
        read = np.stack([np.interp(times, points["time"], a) for a in amperes], 1) / schedule.read_voltage  # pyright: ignore
        states = np.array([[points[f"state_{i}_{j}"][-1] for j in columns] for i in range(2)])
        pairs = ((read, expected.conductances.numpy()), (states, expected.states.numpy()))
        return max(_largest(found, wanted) / wanted.max() for found, wanted in pairs)


def _largest(found: Any, expected: Any) -> float:
    return float(np.abs(np.asarray(found) - np.asarray(expected)).max())


def _stimulus(circuit: Circuit, seed: int = 2) -> tuple[Tensor, Tensor]:
    """Inputs and a target of one sample."""
    assert circuit.outputs is not None
    random = np.random.default_rng(seed)
    inputs = torch.from_numpy(random.uniform(-1, 1, circuit.n_inputs))
    return inputs, torch.softmax(torch.from_numpy(random.uniform(0, 1, len(circuit.outputs[0]))), 0)


def network(*sizes: int, diode: Any = ShockleyDiode(_SATURATION), **options: Any) -> Callable[[], Circuit]:  # noqa: B008
    """Makes the circuit of a resistive network."""
    return lambda: ResistiveNetwork(sizes, diode=diode, dtype=torch.float64, **{"seed": 5, **options}).circuit()


def hopfield(*sizes: int) -> Callable[[], Circuit]:
    """Makes the circuit of a Hopfield network of hard sigmoids."""
    hardware = LeakyIntegrators(1e-5, 1e-11, 1.0)
    options: dict[str, Any] = {"initial_scale": 0.4, "seed": 1, "dtype": torch.float64, "hardware": hardware}
    return lambda: HopfieldNetwork(sizes, **options).as_built().circuit()


def lattice() -> Circuit:
    """A graph of no layers, with junctions between its nodes and outputs that share none."""
    builder, random = CircuitBuilder("lattice"), np.random.default_rng(3)
    nodes = builder.add_nodes([f"n{i}_{j}" for i in range(4) for j in range(4)]).reshape(4, 4)
    builder.add(VoltageSources("x", nodes[0, :3], 0, 0.0, np.arange(3)))
    for label, ends in (("rows", (nodes[:, :-1], nodes[:, 1:])), ("columns", (nodes[:-1], nodes[1:]))):
        first, second = (each.ravel() for each in ends)
        builder.add(Conductances(label, first, second, random.uniform(1e-5, 1e-4, len(first))))
    builder.add(Diodes("d", nodes[1:, 1], nodes[1:, 2], ShockleyDiode(_SATURATION)))
    builder.set_outputs(nodes[3, [0, 2]], nodes[3, [1, 3]])
    return builder.build()


def controlled() -> Circuit:
    """Sources of every kind, an offset, junctions at two temperatures, one with a series resistance, a curve."""
    builder = CircuitBuilder("controlled sources")
    x, y, e, h, f, g, out, far, p, n = builder.add_nodes(["x", "y", "e", "h", "f", "g", "out", "far", "p", "n"])
    builder.add(VoltageSources("v", [x, y], [0, e], [0.5, 0.0], [0, -1]))
    builder.add(Conductances("r", [x, y, f, g, h, f], [y, 0, 0, 0, f, g], [1e-3, 2e-3, 1e-3, 3e-3, 1e-4, 2e-4]))
    builder.add(CurrentSources("i", 0, y, 1e-4))
    builder.add(VoltageControlledVoltageSources("e", e, 0, g, 0, 0.5))
    builder.add(VoltageControlledCurrentSources("g", g, 0, x, y, -1e-3))
    builder.add(CurrentControlledCurrentSources("f", f, 0, "v", 1, 0.7))
    builder.add(CurrentControlledVoltageSources("h", h, 0, "v", 0, 250.0))
    temperature = torch.tensor([300.15, 330.0], dtype=torch.float64)
    warm, slow = ShockleyDiode(1e-11, temperature=temperature), ShockleyDiode(1e-11, 1.5, series_resistance=100.0)
    builder.add(Diodes("warm", [f, g], [g, 0], warm))
    builder.add(Diodes("slow", x, f, slow))
    builder.add(Amplifiers("pair", f, out, 3.0, 0.2))
    builder.add(Amplifiers("single", g, far, 2.0, 0.3, offset=1e-3))
    builder.add(Conductances("load", [out, far, p, n], [p, n, n, 0], [1e-4, 2e-4, 3e-4, 1e-4]))
    builder.set_outputs(np.array([p]), np.array([n]))
    return builder.build()


def stage(*devices: Callable[..., Any]) -> Callable[[], Circuit]:
    """Makes an amplifier of transistors, whose gate is the input and whose drain the output."""

    def build() -> Circuit:
        builder = CircuitBuilder("stage")
        supply, gate, drain, low, bias = builder.add_nodes(["supply", "gate", "drain", "low", "bias"])
        builder.add(VoltageSources("vdd", [supply, bias], 0, [1.8, 1.3]))
        builder.add(VoltageSources("vin", gate, bias, 0.0, 0))
        builder.add(Conductances("load", [supply, low], [drain, 0], [1e-4, 1e-3]))
        for device in devices:
            builder.add(device(drain, gate, low))
        builder.set_outputs(drain, 0)
        return builder.build()

    return build


def floating_gates() -> Circuit:
    """A ring of transistors whose gates follow their own sources."""
    builder, random = CircuitBuilder("floating gates"), np.random.default_rng(0)
    inner, driven = builder.add_nodes([f"n{i}" for i in range(8)]), builder.add_nodes(["x0", "x1", "one"])
    builder.add(VoltageSources("x", driven, 0, [0.0, 0.0, 0.4], [0, 1, -1]))
    every = np.concatenate([inner, driven])
    device = EkvMosfet(width=2e-5, length=1e-6, threshold_voltage=0.7)
    builder.add(FloatingGateMosfets("m", every, np.roll(every, 1), random.uniform(1.0, 2.8, len(every)), device))
    builder.add(Conductances("load", inner, 0, 2e-6))
    builder.set_outputs(inner[[2, 6]], [0, inner[4]])
    return builder.build()


def pulses() -> WriteSchedule:
    """Of an update of 2 x 3 cells."""
    orders = [_Order(4, -1, 3), _Order(0, 1, 2), _Order(2, -1, 1), _Order(5, 1, 1)]
    return WriteSchedule.of(orders, (2, 3), WriteVoltages(potentiate=-0.3, depress=0.06, read=0.01, width=2e-8))


@dataclass(frozen=True)
class _Order:
    index: int
    sign: int
    count: int


_NMOS: dict[str, Any] = {"width": 1e-5, "length": 1e-6, "threshold_voltage": 0.4}
_CURVE = PiecewiseLinearDiode.from_points([-1.0, 0.0, 0.2, 0.3, 0.35], [-1e-7, 0.0, 1e-6, 1e-5, 1e-4])


def _level1(drain: int, gate: int, source: int) -> Mosfets:
    device = Level1Mosfet(**_NMOS, body_effect=0.3, surface_potential=0.7, channel_modulation=0.05)
    return Mosfets("n", drain, gate, source, 0, device)


def _ekv(drain: int, gate: int, source: int) -> Mosfets:
    return Mosfets("n", drain, gate, source, 0, EkvMosfet(**_NMOS))


_SOFTMAX = HardClamp(IdealDiode(1e-2), 0.06, -0.06)
_ALTERNATING = Clamp.alternating(ShockleyDiode(_SATURATION, 1.3), 10, upper=0.1, lower=-0.2)

DECKS: dict[str, Deck] = {
    "the README's network, 64-100-10": Phases(network(64, 100, 10, diode=ShockleyDiode(), gain=4.0), volts=15.0),
    "iris 10-10-6": Phases(network(10, 10, 6, diode=_ALTERNATING), volts=4.0),
    "XOR 2-2-1": Phases(network(2, 2, 1), kind="elastic"),
    "two hidden layers, elastic": Phases(network(4, 6, 5, 3), kind="elastic"),
    "elastic nudge of a softmax": Phases(network(3, 5, 3), kind="elastic", cost=CrossEntropy(0.3), strength=2e-6),
    "ideal diodes, transformers, softmax": Phases(
        network(2, 3, 3, diode=_SOFTMAX, gain=2.0, feedback=2.0, drive="single"),
        kind="elastic",
        cost=CrossEntropy(0.5),
        strength=1e-6,
    ),
    "measured diodes": Phases(network(2, 3, 2, diode=DiodeClamp(_CURVE, -0.2, 0.2))),
    "single-ended": Phases(network(3, 4, 2, drive="single", gain=2.0)),
    "a chip's mismatch": Phases(
        lambda: Chip.draw(network(6, 5, 3)(), 1, siemens=0.1, gain=0.05, feedback=0.05, saturation_current=0.3).apply(
            network(6, 5, 3)()
        )
    ),
    "wires of 1 Ω, 6-5-3": Phases(network(6, 5, 3, wires=Wires(row_resistance=1.0, column_resistance=1.0)), 1e-11),
    "lattice": Phases(lattice),
    "controlled sources, two temperatures": Phases(controlled),
    "MOSFET of level 1": Phases(stage(_level1)),
    "MOSFET by EKV's expression": Phases(stage(_ekv)),
    "floating-gate MOSFETs": Phases(floating_gates),
    "Hopfield, hard sigmoids, elastic": Phases(hopfield(6, 8, 7, 4), kind="elastic", strength=2e-6, from_free=True),
    "Hopfield, settling from rest": Settling(hopfield(6, 8, 7, 4)),
    "adjoint network": Adjoint(network(6, 5, 3)),
    "asymmetric EP": Asymmetric(network(6, 5, 3)),
    "transient cycle, iris 10-10-6": Cycle(network(10, 10, 6, diode=_ALTERNATING)),
    "transient cycle, ideal diodes": Cycle(network(3, 4, 2, diode=HardClamp(IdealDiode(1e-2), 0.1, -0.1))),
    "memristor writes, VTEAM": Writes(pulses),
}
"""By what they hold."""
