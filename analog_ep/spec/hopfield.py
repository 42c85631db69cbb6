"""Tables of a spec that trains a Hopfield network."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import BeforeValidator, Field, PositiveFloat, model_validator

from analog_ep.equilibrium.equilibrium import Solver
from analog_ep.networks import HopfieldNetwork, LeakyIntegrators
from analog_ep.networks.sizes import checked_sizes
from analog_ep.spec.diodes import DiodeSpec
from analog_ep.spec.gradients.table import GradientTable
from analog_ep.spec.network import LayeredTable
from analog_ep.spec.relaxation import RelaxationSpec
from analog_ep.spec.table import listed


class HopfieldSpec(LayeredTable):
    """See `analog_ep.networks.HopfieldNetwork`; `initial_scale` is one number for all weights, or one each.

    `leak_conductance` [S], `capacitance` [F] and `clamp_conductance` [S] are those of its circuit, see
    `analog_ep.networks.LeakyIntegrators`; a training does not depend on them.
    """

    kind: Literal["hopfield"]
    activation: Literal["hard_sigmoid", "sigmoid", "tanh"] = "hard_sigmoid"
    initial_scale: Annotated[list[PositiveFloat], BeforeValidator(listed)] = Field([1.0], min_length=1)
    leak_conductance: PositiveFloat = 1e-5
    capacitance: PositiveFloat = 1e-11
    clamp_conductance: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _counts(self) -> HopfieldSpec:
        stages = len(checked_sizes(self.sizes)) - 1
        if len(self.initial_scale) not in (1, stages):
            raise ValueError(f"initial_scale must be one or {stages}, one per weight, found {self.initial_scale}")
        return self

    idle_tables: ClassVar[tuple[str, ...]] = ("diode", "wires", "update", "chip", "converters", "self_learning")
    unit: ClassVar[str] = "1"

    def refuse(self, relaxation: RelaxationSpec | None, gradient: GradientTable, cost: str) -> None:
        if relaxation is not None:
            relaxation.refuse(self.kind)
        if gradient.solver != "torch":
            raise ValueError(
                f'gradient.solver must be "torch" with network.kind = "hopfield", found "{gradient.solver}"'
            )
        if gradient.kind == "elastic" and cost != "squared_error":
            raise ValueError('gradient.kind = "elastic" needs cost.function = "squared_error" here; use "frozen"')

    def build(self, diodes: list[DiodeSpec], seed: int, dtype: torch.dtype) -> HopfieldNetwork:
        """The network with its initial parameters; it has no diodes of its own."""
        return HopfieldNetwork(
            self.sizes,
            activation=self.activation,
            initial_scale=self.initial_scale[0] if len(self.initial_scale) == 1 else self.initial_scale,
            seed=seed,
            dtype=dtype,
            hardware=LeakyIntegrators(self.leak_conductance, self.capacitance, self.clamp_conductance),
        )

    def build_solver(self, relaxation: RelaxationSpec, engine: str) -> Solver:
        """The solver on the layers; no other trains a Hopfield network from a spec."""
        return relaxation.of_units()
