"""Random circuits of every element: conductances within four decades, a resistive path from each node to a source."""

# Scalars for element values are spread over the elements, which the annotations do not say.
# pyright: reportArgumentType=false

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st

from analog_ep.circuit import (
    Amplifiers,
    Circuit,
    CircuitBuilder,
    Conductances,
    CurrentControlledCurrentSources,
    CurrentControlledVoltageSources,
    CurrentSources,
    VoltageControlledCurrentSources,
    VoltageControlledVoltageSources,
    VoltageSources,
)
from analog_ep.devices import PiecewiseLinearDiode, ShockleyDiode


@dataclass(frozen=True)
class Recipe:
    """What to draw; `seed` decides the rest."""

    seed: int
    n_inputs: int = 2
    block_sizes: tuple[int, ...] = (3, 2)
    decades: float = 4.0
    drive: float = 1.0
    reciprocal: bool = True
    controlled: bool = False
    floating: bool = False


@st.composite
def recipes(draw, reciprocal: bool | None = None, controlled: bool | None = None) -> Recipe:
    """Recipes of well-conditioned and, as often, of ill-conditioned circuits."""
    hard = draw(st.booleans())
    return Recipe(
        seed=draw(st.integers(0, 2**31 - 1)),
        n_inputs=draw(st.integers(1, 3)),
        block_sizes=tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))),
        decades=4.0 if hard else 1.0,
        drive=draw(st.sampled_from([10.0, 100.0])) if hard else 1.0,
        reciprocal=draw(st.booleans()) if reciprocal is None else reciprocal,
        controlled=draw(st.booleans()) if controlled is None else controlled,
        floating=draw(st.booleans()),
    )


def circuits(reciprocal: bool | None = None, controlled: bool | None = None) -> st.SearchStrategy[Circuit]:
    """Circuits of `recipes`."""
    return recipes(reciprocal, controlled).map(build)


def build(recipe: Recipe) -> Circuit:
    """The circuit of a recipe: blocks of resistors and diodes, joined by amplifiers."""
    return _Draw(recipe).circuit()


def inputs_of(circuit: Circuit, n_samples: int, seed: int = 0) -> np.ndarray:
    """Inputs that each sources' scale turns into volts."""
    return np.random.default_rng(seed).uniform(-1, 1, (n_samples, circuit.n_inputs))


