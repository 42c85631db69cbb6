"""Hypothesis strategies of layered networks with everything varied that a solver could trip over."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from hypothesis import Phase, settings
from hypothesis import strategies as st
from torch import Tensor

from analog_ep.circuit import Amplifiers, Circuit, Conductances, Diodes, VoltageSources, energy_weights
from analog_ep.devices import Clamp, Diode, IdealDiode, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.networks import ResistiveNetwork

HIGHEST_CONDUCTANCE = 1e-4
MEASURED = PiecewiseLinearDiode.from_points([-1.0, 0.0, 0.2, 0.3, 0.35], [-1e-7, 0.0, 1e-6, 1e-5, 1e-4])


def examples(count: int) -> settings:
    """So many examples, the same in every run; a failing one is shown as it was found."""
    return settings(
        max_examples=count, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate], database=None
    )


@dataclass(frozen=True, repr=False)
class Case:
    """A network with inputs and targets, all float64."""

    network: ResistiveNetwork
    inputs: Tensor
    targets: Tensor

    def __repr__(self) -> str:
        net = self.network
        return (
            f"{net.sizes} {net.drive}, a={net.gain}, k={net.feedback}, bias {net.bias_voltage}, "
            f"{net.conductance_range} S, {net.clamps}, inputs {self.inputs.tolist()}"
        )

    def _repr_pretty_(self, printer, cycle: bool) -> None:
        printer.text(repr(self))

    @property
    def for_spice(self) -> "Case":
        """The case with ideal diodes replaced by their piecewise-linear stand-ins."""
        network = self.network
        twin = rebuilt(network, network.spice_clamps)
        return replace(self, network=twin)

    def single(self) -> tuple[ResistiveNetwork, Tensor, Tensor]:
        """Network, inputs and targets in float32."""
        return rebuilt(self.network, self.network.clamps, torch.float32), self.inputs.float(), self.targets.float()


def rebuilt(network: ResistiveNetwork, clamps: Sequence[Clamp], dtype: torch.dtype = torch.float64) -> ResistiveNetwork:
    """The same network with other clamps or in another precision."""
    twin = ResistiveNetwork(
        network.sizes,
        diode=list(clamps),
        gain=network.gain,
        feedback=network.feedback,
        drive=network.drive,
        bias_voltage=network.bias_voltage,
        conductance_range=network.conductance_range,
        dtype=dtype,
    )
    twin.set_conductances(network.conductances)
    return twin


def shockley_diodes(n_nodes: int) -> st.SearchStrategy[ShockleyDiode]:
    per_node = st.just(torch.logspace(-14, -7, n_nodes, dtype=torch.float64))
    return st.builds(
        ShockleyDiode,
        saturation_current=st.sampled_from([1e-15, 1e-9, 1e-6]) | per_node,
        ideality=st.sampled_from([1.0, 1.7]),
        temperature=st.sampled_from([300.15, 350.0]),
        series_resistance=st.sampled_from([0.0, 0.0, 0.0, 2e3]),
    )


def piecewise_diodes(n_nodes: int) -> st.SearchStrategy[PiecewiseLinearDiode]:
    spread = torch.linspace(-0.05, 0.05, n_nodes, dtype=torch.float64)
    return st.sampled_from(
        [
            MEASURED,
            replace(MEASURED, offset=spread),
            PiecewiseLinearDiode((0.3,), (1e-2,)),
            PiecewiseLinearDiode((-0.2, 0.4), (1e-5, 1e-3), leakage=1e-8),
        ]
    )


DIODES = {
    "shockley": shockley_diodes,
    "piecewise": piecewise_diodes,
    "ideal": lambda n_nodes: st.builds(
        IdealDiode, on_conductance=st.sampled_from([1e-2, 1.0]), forward_voltage=st.sampled_from([0.0, 0.25])
    ),
}


@st.composite
def clamps(draw: st.DrawFn, n_nodes: int, kinds: Sequence[str]) -> Clamp:
    """Alternating, pairs, one-sided, or a mixture node by node."""
    diode: Diode | IdealDiode = draw(st.sampled_from(kinds).flatmap(lambda kind: DIODES[kind](n_nodes)))
    match draw(st.sampled_from(["alternating", "pair", "upper", "lower", "mixed"])):
        case "alternating":
            return Clamp.alternating(
                diode, n_nodes, upper=draw(st.sampled_from([0.0, 0.1])), lower=draw(st.sampled_from([0.0, -0.2]))
            )
        case "pair":
            return diode.clamp(upper=0.3, lower=draw(st.sampled_from([0.0, -0.4])))
        case "upper":
            return diode.clamp(upper=0.05)
        case "lower":
            return diode.clamp(lower=-0.05)
    pattern = torch.arange(n_nodes) % 3
    none = torch.tensor(torch.inf, dtype=torch.float64)
    return diode.clamp(upper=torch.where(pattern == 0, none, 0.2), lower=torch.where(pattern == 1, -none, -0.1))


@st.composite
def cases(
    draw: st.DrawFn,
    kinds: Sequence[str] = ("shockley", "piecewise", "ideal"),
    max_depth: int = 3,
    max_width: int = 3,
    n_samples: int = 3,
    scales: Sequence[float] = (1e-3, 0.3, 1.0, 5.0),
    kendall: bool = False,
    usual: bool = False,
) -> Case:
    """A random layered network with `max_depth` hidden layers at most, inputs and targets.

    With `kendall` the amplifiers have k = 1/a; otherwise k = a (an ideal transformer) and k = 0.6 are drawn as well.
    With `usual` they have k = 1/a, differential drive and a gain above 1, and the crossbars have bias rows.
    """
    hidden = draw(st.lists(st.integers(1, max_width), min_size=1, max_size=max_depth))
    sizes = [draw(st.integers(1, 3)), *hidden, draw(st.integers(1, 3))]
    gain = draw(st.sampled_from([2.0, 4.0] if usual else [0.5, 1.0, 4.0]))
    feedback = None if kendall or usual else draw(st.sampled_from([None, gain, 0.6]))
    decades = draw(st.integers(1, 4))
    network = ResistiveNetwork(
        sizes,
        diode=[draw(clamps(size, kinds)) for size in hidden],
        gain=gain,
        feedback=feedback,
        drive="differential" if usual else draw(st.sampled_from(["single", "differential"])),
        bias_voltage=0.5 if usual else draw(st.sampled_from([None, 0.5])),
        conductance_range=(HIGHEST_CONDUCTANCE * 10.0**-decades, HIGHEST_CONDUCTANCE),
        dtype=torch.float64,
    )
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    network.set_conductances(
        {
            layout.label: torch.from_numpy(HIGHEST_CONDUCTANCE * 10 ** -random.uniform(0, decades, layout.shape))
            for layout in network.layouts
        }
    )
    scale = draw(st.sampled_from(scales))
    inputs = torch.from_numpy(scale * random.standard_normal((n_samples, sizes[0])))
    targets = torch.from_numpy(random.dirichlet(np.ones(sizes[-1]), n_samples))
    return Case(network, inputs, targets)


def dense_hessian(circuit: Circuit, voltages: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Hessian of the energy by all free nodes at `voltages`, the map from those to o, and the outputs' weight.

    Put together from the branches of the circuit alone.
    """
    weights = energy_weights(circuit).require()
    amplifiers, sources = circuit.of_kind(Amplifiers), circuit.of_kind(VoltageSources)
    bound = [np.zeros(1, int), *(group.positive for group in sources), *(group.outputs()[1] for group in amplifiers)]
    free = np.setdiff1d(np.arange(circuit.n_nodes), np.concatenate(bound))
    lift = np.zeros((circuit.n_nodes, len(free)))
    lift[free, np.arange(len(free))] = 1.0
    for group in amplifiers:
        element, nodes, sign = group.outputs()
        lift[nodes] = (sign * group.gain[element])[:, None] * lift[group.input[element]]
    hessian = np.zeros((len(free), len(free)))
    for group in circuit.of_kind(Conductances) + circuit.of_kind(Diodes):
        first, second = (getattr(group, name) for name in group.terminals)
        weight = np.where(lift[first].any(1), weights[first], weights[second])
        slope = group.siemens if isinstance(group, Conductances) else _slope(group, voltages)
        across = lift[first] - lift[second]
        hessian += across.T @ ((weight * slope)[:, None] * across)
    assert circuit.outputs is not None
    positive, negative = circuit.outputs
    return hessian, lift[positive] - lift[negative], float(weights[positive[0]])


def _slope(group: Diodes, voltages: np.ndarray) -> np.ndarray:
    return group.device.conductance(torch.from_numpy(voltages[group.anode] - voltages[group.cathode])).numpy()
