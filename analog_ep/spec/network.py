"""What the `[network]` tables of all kinds have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from analog_ep.equilibrium.equilibrium import Solver
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.networks import HardwareNetwork, Network, ResistiveNetwork
from analog_ep.spec.chip import amplifier_of
from analog_ep.spec.diodes import DiodeSpec
from analog_ep.spec.files import FileTable
from analog_ep.spec.gradients.table import GradientTable
from analog_ep.spec.relaxation import RelaxationSpec

if TYPE_CHECKING:
    from analog_ep.designs.checking import Comparison


class NetworkTable(FileTable, ABC):
    """A kind of network: a base class, with a subclass for each.

    Attributes
    ----------
    kind : str
        Its name.
    """

    idle_tables: ClassVar[tuple[str, ...]] = ()
    """Tables of a spec that have no meaning beside this one."""
    own_defaults: ClassVar[dict[str, dict[str, Any]]] = {}
    """Values that keys of other tables have where they are left out, in place of those of all kinds."""
    unit: ClassVar[str] = "V"
    """Of what drives it."""

    kind: str

    @property
    @abstractmethod
    def stages(self) -> int | None:
        """How many learning rates there may be; None where only the network itself tells."""

    @property
    @abstractmethod
    def read_layers(self) -> int:
        """How many layers the converters of a chip read."""

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """Channels, height and width of an input; None where inputs have no places."""
        return None

    @property
    def diode_layers(self) -> int:
        """Hidden layers that have a [[diode]] table."""
        return 0

    def refuse(self, relaxation: RelaxationSpec | None, gradient: GradientTable, cost: str) -> None:
        """Raise `ValueError` where another table of the spec has something that such a network cannot do."""

    def refuse_held(self) -> None:
        """Raise `ValueError` where `update.held` has no meaning: rows do not come in pairs ±u."""

    def refuse_gradient(self, gradient: GradientTable, network: HardwareNetwork) -> None:
        """Raise `SpecError` where the network, now that it is built, cannot learn by a method."""

    @abstractmethod
    def build(self, diodes: list[DiodeSpec], seed: int, dtype: torch.dtype) -> HardwareNetwork:
        """The network with its initial parameters."""

    @abstractmethod
    def build_solver(self, relaxation: RelaxationSpec, engine: str) -> Solver:
        """The solver that an `engine`, "torch" or "ngspice", stands for."""

    def save_own(self, network: Network, path: Path) -> list[Path]:
        """Write the user's own netlist with what the network learnt, and give the files; none where there is none.

        `path` is a file, or a folder, in which the netlist keeps its name.
        """
        return []

    def check_own(self, network: Network) -> list[Comparison]:
        """Whether ngspice agrees on the user's own netlist with what the network learnt."""
        return []


class LayeredTable(NetworkTable):
    """A kind with layers; `sizes` are their units, from the inputs to the outputs."""

    sizes: Annotated[list[PositiveInt], Field(min_length=2)]

    @property
    def stages(self) -> int:
        return len(self.sizes) - 1

    @property
    def read_layers(self) -> int:
        return len(self.sizes) - 1


_Pair = Annotated[list[PositiveFloat], Field(min_length=2, max_length=2)]


class ResistiveTable(NetworkTable):
    """What resistive networks of all stages have in common; without `bias` a stage has no bias rows.

    Attributes
    ----------
    amplifier : str
        Name or path of an amplifier's card, which gives the gain. Its offset is one of the hardware: see `ChipSpec`.
    bias : bool
        Whether every stage has the two bias rows at ± `bias_voltage`.
    """

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
    def _ranges(self) -> Self:
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

    def build_solver(self, relaxation: RelaxationSpec, engine: str) -> Solver:
        """The solver; ngspice runs reduced netlists, which have the same voltages."""
        return Ngspice(reduced=True) if engine == "ngspice" else relaxation.of_crossbars()

    def layered(
        self, sizes: Sequence[Any], diodes: list[DiodeSpec], widths: Sequence[int], seed: int, dtype: torch.dtype
    ) -> ResistiveNetwork:
        """The network of these stages.

        Parameters
        ----------
        sizes : sequence
            As a `ResistiveNetwork` takes them.
        diodes : list of DiodeSpec
            One for all hidden layers that have diodes, or one each.
        widths : sequence of int
            Units of these layers, or channels of maps.
        seed, dtype : int, torch.dtype
            Of the initial conductances.

        Raises
        ------
        DeviceParameterError
            If a diode cannot be as described.
        NetworkError
            If the network cannot.
        """
        low, high = self.conductance_range
        clamps = diodes * len(widths) if len(diodes) == 1 else diodes
        return ResistiveNetwork(
            sizes,
            diode=[diode.build(width) for diode, width in zip(clamps, widths, strict=True)],
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
