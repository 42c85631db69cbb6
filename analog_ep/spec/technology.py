"""A technology in TOML: what a process, a supply and the converters at hand allow a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from analog_ep.errors import SpecError
from analog_ep.measurements import si_scale
from analog_ep.spec.keys import known_keys, nearest, place_of
from analog_ep.spec.table import TABLE
from analog_ep.spec.toml_files import read_tables


def _in(unit: str) -> BeforeValidator:
    """Takes a number in the SI unit, or a text such as "1.2 V" with any of its prefixes."""

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        number, _, written = value.strip().partition(" ")
        scale = si_scale(written, unit)
        try:
            if scale is None:
                raise ValueError
            return float(number) * scale[0] + scale[1]
        except ValueError:
            raise ValueError(f'must be in {unit}, such as "1 {unit}", found {value!r}') from None

    return BeforeValidator(read)


Positive = Field(gt=0)
Volts = Annotated[float, _in("V"), Positive]
Amperes = Annotated[float, _in("A"), Positive]
Watts = Annotated[float, _in("W"), Positive]
Seconds = Annotated[float, _in("s"), Positive]
Siemens = Annotated[float, _in("S"), Positive]
Farads = Annotated[float, _in("F"), Positive]
Joules = Annotated[float, _in("J"), Positive]
Offset = Annotated[float, _in("V"), Field(ge=0)]
Ohms = Annotated[float, _in("ohm"), Field(ge=0)]
Spread = Annotated[float, _in("1"), Field(ge=0, le=10)]
Ratio = Annotated[float, _in("1"), Field(gt=1)]
Bits = Annotated[int, Field(ge=2, le=24)]


class SupplyTable(BaseModel):
    """What may be drawn, and for how long.

    Attributes
    ----------
    voltage : float
        VDD; all nodes stay within ± half of it about mid-rail. [V]
    power : float, optional
        Budget of an inference's static power. [W]
    settling_time : float, optional
        Budget of the time until the outputs have settled to 1 %. [s]
    """

    model_config = TABLE

    voltage: Volts
    power: Watts | None = None
    settling_time: Seconds | None = None


class ConductanceTable(BaseModel):
    """The cells.

    Attributes
    ----------
    range : list of float
        What they may have. [S]
    ratio : float, optional
        Largest g_max/g_min of one design within the range; by default the whole range.
    spread : float
        σ of the log-normal mismatch.
    """

    model_config = TABLE

    range: Annotated[list[Siemens], Field(min_length=2, max_length=2)]
    ratio: Ratio | None = None
    spread: Spread = 0.0

    @model_validator(mode="after")
    def _rising(self) -> ConductanceTable:
        low, high = self.range
        if not low < high:
            raise ValueError(f"must have a range [low, high] with low < high, found {self.range}")
        return self


class JunctionTable(BaseModel):
    """The junctions of the clamps.

    Attributes
    ----------
    saturation_current : float
        Of the smallest one. [A]
    ideality : float
        Emission coefficient n.
    largest : float
        How many times the smallest one the largest is.
    spread : float
        σ of the log-normal mismatch of the saturation current.
    """

    model_config = TABLE

    saturation_current: Amperes
    ideality: Annotated[float, _in("1"), Field(ge=0.5, le=10)] = 1.0
    largest: Annotated[float, _in("1"), Field(ge=1)] = 1.0
    spread: Spread = 0.0


class AmplifierTable(BaseModel):
    """The amplifiers.

    Attributes
    ----------
    largest_gain : float, optional
        Of the closed loop.
    gain_spread : float
        σ of the log-normal mismatch of gain and feedback.
    offset : float
        Standard deviation, referred to the input. [V]
    supply_current : float, optional
        Quiescent, of each output of an amplifier; by default as class A needs it. [A]
    """

    model_config = TABLE

    largest_gain: Annotated[float, _in("1"), Positive] | None = None
    gain_spread: Spread = 0.0
    offset: Offset = 0.0
    supply_current: Amperes | None = None


class CapacitanceTable(BaseModel):
    """Capacitors.

    Attributes
    ----------
    node : float
        Of every node that neither a source nor an amplifier holds. [F]
    sample : float, optional
        That a read is sampled on; without it reads have no thermal noise. [F]
    """

    model_config = TABLE

    node: Farads = 1e-12
    sample: Farads | None = None


class ConverterTable(BaseModel):
    """The converters at the boundary; ideal without bits.

    Attributes
    ----------
    dac_bits, adc_bits : int, optional
        Resolution.
    offset : float
        Standard deviation of the ADCs' offsets. [V]
    energy_per_step : float, optional
        Walden's figure of merit, energy of a conversion over 2^ENOB; by default that of `analyse RUN power`. [J]
    """

    model_config = TABLE

    dac_bits: Bits | None = None
    adc_bits: Bits | None = None
    offset: Offset = 0.0
    energy_per_step: Joules | None = None


class Technology(BaseModel):
    """What a design may use; see docs/sizing.md.

    Attributes
    ----------
    supply, conductance, junction, amplifier, capacitance, converters
        Its tables; without [supply], [conductance] or [junction] there is none.
    segment_resistance : float
        Of the wires between two cells. [Ω]
    """

    model_config = TABLE

    supply: SupplyTable
    conductance: ConductanceTable
    junction: JunctionTable
    amplifier: AmplifierTable = AmplifierTable()
    capacitance: CapacitanceTable = CapacitanceTable()
    converters: ConverterTable = ConverterTable()
    segment_resistance: Ohms = 0.0

    @property
    def rail(self) -> float:
        """Largest voltage from mid-rail. [V]"""
        return self.supply.voltage / 2


def load_technology(path: Path) -> Technology:
    """Read a technology.

    Raises
    ------
    SpecError
        If the file is missing or no TOML, a key or a unit is unknown, a table is missing, or a value cannot be.
    """
    tables = read_tables(path)
    try:
        return Technology.model_validate(tables)
    except ValidationError as error:
        # A key that is misspelt is both unknown and missing: say the first.
        errors = sorted(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        raise SpecError(f"{path}: {_sentence(errors[0])}") from None


def _sentence(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    match error["type"]:
        case "extra_forbidden":
            place = place_of(Technology, error["loc"])
            near = nearest(Technology, place, str(error["loc"][-1]))
            return f"{key} is not a known key; known are {', '.join(known_keys(place))}{near}"
        case "missing":
            return f"{key} is required, found nothing"
        case "value_error":
            return f"{key} {error['ctx']['error']}"
    return f"{key} {error['msg'].replace('Input should', 'must')}, found {error['input']!r:.60}"
