"""What the `[network]` tables of all kinds have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from pydantic import Field, PositiveInt

from analog_ep.equilibrium.equilibrium import Solver
from analog_ep.networks import HardwareNetwork, Network
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
