"""Tables of a spec that trains a resistive network of crossbars."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import model_validator

from analog_ep.equilibrium.equilibrium import Solver
from analog_ep.networks import HardwareNetwork
from analog_ep.networks.sizes import checked_sizes
from analog_ep.spec.diodes import DiodeSpec
from analog_ep.spec.gradients.table import GradientTable
from analog_ep.spec.network import LayeredTable, ResistiveTable
from analog_ep.spec.op_amps import OpAmpsSpec
from analog_ep.spec.relaxation import RelaxationSpec


class NetworkSpec(ResistiveTable, LayeredTable):
    """See `analog_ep.networks.ResistiveNetwork`: crossbars between layers of `sizes` units.

    Attributes
    ----------
    op_amps : table, optional
        Operational amplifiers of which the amplifiers are wired; without it these are ideal.
    """

    kind: Literal["resistive"] = "resistive"
    op_amps: OpAmpsSpec | None = None

    @model_validator(mode="after")
    def _sizes(self) -> NetworkSpec:
        checked_sizes(self.sizes)
        return self

    @property
    def diode_layers(self) -> int:
        return len(self.sizes) - 2

    def refuse_held(self) -> None:
        if len(self.sizes) > 2 and self.drive != "differential":
            raise ValueError('update.held needs network.drive = "differential", found "single"')

    def build(self, diodes: list[DiodeSpec], seed: int, dtype: torch.dtype) -> HardwareNetwork:
        """The network with its initial conductances."""
        network = self.layered(self.sizes, diodes, self.sizes[1:-1], seed, dtype)
        return network if self.op_amps is None else self.op_amps.wired(network, dtype)

    def build_solver(self, relaxation: RelaxationSpec, engine: str) -> Solver:
        return super().build_solver(relaxation, engine) if self.op_amps is None else self.op_amps.build_solver(engine)

    def refuse(self, relaxation: RelaxationSpec | None, gradient: GradientTable, cost: str) -> None:
        super().refuse(relaxation, gradient, cost)
        if self.op_amps is not None and relaxation is not None:
            raise ValueError(
                "relaxation has no meaning with network.op_amps, whose circuit has no layers; leave it out"
            )

    def with_paths(self, change: Callable[[str], str]) -> Self:
        return self._with_op_amps(lambda own: own.with_paths(change))

    def keep(self, folder: Path) -> Self:
        return self._with_op_amps(lambda own: own.keep(folder))

    def contents(self) -> dict[str, bytes]:
        return {} if self.op_amps is None else self.op_amps.contents()

    def _with_op_amps(self, change: Callable[[OpAmpsSpec], OpAmpsSpec]) -> Self:
        return self if self.op_amps is None else self.model_copy(update={"op_amps": change(self.op_amps)})
