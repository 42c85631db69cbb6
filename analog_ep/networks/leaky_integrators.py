"""What the units of a Hopfield network are made of: capacitors with a leak, held within bounds by clamps."""

from __future__ import annotations

from dataclasses import dataclass, fields

from analog_ep.errors import NetworkError


@dataclass(frozen=True)
class LeakyIntegrators:
    """What the units of a Hopfield network are made of. A state, rate or input of 1 is 1 V.

    Parameters
    ----------
    leak_conductance : float
        Conductance from each unit's node to ground; a weight, bias or nudging strength of 1 is the same in siemens,
        or as much current at 1 V. [S]
    capacitance : float
        Of each unit's node; over the leak it is the time constant. [F]
    clamp_conductance : float
        Conductance of the diodes that keep the states of hard sigmoids within 0…1 V. [S]

    Raises
    ------
    NetworkError
        If one is not positive and finite.
    """

    leak_conductance: float = 1e-5
    capacitance: float = 1e-11
    clamp_conductance: float = 1.0

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < float("inf"):
                raise NetworkError(f"LeakyIntegrators: {field.name} must be positive and finite, found {value}")

    @property
    def stiffness(self) -> float:
        """Conductance of a clamp over that of the leak."""
        return self.clamp_conductance / self.leak_conductance

    @property
    def time_constant(self) -> float:
        """Of a unit alone. [s]"""
        return self.capacitance / self.leak_conductance
