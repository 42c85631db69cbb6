"""Any circuit with trainable conductances as a network: a designer's own graph, without a class of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Chip, Circuit, Conductances, circuit_energy
from analog_ep.circuit.energy import branch_weights, contrast_weights, held_nodes, output_weight, why_no_contrast
from analog_ep.errors import EnergyUnavailableError, NetworkError
from analog_ep.networks.diagram import network_html
from analog_ep.networks.following import Following
from analog_ep.networks.kept import KeptCircuit
from analog_ep.networks.network import ConductanceNetwork
from analog_ep.networks.node_reads import read_nodes

_RTOL = 1e-12


class CircuitNetwork(ConductanceNetwork):
    r"""A circuit that learns: its conductances with a `parameter` are the network's parameters.

    Every group of conductances with the same parameter name shares it; elements with the same index are one parameter,
    and their contrasts add up. The state is one layer, the voltages of all nodes, ground first. With w the energy
    weight of a branch's block, w_L that of the outputs' and v the voltage across it,

    .. math:: \frac{∂E}{∂g} = \frac{w}{w_L} \frac{v^2}{2} .

    On a chip, nodes in layers that the circuit names (`CircuitBuilder.set_layer`) are read by converters, one for each
    layer; others are seen as they are.

    Parameters
    ----------
    circuit : Circuit
        With outputs, and conductances that carry parameters; their values are the first ones.
    bounds : (float, float), or mapping of str to (float, float)
        g_min and g_max of the trainable conductances, 0 < g_min < g_max: of all, or of each parameter by its name. [S]
    reference_conductance : float, optional
        g_ref of the parameters θ = g/g_ref; by default the largest g_max. [S]
    dtype : torch.dtype
        Type of the parameters.
    reciprocal : bool
        Whether `contrast` asks for an energy, by which it is the exact gradient. Without, it is formed in any case, as
        hardware would form it: with the nearest weights, see `contrast_weights`.

    Attributes
    ----------
    conductance_range : (float, float)
        The bounds, or the range that holds those of all parameters; see `range_of`. [S]

    Raises
    ------
    NetworkError
        If the circuit has no outputs or no trainable conductances, the bounds are no range, a conductance lies outside
        them, or elements of one index begin with different values.
    EnergyUnavailableError
        If the circuit has no energy: on `energy`, and on `contrast` where `reciprocal` is set;
        `AdjointNetwork`, `AsymmetricEquilibriumPropagation` and `ImplicitDifferentiation` need none.
    """

    def __init__(
        self,
        circuit: Circuit,
        bounds: tuple[float, float] | Mapping[str, tuple[float, float]],
        *,
        reference_conductance: float | None = None,
        dtype: torch.dtype = torch.float64,
        reciprocal: bool = True,
    ):
        super().__init__()
        if circuit.outputs is None:
            raise NetworkError(f"a network needs outputs, found none in {circuit.title!r}; see set_outputs")
        self._described, self._outputs = circuit, circuit.outputs
        self._kept = KeptCircuit()
        self._reciprocal = reciprocal
        self.sizes = (circuit.n_inputs, len(circuit.outputs[0]))
        groups: dict[str, list[Conductances]] = {}
        for group in circuit.of_kind(Conductances):
            if group.parameter is not None:
                groups.setdefault(group.parameter, []).append(group)
        if not groups:
            raise NetworkError(
                f"a network needs trainable conductances, found none in {circuit.title!r}; give them parameter, index"
            )
        self._ranges = _ranges(bounds, groups)
        lows, highs = zip(*self._ranges.values(), strict=True)
        self.conductance_range = (min(lows), max(highs))
        self.reference_conductance = max(highs) if reference_conductance is None else reference_conductance
        self.parameter_scale = self.reference_conductance
        for name, members in groups.items():
            if hasattr(self, name):
                raise NetworkError(f"a parameter must not be called as what every network has, found {name!r}")
            theta = _first_values(name, members, self._ranges[name]) / self.reference_conductance
            self.register_parameter(name, torch.nn.Parameter(torch.from_numpy(theta).to(dtype)))

    def _repr_html_(self) -> str:
        return network_html(self) + self.circuit()._repr_html_()

    def range_of(self, label: str) -> tuple[float, float]:
        return self._ranges[label]

    @torch.no_grad()
    def set_conductances(self, conductances: dict[str, Tensor]) -> None:
        for name, theta in self.named_parameters():
            low, high = self.range_of(name)
            value = conductances.get(name)
            if value is None or value.shape != theta.shape:
                found = "nothing" if value is None else f"shape {tuple(value.shape)}"
                raise NetworkError(f"{name} needs conductances of shape {tuple(theta.shape)}, found {found}")
            if not bool(((value >= low * (1 - _RTOL)) & (value <= high * (1 + _RTOL))).all()):
                raise NetworkError(f"{name}: conductances must lie in {low}…{high} S, found others; clip them")
        for name, theta in self.named_parameters():
            theta.copy_((conductances[name] / self.reference_conductance).to(theta))

    def circuit(self, chip: Chip | None = None) -> Circuit:
        values = {name: theta.double().cpu().numpy() for name, theta in self.conductances.items()}
        return self._kept.circuit(values, lambda: self._with(values), chip)

    def _with(self, values: dict[str, np.ndarray]) -> Circuit:
        groups = [
            replace(group, siemens=values[group.parameter][group.index])
            if isinstance(group, Conductances) and group.parameter is not None
            else group
            for group in self._described.groups
        ]
        return self._described.with_groups(groups)

    def layers_of(self, voltages: Tensor) -> tuple[Tensor, ...]:
        return (voltages,)

    def node_voltages(self, inputs: Tensor, layers: tuple[Tensor, ...], chip: Chip | None = None) -> Tensor:
        return layers[0]

    def outputs_of(self, layers: tuple[Tensor, ...]) -> Tensor:
        positive, negative = self._outputs
        return layers[0][..., positive] - layers[0][..., negative]

    def read(
        self,
        layers: tuple[Tensor, ...],
        chip: Chip | None,
        generator: torch.Generator | None = None,
        known: Chip | None = None,
    ) -> tuple[Tensor, ...]:
        """See `read_nodes`."""
        return read_nodes(self._described, layers, chip, generator, known)

    @torch.no_grad()
    def energy(self, inputs: Tensor, layers: tuple[Tensor, ...]) -> Tensor:
        voltages = layers[0].double().cpu().numpy()
        return torch.from_numpy(np.asarray(circuit_energy(self.circuit(), voltages))).to(layers[0])

    @torch.no_grad()
    def contrast(
        self,
        inputs: Tensor,
        layers: tuple[Tensor, ...],
        response: tuple[Tensor, ...],
        *,
        linear: bool = False,
        known: Chip | None = None,
        chip: Chip | None = None,
    ) -> dict[str, Tensor]:
        following = self._following if known is None else Following.of(known.apply(self._described))
        volts, change = (state[0].reshape(-1, state[0].shape[-1]) for state in (layers, response))
        volts, change = following.volts(volts), following.changes(change)
        total = {name: torch.zeros(theta.numel(), dtype=volts.dtype) for name, theta in self.named_parameters()}
        for branch in self._weighted:
            v = volts[:, branch.positive] - volts[:, branch.negative]
            d = change[:, branch.positive] - change[:, branch.negative]
            # ½ [(v + d)² − v²], or its part of first order.
            each = (d * (v if linear else v + d / 2)).sum(0) * branch.weight.to(volts)
            total[branch.parameter].index_add_(0, branch.index, each.to("cpu"))
        return {name: value.to(volts.device) for name, value in total.items()}

    def weight_shares(self) -> dict[str, Tensor | float]:
        """w/w_L, summed over the branches that share an element."""
        shares = {name: torch.zeros(theta.numel(), dtype=torch.float64) for name, theta in self.named_parameters()}
        for branch in self._weighted:
            shares[branch.parameter].index_add_(0, branch.index, branch.weight)
        return dict(shares)

    @property
    def has_contrast(self) -> bool:
        return not self._reciprocal or not why_no_contrast(self._described)

    def as_measured(self) -> Self:
        if self.has_contrast:
            return self
        twin = copy.deepcopy(self)
        twin._reciprocal = False
        return twin

    @cached_property
    def _following(self) -> Following:
        return Following.of(self._described)

    @cached_property
    def _weighted(self) -> tuple[_Trainable, ...]:
        """The trainable branches with w/w_L."""
        circuit = self._described
        if not self.has_contrast:
            raise EnergyUnavailableError(
                f"this circuit has no energy: {why_no_contrast(circuit)}; use AdjointNetwork, "
                f"AsymmetricEquilibriumPropagation or ImplicitDifferentiation, or CircuitNetwork(…, reciprocal=False) "
                f"for the contrast that hardware would form"
            )
        weights, held = contrast_weights(circuit), held_nodes(circuit)
        output = output_weight(circuit, weights)
        found = []
        for group in circuit.of_kind(Conductances):
            if group.parameter is not None:
                own = branch_weights(group, weights, held) / output
                first, second, index = (torch.from_numpy(np.array(a)) for a in (*group.ends(), group.index))
                found.append(_Trainable(group.parameter, first, second, index, torch.from_numpy(own)))
        return tuple(found)


def network_on(circuit: Circuit, network: ConductanceNetwork, dtype: torch.dtype) -> CircuitNetwork:
    """A circuit that takes the place of a network's own, with the ranges of its conductances.

    Parameters
    ----------
    circuit : Circuit
        With the trainable groups of the network's circuit; contrasts are formed as hardware forms them.
    network : ConductanceNetwork
        Whose `conductance_range` and `reference_conductance` are taken.
    dtype : torch.dtype
        Of the parameters.
    """
    reference = network.reference_conductance
    return CircuitNetwork(
        circuit, network.conductance_range, reference_conductance=reference, dtype=dtype, reciprocal=False
    )


class _Trainable(NamedTuple):
    """Branches of one group: ends, place in the parameter, and w/w_L."""

    parameter: str
    positive: Tensor
    negative: Tensor
    index: Tensor
    weight: Tensor


def _ranges(
    bounds: tuple[float, float] | Mapping[str, tuple[float, float]], names: Iterable[str]
) -> dict[str, tuple[float, float]]:
    """g_min and g_max by parameter. [S]"""
    names = list(names)
    ranges = dict(bounds) if isinstance(bounds, Mapping) else dict.fromkeys(names, bounds)
    for name in sorted(set(names) ^ ranges.keys()):
        raise NetworkError(f"bounds must be given for each of {', '.join(names)}, found none or others: {name!r}")
    for low, high in ranges.values():
        if not 0 < low < high < float("inf"):
            raise NetworkError(f"bounds must be 0 < g_min < g_max, found {low} and {high} S")
    return {name: (float(low), float(high)) for name, (low, high) in ranges.items()}


def _first_values(name: str, groups: list[Conductances], bounds: tuple[float, float]) -> np.ndarray:
    """Conductances of one parameter as the circuit describes them, `(n_elements,)`. [S]"""
    index = np.concatenate([np.asarray(group.index) for group in groups])
    siemens = np.concatenate([np.asarray(group.siemens) for group in groups])
    values = np.full(int(index.max(initial=-1)) + 1, np.nan)
    values[index] = siemens
    if np.isnan(values).any():
        at = int(np.flatnonzero(np.isnan(values))[0])
        raise NetworkError(f"{name}: indices must run without a gap from 0 to {len(values) - 1}, found none at {at}")
    apart = np.abs(values[index] - siemens) > _RTOL * siemens
    if apart.any():
        raise NetworkError(
            f"{name}: elements of one index must have one conductance, found {values[index][apart][0]} and "
            f"{siemens[apart][0]} S at index {index[apart][0]}"
        )
    low, high = bounds
    outside = (values < low * (1 - _RTOL)) | (values > high * (1 + _RTOL))
    if outside.any():
        raise NetworkError(
            f"{name}: conductances must lie in the bounds {low}…{high} S, found {values[outside][0]} S; widen them"
        )
    return values
