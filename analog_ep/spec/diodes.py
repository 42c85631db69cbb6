"""Tables of a hidden layer's diodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, NonNegativeFloat, PositiveFloat, model_validator

from analog_ep.cards import load_card
from analog_ep.devices import Clamp, Diode, IdealDiode, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.errors import CardError, DeviceParameterError
from analog_ep.spec.table import TABLE, listed


class _ClampSpec(BaseModel, ABC):
    """Where a hidden layer's diodes stand: see `analog_ep.devices.Clamp`.

    Attributes
    ----------
    model : str
        Which device; a table with a `card` needs none.
    clamp : "alternating", "pair", "upper" or "lower"
        Even nodes up to `upper` and odd ones down to `lower`; both at each node; or one side alone.
    upper, lower : float
        Bias voltages. [V]
    """

    model_config = TABLE

    clamp: Literal["alternating", "pair", "upper", "lower"] = "alternating"
    upper: float = 0.0
    lower: float = 0.0

    @model_validator(mode="after")
    def _sides(self) -> _ClampSpec:
        for side, other in (("upper", "lower"), ("lower", "upper")):
            if self.clamp == side and other in self.model_fields_set:
                raise ValueError(f'{other} has no meaning with clamp = "{side}", found {getattr(self, other)}')
        return self

    @abstractmethod
    def diode(self) -> Diode | IdealDiode:
        """The device."""

    def require_at(self, temperature: float) -> None:
        """Raise a `ValueError` where the device does not hold at a temperature. [K]"""

    def build(self, n_nodes: int) -> Clamp:
        """The clamp of a layer with so many nodes.

        Raises
        ------
        DeviceParameterError
            If the device cannot be as described.
        """
        diode = self.diode()
        if self.clamp == "alternating":
            return Clamp.alternating(diode, n_nodes, upper=self.upper, lower=self.lower)
        upper = None if self.clamp == "lower" else self.upper
        lower = None if self.clamp == "upper" else self.lower
        return diode.clamp(upper=upper, lower=lower)


class ShockleySpec(_ClampSpec):
    """See `analog_ep.devices.ShockleyDiode`."""

    model: Literal["shockley"] = "shockley"
    saturation_current: PositiveFloat = 1e-14
    ideality: PositiveFloat = 1.0
    temperature: PositiveFloat = 300.15
    series_resistance: NonNegativeFloat = 0.0

    def diode(self) -> ShockleyDiode:
        return ShockleyDiode(self.saturation_current, self.ideality, self.temperature, self.series_resistance)


class PiecewiseSpec(_ClampSpec):
    """See `analog_ep.devices.PiecewiseLinearDiode`."""

    model: Literal["piecewise"]
    thresholds: Annotated[list[float], Field(min_length=1)]
    increments: Annotated[list[float], Field(min_length=1)]
    leakage: NonNegativeFloat = 0.0

    def diode(self) -> PiecewiseLinearDiode:
        return PiecewiseLinearDiode(tuple(self.thresholds), tuple(self.increments), leakage=self.leakage)


class IdealSpec(_ClampSpec):
    """See `analog_ep.devices.IdealDiode`."""

    model: Literal["ideal"]
    on_conductance: PositiveFloat | None = None
    forward_voltage: float = 0.0

    def diode(self) -> IdealDiode:
        return IdealDiode(on_conductance=self.on_conductance, forward_voltage=self.forward_voltage)


class CardSpec(_ClampSpec):
    """A device card in place of a model; see `analog_ep.cards`.

    Attributes
    ----------
    card : str
        Name of a shipped card, or the path of one.
    temperature : float, optional
        Another junction temperature than the card's own. [K]
    """

    model: Literal["card"]
    card: str
    temperature: PositiveFloat | None = None

    @model_validator(mode="after")
    def _loads(self) -> CardSpec:
        try:
            self.diode()
        except (CardError, DeviceParameterError) as error:
            raise ValueError(f"card: {error}") from None
        return self

    def diode(self) -> Diode:
        return load_card(self.card).diode(self.temperature)

    def require_at(self, temperature: float) -> None:
        try:
            load_card(self.card).diode(temperature)
        except CardError as error:
            raise ValueError(f"chip.temperature must be one of the diode's: {error}") from None


def with_models(value: Any) -> Any:
    """Diode tables as a list; one that names a card needs no model beside it."""
    tables = listed(value)
    return [{"model": "card", **table} if isinstance(table, dict) and "card" in table else table for table in tables]


DiodeSpec = Annotated[ShockleySpec | PiecewiseSpec | IdealSpec | CardSpec, Field(discriminator="model")]
