"""What needs a network of one kind, and says so in one line where it is given another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from analog_ep.circuit import Circuit
from analog_ep.errors import StimulusError
from analog_ep.networks.network import (
    ConductanceNetwork,
    CrossbarNetwork,
    Network,
    Question,
    RangedNetwork,
    UnitNetwork,
)

Needed = TypeVar("Needed")


def units_of(system: Network | Circuit, need: str, advice: str) -> UnitNetwork:
    """The network as layers of leaky integrators.

    Parameters
    ----------
    system : Network or Circuit
        What was given.
    need : str
        What needs which network: "persistent states need a HopfieldNetwork".
    advice : str
        What to use otherwise.

    Raises
    ------
    StimulusError
        If it is something else.
    """
    return _asked(_Units(need, advice), system)


def crossbars_of(system: Network | Circuit, need: str, advice: str) -> CrossbarNetwork:
    """The network as crossbars in layers; arguments and error as of `units_of`."""
    return _asked(_Crossbars(need, advice), system)


def conductances_of(system: Network | Circuit, need: str, advice: str) -> ConductanceNetwork:
    """The network as a circuit of conductances; arguments and error as of `units_of`."""
    return _asked(_Conductances(need, advice), system)


def ranged_of(system: Network | Circuit, need: str, advice: str) -> RangedNetwork:
    """The network as a circuit whose parameters have a range; arguments and error as of `units_of`."""
    return _asked(_Ranged(need, advice), system)


def _asked(question: _Needed[Needed], system: Network | Circuit) -> Needed:
    if isinstance(system, Circuit):
        raise question.error(system)
    return system.answer(question)


@dataclass(frozen=True)
class _Needed(Question[Needed]):
    need: str
    advice: str

    def error(self, found: object) -> StimulusError:
        return StimulusError(f"{self.need}, found a {type(found).__name__}; {self.advice}")

    def network(self, network: Network) -> Needed:
        raise self.error(network)


class _Ranged(_Needed[RangedNetwork]):
    def ranged(self, network: RangedNetwork) -> RangedNetwork:
        return network


class _Conductances(_Needed[ConductanceNetwork]):
    def conductances(self, network: ConductanceNetwork) -> ConductanceNetwork:
        return network


class _Crossbars(_Needed[CrossbarNetwork]):
    def crossbars(self, network: CrossbarNetwork) -> CrossbarNetwork:
        return network


class _Units(_Needed[UnitNetwork]):
    def units(self, network: UnitNetwork) -> UnitNetwork:
        return network
