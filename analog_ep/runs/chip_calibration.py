"""The calibration of a run's chip, kept in its folder."""

from __future__ import annotations

from pathlib import Path

from analog_ep.calibration.chip import ChipCalibration, calibrate_chip
from analog_ep.errors import DataError, SpecError
from analog_ep.runs.building import build_dataset
from analog_ep.runs.folder import CALIBRATION, stored_chip
from analog_ep.runs.trained import trained_network

_SAMPLES = 50
"""Inputs at which nodes with ideal diodes are read: at zero input the diodes may hold them."""


def calibrate_run(path: Path, *, reads: int = 4, bits: int = 12) -> ChipCalibration:
    """Measure a run's chip at the conductances of its last checkpoint; trainings that go on correct for what it found.

    Parameters
    ----------
    path : Path
        The run folder.
    reads, bits : int
        See `calibrate_chip`.

    Raises
    ------
    CheckpointError
        If the folder has no usable checkpoint or chip.
    DataError
        If the run has no chip.
    SpecError
        If its gradient does not come from phases that a correction could enter.
    """
    spec, network = trained_network(path)
    chip = stored_chip(path, spec, network)
    if chip is None:
        raise DataError(f"{path} must have a chip to calibrate, found no [chip] and no [converters] in its spec")
    if not spec.gradient.measures:
        raise SpecError(f'a calibrated chip is trained with gradient.method = "ep", found "{spec.gradient.method}"')
    ideal = any(not clamp.has_current for clamp in network.clamps)
    inputs = build_dataset(spec).train_inputs[:_SAMPLES] if ideal else None
    calibration = calibrate_chip(network, chip, inputs=inputs, reads=reads, bits=bits, seed=spec.training.seed)
    calibration.known.save(path / CALIBRATION)
    return calibration
