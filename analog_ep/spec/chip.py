"""What the hardware has that the nominal circuit has not: mismatch, faults, cells, learning circuits, converters."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, NonNegativeFloat, PositiveFloat, model_validator

from analog_ep.cards import load_card
from analog_ep.errors import CardError
from analog_ep.spec.table import TABLE, listed

Spread = Annotated[float, Field(ge=0, le=10)]
"""σ of a log-normal factor; at 10 one value in a thousand is 10¹³ times the median."""

Fraction = Annotated[float, Field(ge=0, le=1)]
Bits = Annotated[int, Field(ge=2, le=24)]


def amplifier_of(card: str) -> tuple[float, float]:
    """Gain and offset [V] of the amplifier of a card; a `ValueError` that names the key where there is none."""
    try:
        return load_card(card).amplifier()
    except CardError as error:
        raise ValueError(f"amplifier: {error}") from None


class ChipSpec(BaseModel):
    """One piece of hardware, drawn from the seed; everything is off where its key is left out.

    Attributes
    ----------
    seed : int, optional
        Of everything that is drawn; by default that of the training.
    conductance_spread, saturation_current_spread, ideality_spread, gain_spread, feedback_spread : float
        σ of the log-normal factors exp(σ ξ) of conductances, of diodes' saturation current and ideality, and of
        amplifiers' a and k.
    threshold_spread : float
        σ of |σ ξ| added to the thresholds of ideal and piecewise-linear diodes. [V]
    gate_threshold_spread : float
        Standard deviation of what the threshold voltages of transistors differ by. [V]
    transconductance_spread : float
        σ of the log-normal factors of their transconductances.
    segment_spread : float
        σ of the log-normal factors of the conductances of wires.
    open_segments, shorted_segments : float
        Probability that a segment of a wire is broken or bridged.
    corner : str, optional
        Of the process, of transistors by tables, see `analog_ep.devices.TabulatedMosfet`: a section of their library.
    amplifier : str, optional
        Name or path of the card of a measured amplifier: every amplifier has its gain and its offset, and what is drawn
        comes on top.
    amplifier_offset : float
        Standard deviation of the amplifiers' offsets, referred to their input. [V]
    temperature : float, optional
        Of the whole chip: of junction diodes, in place of their own, and of the resistors, whose noise it sets; the
        conductances follow it by `temperature_coefficient`. [K]
    temperature_coefficient : float
        Relative change of the conductances per kelvin above 300.15 K. [1/K]
    stuck_low, stuck_high, open : float
        Probability that a cell is stuck at g_min, stuck at g_max, or open.
    stuck : float
        In place of `stuck_low` and `stuck_high`: half of it each.
    open_conductance : float
        What is left of an open cell or segment. [S]
    fault_map : str, optional
        CSV of faulty cells; see `analog_ep.circuit.read_faults`.
    twin : bool
        Whether the later phase runs on a second array with mismatch and faults of its own.
    levels, rounding, retention, diffusion
        See `analog_ep.circuit.Cells`; the retention is left out for none.
    comparator : bool
        Whether the update sees only the sign of the gradient.
    learning_bias, learning_bias_mean : float
        Standard deviation over the cells, and mean, of what the circuit beside a cell adds to the contrast. [V²]
    """

    model_config = TABLE

    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    conductance_spread: Spread = 0.0
    saturation_current_spread: Spread = 0.0
    ideality_spread: Spread = 0.0
    threshold_spread: NonNegativeFloat = 0.0
    gain_spread: Spread = 0.0
    feedback_spread: Spread = 0.0
    gate_threshold_spread: NonNegativeFloat = 0.0
    transconductance_spread: Spread = 0.0
    segment_spread: Spread = 0.0
    open_segments: Fraction = 0.0
    shorted_segments: Fraction = 0.0
    corner: str | None = None
    amplifier: str | None = None
    amplifier_offset: NonNegativeFloat = 0.0
    temperature: Annotated[float, Field(ge=1, le=2000)] | None = None
    temperature_coefficient: float = 0.0
    stuck: Fraction = 0.0
    stuck_low: Fraction = 0.0
    stuck_high: Fraction = 0.0
    open: Fraction = 0.0
    open_conductance: PositiveFloat = 1e-12
    fault_map: str | None = None
    twin: bool = False
    levels: Annotated[int, Field(ge=2)] | None = None
    rounding: Literal["nearest", "stochastic", "carried"] = "nearest"
    retention: PositiveFloat | None = None
    diffusion: NonNegativeFloat = 0.0
    comparator: bool = False
    learning_bias: NonNegativeFloat = 0.0
    learning_bias_mean: float = 0.0

    @model_validator(mode="after")
    def _loads(self) -> ChipSpec:
        if self.amplifier is not None:
            amplifier_of(self.amplifier)
        return self

    @model_validator(mode="after")
    def _faults(self) -> ChipSpec:
        if self.stuck and (self.stuck_low or self.stuck_high):
            raise ValueError(f"stuck stands for stuck_low and stuck_high, found all of them; leave out {self.stuck}")
        total = self.stuck + self.stuck_low + self.stuck_high + self.open
        if total > 1:
            raise ValueError(f"stuck, stuck_low, stuck_high and open must be 1 at most in sum, found {total:g}")
        segments = self.open_segments + self.shorted_segments
        if segments > 1:
            raise ValueError(f"open_segments and shorted_segments must be 1 at most in sum, found {segments:g}")
        if self.rounding != "nearest" and self.levels is None:
            raise ValueError(f'rounding has a meaning only with levels, found "{self.rounding}"')
        return self

    @property
    def needs_phases(self) -> bool:
        """Whether the gradient must come from phases that were really run."""
        return self.twin or self.comparator or bool(self.learning_bias or self.learning_bias_mean)


class ConvertersSpec(BaseModel):
    """The converters at the boundary, shared by all phases; ideal where their keys are left out.

    Attributes
    ----------
    dac_bits, adc_bits : int, optional
        Resolution.
    dac_range, adc_range : float or list of float, optional
        Full scale: the range is −range…range. One ADC's for all layers, or one each. [V]
    dac_offset, adc_offset : float
        Standard deviation of the offsets of inputs and of read nodes. [V]
    dac_noise, adc_noise : float
        Standard deviation of the noise of every conversion. [V]
    adc_capacitance : float, optional
        Of the capacitor on which each read is sampled: every read, of whatever phase, has noise of its own of rms
        √(k_B T/C) beside `adc_noise`, at the chip's `temperature` or else 300.15 K. [F]
    """

    model_config = TABLE

    dac_bits: Bits | None = None
    dac_range: PositiveFloat | None = None
    dac_offset: NonNegativeFloat = 0.0
    dac_noise: NonNegativeFloat = 0.0
    adc_bits: Bits | None = None
    adc_range: Annotated[list[PositiveFloat], BeforeValidator(listed), Field(min_length=1)] | None = None
    adc_offset: NonNegativeFloat = 0.0
    adc_noise: NonNegativeFloat = 0.0
    adc_capacitance: PositiveFloat | None = None

    @model_validator(mode="after")
    def _ranges(self) -> ConvertersSpec:
        for name in ("dac", "adc"):
            if getattr(self, f"{name}_bits") is not None and getattr(self, f"{name}_range") is None:
                raise ValueError(f"{name}_bits needs {name}_range, found none; give the full scale in volts")
        return self

    @property
    def needs_phases(self) -> bool:
        """Whether the gradient must come from phases that were really read."""
        limited = self.adc_bits is not None or self.adc_range is not None
        return limited or bool(self.adc_offset or self.adc_noise or self.adc_capacitance)
