"""What an analysis is asked beyond its run, and how that stands in the names of its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from analog_ep.analyses.periphery import ENERGY_PER_STEP
from analog_ep.analyses.settling_report import Integrator
from analog_ep.circuit.real_amplifiers import AmplifierModel

Study = Literal[
    "operating-point",
    "gradient",
    "settling",
    "noise",
    "transient-noise",
    "power",
    "corners",
    "monte-carlo",
    "wires",
    "nudging",
    "lock-in",
]

FOLDER = "analysis"
"""Folder inside a run's that takes what the studies write."""

PARAMETERS: dict[Study, tuple[str, ...]] = {
    "operating-point": ("amplifiers", "engine"),
    "gradient": ("engine",),
    "settling": ("capacitance", "lsb", "amplifiers", "integrator", "engine"),
    "noise": ("capacitance", "amplifiers", "engine"),
    "transient-noise": ("capacitance", "amplifiers", "engine"),
    "power": (
        "capacitance",
        "amplifiers",
        "integrator",
        "supply_voltage",
        "amplifier_current",
        "energy_per_step",
        "write_energy",
        "engine",
    ),
    "corners": ("samples", "temperature", "supply", "temperature_coefficients", "amplifiers", "engine"),
    "monte-carlo": ("samples", "chips", "check_chips", "engine"),
    "wires": (),
    "nudging": ("samples", "capacitance", "lsb"),
    "lock-in": ("samples", "capacitance", "frequency", "snr"),
}
"""Conditions by which the figures of a study differ; the others have no meaning for it."""


@dataclass(frozen=True)
class Conditions:
    """What a run leaves open.

    Attributes
    ----------
    capacitance : float
        Of every node that neither a source nor an amplifier holds. [F]
    lsb : float
        Step of the converter at the outputs. [V]
    amplifiers : AmplifierModel or None
        In place of ideal ones.
    integrator : "ngspice" or "torch"
        What follows the settling.
    samples : int, optional
        Test samples at the corners, of chips, of nudging and of lock-ins, from the one that is studied on; by default
        all, and of nudging and lock-ins a batch of the training.
    temperature : tuple of float
        Of the corners. [°C]
    supply : tuple of float
        Factors on the supply at the corners, positive.
    temperature_coefficients : (float, float), optional
        tc1 [1/K] and tc2 [1/K²] of the resistors, R(T) = R (1 + tc1 ΔT + tc2 ΔT²), ΔT from 27 °C; by default the
        conductances follow the temperature as [chip] says.
    chips : int
        Of a Monte Carlo.
    check_chips : int
        How many of them, from the first on, ngspice solves too.
    supply_voltage : float, optional
        VDD, from which drivers and amplifiers take their currents; by default twice the largest voltage. [V]
    amplifier_current : float, optional
        Quiescent current of each output of an amplifier; by default as class A needs it. [A]
    energy_per_step : float
        Walden's figure of merit of the converters. [J]
    write_energy : float
        Of one change of one cell. [J]
    frequency : float
        Of the sinusoidal nudge that lock-ins read. [Hz]
    snr : float
        Of the gradient that they read.
    engine : str, optional
        What was chosen to run the netlists; it names the files.
    """

    capacitance: float = 1e-12
    lsb: float = 1e-3
    amplifiers: AmplifierModel | None = None
    integrator: Integrator = "ngspice"
    samples: int | None = None
    temperature: tuple[float, ...] = (0.0, 27.0, 85.0)
    supply: tuple[float, ...] = (1.0,)
    temperature_coefficients: tuple[float, float] | None = None
    chips: int = 0
    check_chips: int = 0
    supply_voltage: float | None = None
    amplifier_current: float | None = None
    energy_per_step: float = ENERGY_PER_STEP
    write_energy: float = 0.0
    frequency: float = 1e3
    snr: float = 10.0
    engine: str | None = None


@dataclass(frozen=True)
class Workplace:
    """Where and by how many processes a study is done, which changes nothing of what it finds.

    Attributes
    ----------
    folder : Path, optional
        Where a study may keep what a repeated call goes on from; none where nothing shall be written.
    jobs : int, optional
        Processes of a Monte Carlo, or of ngspice in a study of noise; by default one a core.
    progress : callable, optional
        Told how many parts of how many are done.
    """

    folder: Path | None = None
    jobs: int | None = None
    progress: Callable[[int, int], None] | None = None


def file_stem(study: Study, sample: int, conditions: Conditions) -> str:
    """Name of the files of a study: its own, the sample's, and every condition that counts and is not the default."""
    return "_".join([study, str(sample), *_said(study, conditions)])


def _said(study: Study, conditions: Conditions) -> Iterator[str]:
    defaults = Conditions()
    for name in PARAMETERS[study]:
        value = getattr(conditions, name)
        if value == getattr(defaults, name):
            continue
        if name == "amplifiers":
            parts = ((field.name, getattr(value, field.name)) for field in fields(value))
            yield from (_part(*part) for part in parts if part[1] is not None)
        else:
            yield _part(name, value)


def _part(name: str, value: object) -> str:
    values = value if isinstance(value, tuple) else (value,)
    return f"{name.replace('_', '-')}={','.join(map(_text, values))}"


def _text(value: object) -> str:
    """A number as short as it is exact."""
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
