"""Layered Hopfield networks: the system that equilibrium propagation was introduced on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from analog_ep.circuit import Chip, Circuit
from analog_ep.errors import NetworkError
from analog_ep.networks.activation import Activation, activation_of
from analog_ep.networks.diagram import network_html
from analog_ep.networks.following import source_voltages
from analog_ep.networks.hopfield_circuit import hopfield_circuit, unit_names
from analog_ep.networks.leaky_integrators import LeakyIntegrators
from analog_ep.networks.network import UnitNetwork
from analog_ep.networks.sizes import checked_sizes, require_precision
from analog_ep.stimulus import Nudge


class HopfieldNetwork(UnitNetwork):
    r"""Layers of leaky integrators, joined by symmetric weights (Scellier & Bengio 2017).

    With x the inputs, u_1 … u_L the states of the hidden layers and the outputs, and ρ(u_0) = x,

    .. math:: E = \sum_{l=1}^{L} \left[ \tfrac12 |u_l|^2 - ρ(u_{l-1})^T W_l\, ρ(u_l) - b_l^T ρ(u_l) \right]

    which is the paper's energy [1]_ with every pair of units counted once, less the constant terms of the inputs. The
    inputs are held; x stands for their rates, so that it is not passed through ρ. The outputs are the states u_L. A
    nudge adds β C(u_L): with `SquaredError`, C = ½ Σ (u_L − y)², it pulls output i with the force β (y_i − u_i), and
    everything is dimensionless. The energy is in general not convex: from other starts there may be other minima.

    As a circuit each unit is a capacitor with a leak, a state of 1 stands for 1 V, and clamps of finite conductance
    stand for the bounds of hard sigmoids: see `hopfield_circuit` and `as_built`.

    Parameters
    ----------
    sizes : sequence of int
        Units of the inputs, the hidden layers and the outputs, such as [784, 500, 10].
    activation : str or Activation
        ρ: "hard_sigmoid" (states kept in [0, 1]), "sigmoid" or "tanh".
    initial_scale : float or sequence of float
        Factor on the initial weights, which are uniform in ±√(6/(n_before + n_after)) (Glorot); one for all, or one for
        each W_l. Biases begin at 0.
    seed : int
        Seed of the initial weights.
    dtype : torch.dtype
        Type of the parameters.
    hardware : LeakyIntegrators, optional
        Conductances and capacitance of the circuit.

    Attributes
    ----------
    weight1, weight2, … : Parameter (n_before, n_after)
        W_l.
    bias1, bias2, … : Parameter (n_after,)
        b_l.

    Raises
    ------
    NetworkError
        If sizes, scale or activation are not as above.

    References
    ----------
    .. [1] B. Scellier and Y. Bengio, "Equilibrium Propagation: Bridging the Gap between Energy-Based Models and
       Backpropagation," Front. Comput. Neurosci. 11:24, 2017, arXiv:1602.05179, eq. (1).
    """

    parameter_scale = 1.0

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: str | Activation = "hard_sigmoid",
        initial_scale: float | Sequence[float] = 1.0,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        hardware: LeakyIntegrators | None = None,
    ):
        super().__init__()
        self.sizes = checked_sizes(sizes)
        require_precision(dtype)
        self.hardware = LeakyIntegrators() if hardware is None else hardware
        scales = self._scales(initial_scale)
        self.activation = activation_of(activation)
        generator = torch.Generator().manual_seed(seed)
        for s, (before, after) in enumerate(zip(self.sizes, self.sizes[1:], strict=False), start=1):
            uniform = 2 * torch.rand(before, after, generator=generator, dtype=torch.float64) - 1
            weight = scales[s - 1] * math.sqrt(6 / (before + after)) * uniform
            self.register_parameter(f"weight{s}", torch.nn.Parameter(weight.to(dtype)))
            self.register_parameter(f"bias{s}", torch.nn.Parameter(torch.zeros(after, dtype=dtype)))

    def _repr_html_(self) -> str:
        return network_html(self)

    def _scales(self, scale: float | Sequence[float]) -> list[float]:
        scales = [float(scale)] * self.n_stages if isinstance(scale, (int, float)) else [float(s) for s in scale]
        if len(scales) != self.n_stages:
            raise NetworkError(f"initial_scale must be one number or {self.n_stages}, one per weight, found {scales}")
        if not all(0 < s < float("inf") for s in scales):
            raise NetworkError(f"initial_scale must be positive and finite, found {scale}")
        return scales

    @property
    def weights(self) -> tuple[torch.nn.Parameter, ...]:
        return tuple(self.get_parameter(f"weight{s}") for s in range(1, self.n_stages + 1))

    @property
    def biases(self) -> tuple[torch.nn.Parameter, ...]:
        return tuple(self.get_parameter(f"bias{s}") for s in range(1, self.n_stages + 1))

    def stage_parameters(self) -> list[list[torch.nn.Parameter]]:
        return [[weight, bias] for weight, bias in zip(self.weights, self.biases, strict=True)]

    def rest(self, inputs: Tensor) -> tuple[Tensor, ...]:
        batch, weight = inputs.shape[:-1], self.weights[0]
        return tuple(torch.zeros(*batch, size, dtype=weight.dtype, device=weight.device) for size in self.sizes[1:])

    def outputs_of(self, layers: tuple[Tensor, ...]) -> Tensor:
        return layers[-1]

    def energy(self, inputs: Tensor, layers: tuple[Tensor, ...]) -> Tensor:
        """Energy of a state, `(*batch,)`; differentiable by the layers and the parameters, complex ones too.

        Parameters
        ----------
        inputs : Tensor (*batch, n_inputs)
            Rates x of the inputs.
        layers : tuple of Tensor (*batch, n_units)
            States u_1 … u_L.
        """
        before = inputs.to(layers[0])
        total = torch.zeros(inputs.shape[:-1], dtype=layers[0].dtype, device=layers[0].device)
        for weight, bias, layer in zip(self.weights, self.biases, layers, strict=True):
            rate = self.activation.value(layer)
            drive = before @ weight.to(layer.dtype) + bias
            total = total + (self.activation.content(layer) - drive * rate).sum(-1)
            before = rate
        return total

    def force(
        self,
        inputs: Tensor,
        layers: tuple[Tensor, ...],
        nudge: Nudge | None = None,
        free_outputs: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        rates = [inputs.to(layers[0]), *(self.activation.value(layer) for layer in layers)]
        forces = [
            self.activation.slope(layer) * drive - self.activation.leak(layer)
            for layer, drive in zip(layers, self.drives(rates), strict=True)
        ]
        if nudge is not None:
            at = layers[-1] if free_outputs is None or nudge.kind == "elastic" else free_outputs
            forces[-1] = forces[-1] + nudge.current(at)
        return tuple(forces)

    def drives(self, rates: Sequence[Tensor]) -> list[Tensor]:
        """Sum of what each unit of layers 1 … L gets from its neighbours and its bias, for rates of layers 0 … L."""
        weights = [weight.to(rates[-1].dtype) for weight in self.weights]
        drives = [rates[s] @ weight + bias for s, (weight, bias) in enumerate(zip(weights, self.biases, strict=True))]
        returned = [rates[s + 1] @ weights[s].T for s in range(1, len(weights))]
        return [*(drive + back for drive, back in zip(drives, returned, strict=False)), drives[-1]]

    @property
    def nudge_scale(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The leak: a nudge competes with it. [S]"""
        return self.hardware.leak_conductance

    def as_built(self) -> Self:
        """A float64 copy that is what the circuit is: clamps of finite conductance in place of hard bounds."""
        twin = super().as_built()
        twin.activation = self.activation.in_hardware(self.hardware.stiffness)
        return twin

    def circuit(self, chip: Chip | None = None) -> Circuit:
        circuit = hopfield_circuit(self)
        return circuit if chip is None else chip.apply(circuit)

    @cached_property
    def _skeleton(self) -> Circuit:
        """The circuit for its nodes; its weights are those at the first use."""
        return self.circuit()

    def layers_of(self, voltages: Tensor) -> tuple[Tensor, ...]:
        return tuple(voltages[..., torch.from_numpy(self._skeleton.layers[name])] for name in self.layer_names)

    @torch.no_grad()
    def node_voltages(self, inputs: Tensor, layers: tuple[Tensor, ...], chip: Chip | None = None) -> Tensor:
        skeleton = self._skeleton if chip is None else chip.apply(self._skeleton)
        voltages = source_voltages(skeleton, inputs.to(layers[0].device), layers[0].dtype)
        for name, layer in zip(self.layer_names, layers, strict=True):
            voltages[..., torch.from_numpy(skeleton.layers[name])] = layer
        if self.activation.curve is not None:
            rates = [self.activation.value(layer) for layer in layers]
            drives = self.drives([inputs.to(layers[0]), *rates])
            for names, rate, drive in zip(unit_names(self), rates, drives, strict=True):
                voltages[..., [skeleton.node(f"{name}_rate") for name in names]] = rate
                voltages[..., [skeleton.node(f"{name}_drive") for name in names]] = drive
        return voltages

    @torch.no_grad()
    def contrast(
        self, inputs: Tensor, layers: tuple[Tensor, ...], response: tuple[Tensor, ...], *, linear: bool = False
    ) -> dict[str, Tensor]:
        """−[ρ(u_i + d_i) ρ(u_j + d_j) − ρ(u_i) ρ(u_j)] for W_ij = W_ji, a symmetric pair as one parameter, and
        −[ρ(u_i + d_i) − ρ(u_i)] for b_i; summed over the batch.
        """
        before, before_change = _flat(inputs).to(layers[0]), None
        result: dict[str, Tensor] = {}
        for s, (layer, step) in enumerate(zip(layers, response, strict=True), start=1):
            rate = self.activation.value(_flat(layer))
            if linear:
                change = self.activation.slope(_flat(layer)) * _flat(step)
            else:
                change = self.activation.change(_flat(layer), _flat(step))
            lowered = -change
            if before_change is None:
                result[f"weight{s}"] = before.mT @ lowered
            else:
                # r' c' − r c = r' Δc + Δr c, and r Δc + Δr c to first order.
                end = before if linear else before + before_change
                # Out of place: vmap, which the stochastic rule takes over its chains, has no rule for addmm_.
                result[f"weight{s}"] = torch.addmm(end.mT @ lowered, before_change.mT, rate, alpha=-1)
            result[f"bias{s}"] = lowered.sum(0)
            before, before_change = rate, change
        return result


def _flat(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1, tensor.shape[-1])
