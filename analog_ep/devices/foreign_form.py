"""The netlist form of devices by cards that are not ours: those go into the deck as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from analog_ep.devices.forms import FormWriter, NetlistForm, Part, celsius
from analog_ep.errors import CircuitError

_SAME = 1e-6
"""Temperatures that are one. [K]"""

FOREIGN = "cards of ngspice's own"
"""Name of the form, which simulators of another language lack."""


@dataclass(frozen=True, eq=False)
class ForeignInstance(NetlistForm):
    """Instances of a model or a subcircuit that cards of another's define: ``m_x_0 d g s b nch w=… l=…``.

    Parameters
    ----------
    letter : str
        Of the instances: ``m``, ``x``, …
    model : str
        Name of what they are instances of.
    text : str
        Cards that define it, in ngspice's words; a deck has them once.
    instance : dict of str to float or ndarray (n_elements,)
        Parameters of the instances.
    terminals : sequence of str
        Fields of the group that hold the nodes, in the order of the card; ``"_g"`` is a node that `parts` join.
    temperature : float, optional
        At which the cards are meant: the simulation's has to be the same. [K]
    parts : sequence of sequence of Part, optional
        Further elements, for each.
    """

    name = FOREIGN

    letter: str
    model: str
    text: str
    instance: dict[str, Any] = field(default_factory=dict)
    terminals: Sequence[str] = ("drain", "gate", "source", "bulk")
    temperature: float | None = None
    parts: Sequence[Sequence[Part]] = ()

    def cards(self, writer: FormWriter, group: Any) -> Iterator[str]:
        return writer.foreign(group, self)

    def definitions(self) -> tuple[str, str]:
        return self.model, self.text

    def require_at(self, label: str, kelvin: float) -> None:
        """Raise `CircuitError` unless a circuit is at the temperature of the cards: ngspice gives them its own. [K]"""
        if self.temperature is not None and abs(self.temperature - kelvin) > _SAME:
            raise CircuitError(
                f"{label}: {self.model} is meant at {celsius(self.temperature):g} °C, found the circuit at "
                f"{celsius(kelvin):g} °C; give the circuit that temperature, or calibrate the card at this one"
            )
