"""Tables of a spec that trains layers of transistors by their gate voltages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import BaseModel, Field, PositiveFloat, model_validator

from analog_ep.devices import EkvMosfet, Level1Mosfet, TabulatedMosfet
from analog_ep.devices.mosfet import Mosfet, MosfetModel
from analog_ep.equilibrium.equilibrium import Solver
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.equilibrium.solver_of import circuit_solver
from analog_ep.errors import CardError, DeviceParameterError, SpecError
from analog_ep.networks import GateNetwork, HardwareNetwork
from analog_ep.networks.resistive_circuit import transistor_circuit
from analog_ep.networks.sizes import checked_sizes
from analog_ep.spec.diodes import DiodeSpec
from analog_ep.spec.gradients.table import GradientTable
from analog_ep.spec.network import LayeredTable
from analog_ep.spec.relaxation import RelaxationSpec
from analog_ep.spec.table import TABLE, quoted

_ACCURACY = 1e-6
"""Bound on the error of voltages, over the largest one, that trainings ask for."""

_RESIDUAL = 1e-7
"""Relative residual from which on one step of Newton's method leads to that accuracy, and far beyond."""

_Range = Annotated[list[float], Field(min_length=2, max_length=2)]


class _TransistorSpec(BaseModel, ABC):
    """Model and size of all transistors."""

    model_config = TABLE

    @abstractmethod
    def device(self) -> MosfetModel:
        """The transistors.

        Raises
        ------
        DeviceParameterError
            If they cannot be as described.
        """


class _ModelSpec(_TransistorSpec):
    """What the models by formulas have in common; see `analog_ep.devices.Mosfet`."""

    model_type: ClassVar[type[Mosfet]]

    model: str
    polarity: Literal["nmos", "pmos"] = "nmos"
    width: float = 1e-6
    length: float = 1e-6
    multiplicity: float = 1.0
    threshold_voltage: float = 0.7
    transconductance: float = 1e-4
    temperature: float = 300.15
    nominal_temperature: float = 300.15

    @model_validator(mode="after")
    def _can_be(self) -> _ModelSpec:
        try:
            self.device()
        except DeviceParameterError as error:
            raise ValueError(f"network.device: {error}") from None
        return self

    def device(self) -> Mosfet:
        return self.model_type(**self.model_dump(exclude={"model"}))


class Level1Spec(_ModelSpec):
    """See `analog_ep.devices.Level1Mosfet`."""

    model_type: ClassVar[type[Mosfet]] = Level1Mosfet

    model: Literal["level1"] = "level1"
    body_effect: float = 0.0
    surface_potential: float = 0.6
    channel_modulation: float = 0.0
    saturation_current: float = 1e-14


class EkvSpec(_ModelSpec):
    """See `analog_ep.devices.EkvMosfet`."""

    model_type: ClassVar[type[Mosfet]] = EkvMosfet

    model: Literal["ekv"] = "ekv"
    slope_factor: float = 1.3
    threshold_drift: float = 0.0
    mobility_exponent: float = 0.0


class TableSpec(_TransistorSpec):
    """A foundry's card, by a table that `calibrate solver` made; see `analog_ep.devices.TabulatedMosfet`.

    Attributes
    ----------
    table : str
        Path of the table.
    corner : str, optional
        Another corner than the table's first.
    """

    model: Literal["table"]
    table: str
    corner: str | None = None

    @model_validator(mode="after")
    def _loads(self) -> TableSpec:
        try:
            self.device()
        except (CardError, DeviceParameterError) as error:
            raise ValueError(f"network.device: {error}") from None
        return self

    def device(self) -> MosfetModel:
        device = TabulatedMosfet.load(self.table)
        return device if self.corner is None else replace(device, corner=device.corner_index(self.corner))


TransistorSpec = Annotated[Level1Spec | EkvSpec | TableSpec, Field(discriminator="model")]
"""The transistors of a network, of whatever model."""


