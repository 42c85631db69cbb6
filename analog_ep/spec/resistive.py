"""Tables of a spec that trains a resistive network."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field, PositiveFloat, model_validator

from analog_ep.equilibrium.equilibrium import Solver
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.networks import ResistiveNetwork
from analog_ep.networks.sizes import checked_sizes
from analog_ep.spec.chip import amplifier_of
from analog_ep.spec.diodes import DiodeSpec
from analog_ep.spec.gradients.table import GradientTable
from analog_ep.spec.network import LayeredTable
from analog_ep.spec.relaxation import RelaxationSpec

_Pair = Annotated[list[PositiveFloat], Field(min_length=2, max_length=2)]


class NetworkSpec(LayeredTable):
    """See `analog_ep.networks.ResistiveNetwork`; without `bias` a crossbar has no bias rows.

    Attributes
    ----------
    amplifier : str
        Name or path of an amplifier's card, which gives the gain. Its offset is one of the hardware: see `ChipSpec`.
    bias : bool
        Whether every crossbar has the two bias rows at ± `bias_voltage`.
    """

    kind: Literal["resistive"] = "resistive"
    gain: PositiveFloat = 4.0
    feedback: PositiveFloat | None = None
    amplifier: str | None = None
    drive: Literal["single", "differential"] = "differential"
    bias: bool = True
    bias_voltage: PositiveFloat = 1.0
    conductance_range: _Pair = Field([1e-7, 1e-4])
    reference_conductance: PositiveFloat | None = None
    initial_range: _Pair | None = None

    @model_validator(mode="before")
    @classmethod
    def _amplified(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("amplifier"), str):
            return value
        gain, _ = amplifier_of(value["amplifier"])
        if value.get("gain", gain) != gain:
            raise ValueError(f"gain must be left out beside amplifier, whose card has {gain}, found {value['gain']}")
        return {**value, "gain": gain}

    @model_validator(mode="after")
    def _ranges(self) -> NetworkSpec:
        checked_sizes(self.sizes)
        low, high = self.conductance_range
        if not low < high:
            raise ValueError(f"conductance_range must be [low, high] with low < high, found {self.conductance_range}")
        if self.initial_range is not None and not low <= self.initial_range[0] <= self.initial_range[1] <= high:
            raise ValueError(f"initial_range must lie in conductance_range {[low, high]}, found {self.initial_range}")
        return self

    def refuse(self, relaxation: RelaxationSpec | None, gradient: GradientTable, cost: str) -> None:
        if relaxation is not None:
            if gradient.solver != "torch":
                raise ValueError('relaxation has no meaning with gradient.solver = "ngspice"; leave the table out')
            if relaxation.method != "sweeps":
                raise ValueError(f'relaxation.method = "{relaxation.method}" needs network.kind = "hopfield"')
            relaxation.refuse(self.kind)

    @property
    def diode_layers(self) -> int:
        return len(self.sizes) - 2

    def refuse_held(self) -> None:
        if len(self.sizes) > 2 and self.drive != "differential":
            raise ValueError('update.held needs network.drive = "differential", found "single"')

    def build(self, diodes: list[DiodeSpec], seed: int, dtype: torch.dtype) -> ResistiveNetwork:
        """The network with its initial conductances.

        Raises
        ------
        DeviceParameterError
            If a diode cannot be as described.
        NetworkError
            If the network cannot.
        """
        low, high = self.conductance_range
        hidden = self.sizes[1:-1]
        clamps = diodes * len(hidden) if len(diodes) == 1 else diodes
        return ResistiveNetwork(
            self.sizes,
            diode=[diode.build(size) for diode, size in zip(clamps, hidden, strict=True)],
            gain=self.gain,
            feedback=self.feedback,
            drive=self.drive,
            bias_voltage=self.bias_voltage if self.bias else None,
            conductance_range=(low, high),
            reference_conductance=self.reference_conductance,
            initial_range=None if self.initial_range is None else (self.initial_range[0], self.initial_range[1]),
            seed=seed,
            dtype=dtype,
        )

    def build_solver(self, relaxation: RelaxationSpec, engine: str) -> Solver:
        """The solver; ngspice runs reduced netlists, which have the same voltages."""
        return Ngspice(reduced=True) if engine == "ngspice" else relaxation.of_crossbars()
