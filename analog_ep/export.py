"""From a network to a netlist on disk."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from analog_ep.circuit import Chip, Circuit
from analog_ep.equilibrium import Newton, Relaxation, solve
from analog_ep.learning.cross_check import spice_equivalent
from analog_ep.networks import ResistiveNetwork
from analog_ep.spice.deck import Phase, save_deck, write_deck
from analog_ep.spice.dialects import DialectName
from analog_ep.stimulus import Nudge


def write_netlist(
    system: ResistiveNetwork | Circuit,
    inputs: Tensor,
    nudge: Nudge | None = None,
    *,
    path: str | Path,
    phase: Phase | None = None,
    chip: Chip | None = None,
    dialect: DialectName = "ngspice",
) -> Path:
    """Write one sample as a deck that runs in a simulator alone, plain ``ngspice -b FILE``; see `write_deck`.

    The currents of a frozen nudge are taken from the free state, which is solved for here.

    Parameters
    ----------
    system : ResistiveNetwork or Circuit
        What to write.
    inputs : Tensor (n_inputs,)
        Inputs of one sample. [V]
    nudge : Nudge, optional
        With a target `(n_outputs,)`.
    path : str or Path
        The file, written whole or not at all.
    phase : "free", "nudged" or "both", optional
        By default "both" with a nudge and "free" without.
    chip : Chip, optional
        Mismatch of the hardware.
    dialect : str
        The simulator to write for: "ngspice", "xyce", "ltspice", "hspice", "spectre" or "gnucap".

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    StimulusError
        If inputs or targets do not fit.
    ConvergenceError
        If the free state was not reached.
    """
    phase = phase or ("free" if nudge is None else "both")
    if isinstance(system, Circuit):
        circuit, solved, solver = (system if chip is None else chip.apply(system)), system, Newton()
    else:
        twin = spice_equivalent(system)
        circuit, solved, solver = twin.circuit(chip), twin, Relaxation()
    free = solve(solved, inputs.detach().double().cpu(), solver=solver, chip=chip)
    deck = write_deck(circuit, free.inputs, nudge, free.outputs, phase, dialect=dialect)
    save_deck(deck, Path(path))
    return Path(path)
