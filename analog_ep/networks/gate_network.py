"""A circuit of transistors whose gate voltages learn."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Chip, Circuit, TrainableLaw, circuit_energy
from analog_ep.circuit.energy import branch_weights, contrast_weights, held_nodes, output_weight, why_no_contrast
from analog_ep.errors import EnergyUnavailableError, NetworkError
from analog_ep.networks.diagram import network_html
from analog_ep.networks.following import Following
from analog_ep.networks.kept import KeptCircuit
from analog_ep.networks.network import RangedNetwork
from analog_ep.networks.node_reads import read_nodes

_QUANTITY, _UNIT = "gate voltage", "V"


class GateNetwork(RangedNetwork):
    r"""A circuit that learns: the gate voltages of its transistors that carry a `parameter` are the network's own.

    Elements with the same index of one parameter share their gate voltage. The state is one layer, the voltages of all
    nodes, ground first. With φ the channel's co-content, w the energy weight of a transistor's block and w_L that of
    the outputs',

    .. math:: \frac{∂E}{∂V_G} = \frac{w}{w_L} \frac{∂φ}{∂V_G} = \frac{w}{w_L} \int_0^v g_m\,du ,

    which free and nudged states tell (`TrainableLaw.contrast`).

    Parameters
    ----------
    circuit : Circuit
        With outputs, and `FloatingGateMosfets` or `GatedMosfets` that carry parameters; their values come first.
    bounds : (float, float)
        Least and largest gate voltage. [V]
    dtype : torch.dtype
        Type of the parameters, which are gate voltages over 1 V.
    reciprocal : bool
        Whether `contrast` asks for an energy, by which it is the exact gradient. Without, it is formed in any case, as
        hardware would form it; `AdjointNetwork`, `AsymmetricEquilibriumPropagation` and `ImplicitDifferentiation` need
        none.

    Raises
    ------
    NetworkError
        If the circuit has no outputs or no gates that learn, or something else that learns; the bounds are no range, a
        gate voltage lies outside them, or elements of one index begin with different values.
    EnergyUnavailableError
        If the circuit has no energy: on `energy`, and on `contrast` where `reciprocal` is set.
    """

    parameter_scale = 1.0

    def __init__(
        self,
        circuit: Circuit,
        bounds: tuple[float, float],
        *,
        dtype: torch.dtype = torch.float64,
        reciprocal: bool = True,
    ):
        super().__init__()
        low, high = bounds
        if not -float("inf") < low < high < float("inf"):
            raise NetworkError(f"bounds must be V_min < V_max, found {low} and {high} V")
        if circuit.outputs is None:
            raise NetworkError(f"a network needs outputs, found none in {circuit.title!r}; see set_outputs")
        self._described, self._outputs, self._range = circuit, circuit.outputs, (low, high)
        self._reciprocal = reciprocal
        self._kept = KeptCircuit()
        self.sizes = (circuit.n_inputs, len(circuit.outputs[0]))
        groups: dict[str, list[TrainableLaw]] = {}
        for group in circuit.learning_groups():
            if group.quantity != _QUANTITY:
                raise NetworkError(
                    f"{group.label}: a GateNetwork learns gate voltages alone, found a {group.quantity} that learns; "
                    "leave its parameter out"
                )
            groups.setdefault(str(group.parameter), []).append(group)
        if not groups:
            raise NetworkError(
                f"a network needs transistors that learn, found none in {circuit.title!r}; give them parameter, index"
            )
        for name, members in groups.items():
            if hasattr(self, name):
                raise NetworkError(f"a parameter must not be called as what every network has, found {name!r}")
            values = torch.from_numpy(_first_values(name, members, bounds)).to(dtype)
            self.register_parameter(name, torch.nn.Parameter(values))

    @property
    def parameter_range(self) -> tuple[float, float]:
        return self._range

    @property
    def gate_voltages(self) -> dict[str, Tensor]:
        """Gate voltages by the name of their parameter, `(n_parameters,)`. [V]"""
        return {name: theta.detach().clone() for name, theta in self.named_parameters()}

    @torch.no_grad()
    def set_gate_voltages(self, volts: Mapping[str, Tensor]) -> None:
        """Set gate voltages by the name of their parameter, each in its shape. [V]

        Raises
        ------
        NetworkError
            If one is missing, has another shape, or lies outside the range; nothing is set then.
        """
        low, high = self._range
        for name, theta in self.named_parameters():
            value = volts.get(name)
            if value is None or value.shape != theta.shape:
                found = "nothing" if value is None else f"shape {tuple(value.shape)}"
                raise NetworkError(f"{name} needs gate voltages of shape {tuple(theta.shape)}, found {found}")
            if not bool(((value >= low) & (value <= high)).all()):
                raise NetworkError(f"{name}: gate voltages must lie in {low}…{high} V, found others; clip them")
        for name, theta in self.named_parameters():
            theta.copy_(volts[name].to(theta))

    def _repr_html_(self) -> str:
        return network_html(self) + self.circuit()._repr_html_()

    def circuit(self, chip: Chip | None = None) -> Circuit:
        values = {name: theta.double().cpu().numpy() for name, theta in self.gate_voltages.items()}
        described = self._described
        return self._kept.circuit(
            values, lambda: described.with_groups(group.tuned(values) for group in described.groups), chip
        )

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
        volts, change = (state[0].reshape(-1, state[0].shape[-1]).double().cpu() for state in (layers, response))
        volts, change = following.volts(volts).numpy(), following.changes(change).numpy()
        found = {name: torch.zeros(theta.numel(), dtype=torch.float64) for name, theta in self.named_parameters()}
        circuit = self.circuit() if known is None else known.apply(self.circuit())
        for group in circuit.learning_groups():
            pairs = group.controls()
            own, moved = ([state[:, p] - state[:, n] for p, n in pairs] for state in (volts, change))
            each = torch.from_numpy(group.contrast(own, moved, linear).sum(0) * self._weights[group.label])
            found[str(group.parameter)].index_add_(0, torch.from_numpy(np.array(group.index)), each)
        return found

    def weight_shares(self) -> dict[str, Tensor | float]:
        """w/w_L, summed over the transistors that share a gate voltage."""
        shares = {name: torch.zeros(theta.numel(), dtype=torch.float64) for name, theta in self.named_parameters()}
        for group in self._described.learning_groups():
            weight = torch.from_numpy(np.array(self._weights[group.label]))
            shares[str(group.parameter)].index_add_(0, torch.from_numpy(np.array(group.index)), weight)
        return dict(shares)

    def as_measured(self) -> Self:
        if self.has_contrast:
            return self
        twin = copy.deepcopy(self)
        twin._reciprocal = False
        return twin

    @property
    def has_contrast(self) -> bool:
        return not self._reciprocal or not why_no_contrast(self._described)

    @cached_property
    def _following(self) -> Following:
        return Following.of(self._described)

    @cached_property
    def _weights(self) -> dict[str, np.ndarray]:
        """w/w_L of each group's elements."""
        circuit = self._described
        if not self.has_contrast:
            raise EnergyUnavailableError(
                f"this circuit has no energy: {why_no_contrast(circuit)}; use AdjointNetwork, "
                f"AsymmetricEquilibriumPropagation or ImplicitDifferentiation, FloatingGateMosfets, or GateNetwork(…, "
                f"reciprocal=False) for the contrast that hardware would form"
            )
        weights, held = contrast_weights(circuit), held_nodes(circuit)
        output = output_weight(circuit, weights)
        return {group.label: branch_weights(group, weights, held) / output for group in circuit.learning_groups()}


def _first_values(name: str, groups: list[TrainableLaw], bounds: tuple[float, float]) -> np.ndarray:
    """Gate voltages of one parameter as the circuit describes them, `(n_elements,)`. [V]"""
    index = np.concatenate([np.asarray(group.index) for group in groups])
    volts = np.concatenate([group.learnt for group in groups])
    values = np.full(int(index.max(initial=-1)) + 1, np.nan)
    values[index] = volts
    if np.isnan(values).any():
        at = int(np.flatnonzero(np.isnan(values))[0])
        raise NetworkError(f"{name}: indices must run without a gap from 0 to {len(values) - 1}, found none at {at}")
    if (apart := values[index] != volts).any():
        raise NetworkError(
            f"{name}: elements of one index must have one gate voltage, found {values[index][apart][0]} and "
            f"{volts[apart][0]} V at index {index[apart][0]}"
        )
    low, high = bounds
    if ((values < low) | (values > high)).any():
        outside = values[(values < low) | (values > high)][0]
        raise NetworkError(
            f"{name}: gate voltages must lie in the bounds {low}…{high} V, found {outside} V; widen them"
        )
    return values
