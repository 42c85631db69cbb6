"""How a network's equilibria are found, as a table of a spec."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt

from analog_ep.equilibrium.equilibrium import Solver
from analog_ep.equilibrium.layered.euler import EulerRelaxation
from analog_ep.equilibrium.layered.hopfield_relaxation import HopfieldRelaxation
from analog_ep.equilibrium.layered.relaxation import Relaxation
from analog_ep.spec.table import TABLE, quoted


class RelaxationSpec(BaseModel):
    """How a network's equilibria are found in PyTorch.

    A resistive network has `max_steps`, `rtol` and `response_rtol`, a Hopfield network all but `rtol`.

    Attributes
    ----------
    method : "sweeps" or "euler"
        `analog_ep.equilibrium.HopfieldRelaxation`, or the paper's dynamics, `EulerRelaxation`.
    max_steps : int
        Most sweeps or steps of a phase.
    atol : float, optional
        Tolerance of the free phase, of every phase with euler; without it sweeps go to the precision of the dtype, and
        euler has `max_steps` steps in every phase.
    rtol : float, optional
        Of resistive networks: tolerance of the free phase, relative to the largest current of each layer; without it
        sweeps go to the precision of the dtype.
    response_rtol : float, optional
        Of sweeps: tolerance of the nudged phase, relative to the response.
    strict : bool
        Of sweeps: whether a sample that `max_steps` leave short of the tolerance ends the training.
    over_relaxation : float
        Of sweeps: factor on the steps of hidden layers, in [1, 2); above 1 for fewer sweeps where feedback is strong.
    step_size : float
        Of euler: ε.
    persistent_states : bool
        Whether the free phase of a training sample begins where its last one ended, as in the paper. All states are
        kept in memory and in the checkpoint.
    """

    model_config = TABLE

    method: Literal["sweeps", "euler"] = "sweeps"
    max_steps: PositiveInt = 500
    atol: PositiveFloat | None = None
    rtol: PositiveFloat | None = None
    response_rtol: PositiveFloat | None = None
    strict: bool = True
    over_relaxation: Annotated[float, Field(ge=1, lt=2)] = 1.0
    step_size: PositiveFloat = 0.5
    persistent_states: bool = False

    def of_crossbars(self) -> Solver:
        """The solver of a resistive network's layers."""
        return Relaxation(self.rtol, self.response_rtol, self.max_steps)

    def of_units(self) -> Solver:
        """The solver of a Hopfield network's layers."""
        if self.method == "euler":
            return EulerRelaxation(self.step_size, self.max_steps, self.atol)
        return HopfieldRelaxation(self.atol, self.response_rtol, self.max_steps, self.strict, self.over_relaxation)

    def refuse(self, kind: str) -> None:
        """Raise `ValueError` if a key is given that has no meaning with this method and kind of network."""
        for name, reason in idle_keys(kind, self.method).items():
            if name in self.model_fields_set:
                found = quoted(getattr(self, name))
                raise ValueError(f"relaxation.{name} has no meaning with {reason}, found {found}; leave it out")


_OF_ALL = {"method", "max_steps"}
_OF_RESISTIVE = {"rtol", "response_rtol"}
_OF_METHODS = {"sweeps": {"response_rtol", "strict", "over_relaxation"}, "euler": {"step_size"}}


def idle_keys(kind: str, method: str) -> dict[str, str]:
    """Keys that have no meaning with a kind of network and a method, and what they have none with."""
    if kind in ("resistive", "convolutional"):
        return dict.fromkeys(
            sorted(RelaxationSpec.model_fields.keys() - _OF_ALL - _OF_RESISTIVE), "a resistive network"
        )
    others = [name for other, names in _OF_METHODS.items() if other != method for name in sorted(names)]
    return dict.fromkeys(others, f'relaxation.method = "{method}"') | {"rtol": f'network.kind = "{kind}"'}


def shared_keys() -> set[str]:
    """Keys that every method has."""
    return set(RelaxationSpec.model_fields).difference(*_OF_METHODS.values())
