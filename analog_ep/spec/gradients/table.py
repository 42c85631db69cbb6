"""What the `[gradient]` tables of all methods have in common, and what a method is built from.

These models stand beside the spec's other tables, not in the methods' own modules, since what they refuse is said in
the keys of those tables: a method of `analog_ep.learning` knows networks, costs and solvers, and no TOML.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, PositiveFloat

from analog_ep.circuit import Chip
from analog_ep.equilibrium.equilibrium import Solver
from analog_ep.learning.gradients.method import SIGNS, GradientMethod
from analog_ep.networks import Network
from analog_ep.spec.table import TABLE
from analog_ep.stimulus import Cost

Needs = dict[str, tuple[Any, ...]]
"""Values that keys of a spec may have, by dotted name."""

SWEEPS: Needs = {"relaxation.method": ("sweeps",)}
"""Of a method that asks the solver for more than phases, or differentiates at a state that must be accurate."""

FORGETFUL: Needs = {"relaxation.persistent_states": (False,)}
"""Of a method that cannot be given the free phase."""

HOPFIELD: Needs = {"network.kind": ("hopfield",)}

TARGETS: Needs = {"cost.function": ("squared_error",)}
"""Of a method whose targets must be outputs."""


@dataclass(frozen=True)
class Parts:
    """What a gradient method is built from.

    Attributes
    ----------
    network : Network
        What is trained.
    cost : Cost
        C.
    solver : Solver
        Finds the equilibria.
    chip : Chip, optional
        The hardware that is trained.
    known : Chip, optional
        What is known of the chip.
    seed : int
        Of everything that is drawn.
    """

    network: Network
    cost: Cost
    solver: Solver
    chip: Chip | None = None
    known: Chip | None = None
    seed: int = 0


class GradientTable(BaseModel, ABC):
    """How the gradient is found: a base class, with a subclass for each method.

    Attributes
    ----------
    method : str
        Name of the method.
    nudging : float
        Strength of the nudges; a method without nudged phases trains without, but the cross-check and netlists show
        some. [S], with cross-entropy [A·V]; of a Hopfield network dimensionless.
    kind : "frozen" or "elastic"
        Of these nudges; see `analog_ep.stimulus.Nudge`.
    solver : "torch", "ngspice" or "ngspice-learning"
        What finds the equilibria, in training and for the accuracies.
    """

    model_config = TABLE

    needs: ClassVar[Needs] = SWEEPS | FORGETFUL
    """What the method asks of the rest of the spec."""
    on_chips: ClassVar[bool] = False
    """Whether it can train hardware that differs from the nominal circuit."""
    needs_energy: ClassVar[bool] = True
    """Whether a circuit without an energy cannot learn by it."""
    measures: ClassVar[bool] = False
    """Whether it learns from phases that are run and read, as hardware can."""

    method: str
    nudging: PositiveFloat = 1e-6
    kind: Literal["frozen", "elastic"] = "frozen"
    solver: Literal["torch", "ngspice", "ngspice-learning"] = "torch"

    @property
    def signs(self) -> tuple[int, ...]:
        """Signs of the nudges that the cross-check shows."""
        return SIGNS["centered"]

    @property
    def compared_signs(self) -> tuple[int, ...]:
        """Signs of the nudges of one estimate: two phases that are compared, or one and the free phase."""
        return self.signs[: self.nudged_phases] if self.measures else self.signs

    @property
    def nudged_phases(self) -> int:
        """Number of nudged, or held, phases of one step."""
        return 1

    @abstractmethod
    def build(self, parts: Parts) -> GradientMethod:
        """The method; the spec that the table is in must fit, see `needs`."""