class _Draw:
    def __init__(self, recipe: Recipe):
        self.recipe = recipe
        self.rng = np.random.default_rng(recipe.seed)
        self.offsets = np.random.default_rng([recipe.seed, 1])
        self.builder = CircuitBuilder("random circuit")
        self.n_trainable = 0

    def circuit(self) -> Circuit:
        recipe, builder = self.recipe, self.builder
        n_inputs = recipe.n_inputs
        held = builder.add_nodes(f"in{i}" for i in range(n_inputs))
        sign = self.rng.choice([-1.0, 1.0], n_inputs)
        ends = np.where(sign > 0, held, 0), np.where(sign > 0, 0, held)
        scale = recipe.drive * self.rng.uniform(0.3, 1, n_inputs)
        builder.add(VoltageSources("source", *ends, 0.1, np.arange(n_inputs), scale))
        bias = builder.add_nodes(["bias"])
        builder.add(VoltageSources("bias_source", bias, 0, self.rng.uniform(-0.5, 0.5)))
        rails = np.concatenate([held, bias])
        blocks = []
        for b, size in enumerate(recipe.block_sizes):
            nodes = builder.add_nodes(f"n{b}_{i}" for i in range(size))
            driven = rails if b == 0 else self._amplifiers(b, blocks[-1])
            self._resistors(b, nodes, np.concatenate([driven, rails[-1:]]))
            self._diodes(b, nodes, np.concatenate([bias, [0]]))
            blocks.append(nodes)
        if recipe.floating:
            self._floating(blocks[0])
        if recipe.controlled:
            self._controlled(blocks)
        every = np.concatenate(blocks)
        count = min(2, len(every))
        builder.set_outputs(self.rng.permutation(every)[:count], self.rng.permutation(np.append(every, 0))[:count])
        return builder.build()

    def _siemens(self, count: int) -> np.ndarray:
        return 1e-5 * 10 ** (self.recipe.decades * self.rng.uniform(-0.5, 0.5, count))

    def _resistors(self, b: int, nodes: np.ndarray, driven: np.ndarray) -> None:
        earlier = [self.rng.choice(np.concatenate([driven, nodes[:i]])) for i in range(len(nodes))]
        extra = int(self.rng.integers(0, 3 * len(nodes)))
        pool = np.concatenate([driven, nodes, [0]])
        first = np.concatenate([nodes, driven, self.rng.choice(pool, extra)])
        second = np.concatenate([earlier, self.rng.choice(nodes, len(driven)), self.rng.choice(nodes, extra)])
        different = first != second
        self._conductances(f"g{b}", first[different], second[different])

    def _conductances(self, label: str, first: np.ndarray, second: np.ndarray) -> None:
        count = len(first)
        index = self.n_trainable + np.arange(count)
        self.builder.add(Conductances(label, first, second, self._siemens(count), "theta", index))
        self.n_trainable += count

    def _diodes(self, b: int, nodes: np.ndarray, rails: np.ndarray) -> None:
        count = int(self.rng.integers(1, 2 * len(nodes) + 1))
        first, second = self.rng.choice(nodes, count), self.rng.choice(np.concatenate([nodes, rails]), count)
        flip = self.rng.random(count) < 0.5
        anode, cathode = np.where(flip, first, second), np.where(flip, second, first)
        different = anode != cathode
        junction = ShockleyDiode(
            torch.from_numpy(10 ** self.rng.uniform(-16, -9, count)), torch.from_numpy(self.rng.uniform(1, 2, count))
        )
        keep = torch.from_numpy(different)
        self.builder.add_diodes(f"d{b}", anode[different], cathode[different], junction.select(keep))
        kinked = PiecewiseLinearDiode((0.1, 0.4), (1e-4, 1e-3), leakage=1e-9)
        self.builder.add_diodes(f"p{b}", self.rng.choice(nodes), int(self.rng.choice(rails)), kinked)

    def _amplifiers(self, b: int, before: np.ndarray) -> np.ndarray:
        count = int(self.rng.integers(1, len(before) + 1))
        differential = bool(self.rng.random() < 0.5)
        outputs = self.builder.add_nodes(f"a{b}_{i}" for i in range(count))
        inverted = self.builder.add_nodes(f"b{b}_{i}" for i in range(count)) if differential else np.full(count, -1)
        spread = 0.0 if self.recipe.reciprocal else 0.2
        gain = self.rng.uniform(0.3, 6) * np.exp(spread * self.rng.standard_normal(count))
        feedback = self.rng.uniform(0.05, 3) * np.exp(spread * self.rng.standard_normal(count))
        source = self.rng.permutation(before)[:count]
        offset = 0.05 * self.offsets.standard_normal(count)
        self.builder.add(Amplifiers(f"amp{b}", source, outputs, gain, feedback, inverted, offset))
        driven = np.concatenate([outputs, inverted]) if differential else outputs
        if self.rng.random() < 0.5:
            return driven
        # One amplifier that feeds another.
        chained = self.builder.add_nodes([f"c{b}"])
        ratio = feedback[0] / gain[0]
        self.builder.add(Amplifiers(f"chain{b}", outputs[0], chained, 0.7, 0.7 if self.recipe.reciprocal else ratio))
        return np.concatenate([driven, chained])

    def _floating(self, nodes: np.ndarray) -> None:
        top = self.builder.add_nodes(["battery"])
        self.builder.add(VoltageSources("battery_source", top, nodes[0], 0.3))
        self._conductances("battery_g", np.array([top[0], top[0]]), np.array([nodes[-1], 0]))
        self.builder.add(CurrentSources("pump", 0, nodes[-1], 1e-5))

    def _controlled(self, blocks: list[np.ndarray]) -> None:
        # Weak enough beside the resistors that no loop gain comes near 1.
        add, first, last = self.builder.add, blocks[0], blocks[-1]
        e, meter, h = self.builder.add_nodes(["e", "meter", "h"])
        add(VoltageControlledVoltageSources("e_source", e, 0, first[0], first[-1], 0.2))
        add(VoltageControlledCurrentSources("g_source", last[0], 0, 0, first[0], 1e-8))
        add(VoltageSources("ammeter", meter, first[0], 0.0))
        add(CurrentControlledCurrentSources("f_source", last[-1], 0, "ammeter", 0, 0.1))
        add(CurrentControlledVoltageSources("h_source", h, 0, "ammeter", 0, 1e3))
        self._conductances("control_g", np.array([e, meter, h]), np.array([last[-1], 0, last[0]]))