class TransistorsSpec(LayeredTable):
    """See `analog_ep.networks.resistive_circuit.transistor_circuit`; without `bias` a stage has no bias rows.

    Attributes
    ----------
    sizes : list of int
        Units of the inputs, the hidden layers and the outputs.
    gain : float
        Amplifiers' a, k being 1/a.
    bias : bool
        Whether every stage has the two bias rows at ± `bias_voltage`.
    bias_voltage : float
        Of the bias rows. [V]
    device : TransistorSpec
        Model and size of all transistors.
    gates : "floating" or "grounded"
        Whether gates are held above their own source, which leaves an energy, or above ground.
    gate_range, initial_range : (float, float)
        Of the gate voltages that learn, and of those at first. [V]
    leak_conductance : float
        From every node to ground. [S]
    substrate : float
        Of the bulks where gates are grounded. [V]
    reciprocal : bool
        Whether the circuit must have an energy to learn by phases; see `GateNetwork`.
    """

    idle_tables: ClassVar[tuple[str, ...]] = ("wires", "relaxation", "update", "self_learning")
    own_defaults: ClassVar[dict[str, dict[str, Any]]] = {"training": {"dtype": "float64"}}

    kind: Literal["transistors"]
    device: TransistorSpec = Level1Spec()
    gates: Literal["floating", "grounded"] = "floating"
    gain: PositiveFloat = 4.0
    bias: bool = True
    bias_voltage: PositiveFloat = 1.0
    gate_range: _Range
    initial_range: _Range
    leak_conductance: PositiveFloat = 1e-9
    substrate: float = -1.0
    reciprocal: bool = True

    @model_validator(mode="after")
    def _ranges(self) -> TransistorsSpec:
        checked_sizes(self.sizes)
        low, high = self.gate_range
        if not low < high:
            raise ValueError(f"gate_range must be [low, high] with low < high, found {self.gate_range}")
        first, last = self.initial_range
        if not low <= first <= last <= high:
            raise ValueError(f"initial_range must lie in gate_range {self.gate_range}, found {self.initial_range}")
        return self

    @property
    def diode_layers(self) -> int:
        return len(self.sizes) - 2

    @property
    def read_layers(self) -> int:
        return len(self.sizes) - 1

    def refuse_gradient(self, gradient: GradientTable, network: HardwareNetwork) -> None:
        if gradient.needs_energy and not network.has_contrast:
            raise SpecError(
                f"gradient.method = {quoted(gradient.method)} needs a circuit with an energy, found gates = "
                f'"{self.gates}"; use "adjoint", "asymmetric" or "implicit", or network.reciprocal = false for the '
                "contrast that hardware would form"
            )

    def build(self, diodes: list[DiodeSpec], seed: int, dtype: torch.dtype) -> GateNetwork:
        """The network with its initial gate voltages.

        Raises
        ------
        DeviceParameterError
            If transistors or diodes cannot be as described.
        NetworkError
            If the network cannot.
        """
        hidden = self.sizes[1:-1]
        each = diodes * len(hidden) if len(diodes) == 1 else diodes
        circuit = transistor_circuit(
            self.sizes,
            self.device.device(),
            [diode.build(size) for diode, size in zip(each, hidden, strict=True)],
            initial_gates=(self.initial_range[0], self.initial_range[1]),
            gates=self.gates,
            gain=self.gain,
            bias_voltage=self.bias_voltage if self.bias else None,
            leak=self.leak_conductance,
            substrate=self.substrate,
            seed=seed,
        )
        bounds = self.gate_range[0], self.gate_range[1]
        return GateNetwork(circuit, bounds, dtype=dtype, reciprocal=self.reciprocal)

    def build_solver(self, relaxation: RelaxationSpec, engine: str) -> Solver:
        """The solver of any circuit; ngspice runs the whole of it.

        A bound of 1e-6 V on 1 V is asked for. Without a solution in twice the digits none better is had where all but
        a leak may be off. Newton's method makes one more step after a residual of 1e-7, which brings it to rounding.
        """
        return circuit_solver(engine, Newton(rtol=_RESIDUAL, accuracy=_ACCURACY))
