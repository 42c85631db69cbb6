"""How the gradients of several methods depart from the exact one as the nudge grows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from analog_ep.circuit.node_capacitance import with_node_capacitance
from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.errors import ConvergenceError
from analog_ep.learning.gradients.contour import (
    HarmonicEquilibriumPropagation,
    HolomorphicEquilibriumPropagation,
    harmonic_weights,
)
from analog_ep.learning.gradients.implicit import implicit_gradients
from analog_ep.learning.gradients.method import GradientMethod
from analog_ep.learning.gradients.propagation import EquilibriumPropagation, SmallSignal
from analog_ep.networks import HopfieldNetwork, ResistiveNetwork
from analog_ep.ngspice.lock_in import lock_in
from analog_ep.stimulus import SquaredError
from analog_ep.support.png import png_of
from analog_ep.support.shown import Tabled

_HIGHEST = 15
Gradient = Callable[[float], Tensor]


@dataclass(frozen=True)
class AmplitudePoint:
    """One method at one strength of the nudge.

    Attributes
    ----------
    method : str
        Its name.
    nudging : float
        Largest magnitude of the nudge; [S] for circuits.
    distance : float or None
        |g − exact| / |exact|; None where the method refused.
    cosine : float or None
        Between the two.
    """

    method: str
    nudging: float
    distance: float | None
    cosine: float | None


@dataclass(frozen=True)
class AmplitudeStudy(Tabled):
    """Several methods over the strength of the nudge."""

    title: str
    points: tuple[AmplitudePoint, ...]

    def to_json(self) -> str:
        """The figures as a JSON object."""
        return json.dumps({"title": self.title, "points": [asdict(point) for point in self.points]})

    def table(self) -> Table:
        """A row a nudge, a column a method."""
        methods = list(dict.fromkeys(point.method for point in self.points))
        table = Table("nudging", *methods, title=f"{self.title}: distance to the exact gradient, cosine")
        for nudging in dict.fromkeys(point.nudging for point in self.points):
            row = [point for point in self.points if point.nudging == nudging]
            cells = ["-" if p.cosine is None else f"{p.distance:.1e}, {p.cosine:.6f}" for p in row]
            table.add_row(f"{nudging:.3g}", *cells)
        return table

    def plot(self) -> bytes:
        """Distances over the nudge, as a PNG."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 4.2), layout="constrained")
        axes = figure.subplots()
        for number, method in enumerate(dict.fromkeys(point.method for point in self.points)):
            own = [point for point in self.points if point.method == method and point.distance is not None]
            line = "--" if "ngspice" in method else "-"
            x, y = [p.nudging for p in own], [p.distance for p in own]
            axes.loglog(x, y, line, marker="os^vDPX"[number % 7], markersize=5, fillstyle="none", label=method)
        axes.set(xlabel="largest nudge |β|", ylabel="distance to the exact gradient, relative", title=self.title)
        figure.legend(loc="outside right upper")
        return png_of(figure)


def holomorphic_study(nudges: Sequence[float] = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)) -> AmplitudeStudy:
    """Holomorphic EP with 2, 4, 8 and 16 points on a Hopfield network with the sigmoid, four samples."""
    network = HopfieldNetwork([4, 6, 3], initial_scale=0.2, activation="sigmoid", dtype=torch.float64, seed=3)
    inputs, targets = _samples(4)
    exact = _flat(SmallSignal(network).gradients(inputs, targets)[1], network)

    def gradient(points: int) -> Gradient:
        return lambda nudging: _of(HolomorphicEquilibriumPropagation(network, nudging, points), inputs, targets)

    methods = {f"{points} points": gradient(points) for points in (2, 4, 8, 16)}
    return _compared("holomorphic EP, Hopfield 4-6-3, sigmoid", exact, methods, nudges)


