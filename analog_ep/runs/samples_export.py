"""From a run folder to a netlist that shows what was learnt, test samples in turn."""

from __future__ import annotations

from pathlib import Path

from analog_ep.export import write_samples_netlist
from analog_ep.runs.trained import Array, array_of, test_samples, trained_circuit


def export_samples(path: Path, samples: slice, out: Path, array: Array = "first") -> None:
    """Write a run's network with test samples in turn as a deck for ngspice; see `write_samples_netlist`.

    Parameters
    ----------
    path : Path
        The run folder.
    samples : slice
        Which of the test part.
    out : Path
        Where to write it.
    array : "first" or "twin"
        Which array of the run's chip.

    Raises
    ------
    CheckpointError
        If the folder has no usable checkpoint, or its chip no twin array.
    DataError
        If there are no such samples.
    StimulusError
        If the network has several equilibria.
    """
    spec, network, chip = trained_circuit(path)
    inputs, targets = test_samples(spec, network, samples, chip)
    write_samples_netlist(network, inputs, path=out, targets=targets, chip=array_of(chip, array))