def harmonic_study(
    nudges: Sequence[float] = (1e-5, 3e-5, 1e-4, 3e-4),
    *,
    ngspice: bool = True,
    capacitance: float = 1e-12,
    frequency: float = 1e4,
) -> AmplitudeStudy:
    """A sinusoidal nudge on a resistive network with Shockley diodes, one sample, in PyTorch and in ngspice's `.tran`.

    Parameters
    ----------
    nudges : sequence of float
        β₀. [S]
    ngspice : bool
        Whether ngspice takes part.
    capacitance : float
        Of each node, in ngspice. [F]
    frequency : float
        Of the nudge, in ngspice. [Hz]
    """
    network = ResistiveNetwork(
        [4, 6, 3], diode=ShockleyDiode(1e-8), conductance_range=(1e-6, 1e-5), dtype=torch.float64, seed=2
    )
    inputs, targets = _samples(1)
    found = implicit_gradients(network, SquaredError(), inputs, targets)
    exact = network.parameter_scale * torch.cat([found[name] for name, _ in network.named_parameters()])

    def harmonic(highest: int) -> Gradient:
        points = _HIGHEST + 1
        return lambda b: _of(HarmonicEquilibriumPropagation(network, b, highest, points), inputs, targets)

    methods: dict[str, Gradient] = {
        "two points": lambda b: _of(EquilibriumPropagation(network, b), inputs, targets),
        "1st harmonic": harmonic(1),
        "harmonics to 7": harmonic(7),
        "harmonics to 15": harmonic(_HIGHEST),
    }
    if ngspice:
        reading = _Reading(network, inputs[0], targets[0], capacitance, frequency)
        methods["1st harmonic, ngspice"] = lambda b: reading.gradient(b, 1)
        methods["harmonics to 15, ngspice"] = lambda b: reading.gradient(b, _HIGHEST)
    return _compared("sinusoidal nudge, resistive 4-6-3, Shockley diodes", exact, methods, nudges)


class _Reading:
    """Harmonics of one sample's transients, run once for each β₀."""

    def __init__(self, network: ResistiveNetwork, inputs: Tensor, target: Tensor, capacitance: float, frequency: float):
        self.network, self.inputs, self.frequency = network, inputs, frequency
        self.circuit = with_node_capacitance(network.circuit(), capacitance)
        self.error = SquaredError().gradient(solve(network, inputs, solver=Newton()).outputs, target).numpy()
        self._found: dict[float, dict[str, np.ndarray]] = {}

    def gradient(self, nudging: float, highest: int) -> Tensor:
        """dC/dθ in the order of the network's parameters."""
        if nudging not in self._found:
            reading = lock_in(self.circuit, self.inputs.numpy(), -nudging * self.error, self.frequency)
            self._found[nudging] = reading.harmonics(_HIGHEST)
        weights = np.pad(harmonic_weights(highest), (0, _HIGHEST - highest)) / nudging
        rows, network = [], self.network
        for (name, _), ratio in zip(network.named_parameters(), network.weight_ratios, strict=True):
            rows.append(torch.from_numpy(ratio * network.parameter_scale * (weights @ self._found[nudging][name])))
        return torch.cat(rows)


def _compared(title: str, exact: Tensor, methods: dict[str, Gradient], nudges: Sequence[float]) -> AmplitudeStudy:
    points = []
    for nudging in nudges:
        for name, gradient in methods.items():
            try:
                found = gradient(nudging)
            except ConvergenceError:
                points.append(AmplitudePoint(name, nudging, None, None))
                continue
            distance = float((found - exact).norm() / exact.norm())
            cosine = float(torch.cosine_similarity(found, exact, dim=0))
            points.append(AmplitudePoint(name, nudging, distance, cosine))
    return AmplitudeStudy(title, tuple(points))


def _of(method: GradientMethod, inputs: Tensor, targets: Tensor) -> Tensor:
    return _flat(method.gradients(inputs, targets)[1], method.network)


def _flat(gradients: dict[str, Tensor], network: torch.nn.Module) -> Tensor:
    return torch.cat([gradients[name].flatten() for name, _ in network.named_parameters()])


def _samples(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    return inputs, torch.randn(n, 3, generator=generator, dtype=torch.float64)
