"""Whether exported netlists, run by the engine alone, give what PyTorch finds."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from analog_ep.checking.agreement import DeckCheck
from analog_ep.checking.exports import Tables, exports_of
from analog_ep.circuit import GROUND, Chip, Circuit, ConductanceLaw
from analog_ep.circuit.energy import circuit_energy, energy_weights
from analog_ep.dynamics.time_constants import MOST_UNKNOWNS
from analog_ep.equilibrium.equilibrium import Equilibrium, solve
from analog_ep.equilibrium.nodal.reduction import reduced_system
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.errors import NgspiceResultError
from analog_ep.export import write_netlist, write_transient_netlist
from analog_ep.learning.gradients.branch_gradient import branch_gradient
from analog_ep.netlist.deck import Phase, printed_nodes
from analog_ep.networks import ConductanceNetwork
from analog_ep.ngspice.sweep import held_voltages
from analog_ep.stimulus import Nudge

MOST_BRANCHES = 500_000
"""Branches up to which a whole netlist is run: beyond it ngspice takes minutes for its first point."""

MOST_TRANSIENT_BRANCHES = 50_000
"""The same of a transient, which solves some hundred points."""

_VISIBLE = 1e-2
"""Response of the outputs, relative to their voltages, that the nudge is scaled to: ten digits show it to 1e-7."""

_ROWS: dict[Phase, tuple[str, ...]] = {"free": ("free",), "nudged": ("nudged",), "both": ("free", "nudged")}
_FACTOR = re.compile(r"^(?:\*|//) (\w+): w/\(w_L beta\) = (\S+)\.$", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class _Subject:
    """One sample, and PyTorch's two phases of it."""

    network: ConductanceNetwork
    chip: Chip | None
    circuit: Circuit
    nudge: Nudge
    phases: dict[str, Equilibrium]

    @classmethod
    def of(cls, network: ConductanceNetwork, inputs: Tensor, nudge: Nudge, chip: Chip | None) -> _Subject:
        twin, inputs = network.as_built(), inputs.double().cpu()[None]
        nudge = Nudge(nudge.strength, nudge.target.double().cpu()[None], nudge.cost, nudge.kind)
        solver = solver_of(twin)
        free = solve(twin, inputs, solver=solver, chip=chip)
        # A chip's nudge is that of the outputs as they are read.
        seen = replace(free, outputs=twin.outputs_of(twin.read(free.layers, chip)))
        weak = solve(twin, inputs, nudge, solver=solver, start=seen, chip=chip)
        largest, response = (float(o.abs().max()) for o in (free.outputs, weak.outputs - free.outputs))
        if response:
            nudge = nudge.scaled(nudge.strength * _VISIBLE * largest / response)
        nudged = solve(twin, inputs, nudge, solver=solver, start=seen, chip=chip)
        return cls(network, chip, twin.circuit(chip), nudge, {"free": free, "nudged": nudged})

    @property
    def one(self) -> Nudge:
        """The nudge of the sample alone."""
        return Nudge(self.nudge.strength, self.nudge.target[0], self.nudge.cost, self.nudge.kind)

    @property
    def inputs(self) -> Tensor:
        return self.phases["free"].inputs

    def voltages(self, phase: str) -> np.ndarray:
        return self.phases[phase].voltages[0].numpy()


def check_decks(
    network: ConductanceNetwork, inputs: Tensor, nudge: Nudge, chip: Chip | None = None
) -> dict[str, DeckCheck]:
    """Run every kind of netlist that `export` writes for the engine in use, and compare it with PyTorch's solution.

    Parameters
    ----------
    network : ConductanceNetwork
        What is exported.
    inputs : Tensor (n_inputs,)
        One sample, as a chip's DACs drive it. [V]
    nudge : Nudge
        With a target `(n_outputs,)`; its strength is raised until ten digits show the response.
    chip : Chip, optional
        Mismatch of the hardware.

    Returns
    -------
    dict of str to DeckCheck
        By kind: "free", "nudged", "both", "transient", without those that `decks_left_out` names.

    Raises
    ------
    NgspiceError
        If the engine does not run one of them.
    """
    subject = _Subject.of(network, inputs, nudge, chip)
    found: dict[str, DeckCheck] = {}
    left_out, exports = decks_left_out(subject.circuit, chip), exports_of(subject.circuit)
    dialect = exports.dialect
    with tempfile.TemporaryDirectory(prefix="analog_ep_") as folder:
        path = Path(folder) / "deck.cir"
        for phase in _ROWS:
            if left_out.get(phase):
                continue
            given = None if phase == "free" else subject.one
            write_netlist(network, inputs, given, path=path, phase=phase, chip=chip, dialect=dialect)
            found[phase] = _worst(_sweep_errors(subject, phase, exports.tables(path)))
        if "transient" not in left_out:
            options = {"path": path, "rate": 1.0, "chip": chip, "dialect": dialect}
            write_transient_netlist(network, inputs[None], subject.nudge, **options)
            measured = exports.measurements(path)
            found["transient"] = _worst(_transient_errors(subject, measured, path.read_text(encoding="ascii")))
    return found


def decks_left_out(circuit: Circuit, chip: Chip | None = None) -> dict[str, str]:
    """Kinds of netlists that `check_decks` does not run, and why not.

    Parameters
    ----------
    circuit : Circuit
        What is exported, with the chip's mismatch.
    chip : Chip, optional
        Whose converters count.
    """
    found: dict[str, str] = {}
    if circuit.n_branches > MOST_BRANCHES:
        found = dict.fromkeys(_ROWS, f"{circuit.n_branches:,} branches, at most {MOST_BRANCHES:,} are run")
    if circuit.n_branches > MOST_TRANSIENT_BRANCHES:
        found["transient"] = f"{circuit.n_branches:,} branches, at most {MOST_TRANSIENT_BRANCHES:,} are run"
    elif (unknowns := reduced_system(circuit).n_unknowns) > MOST_UNKNOWNS:
        found["transient"] = f"{unknowns:,} unknown voltages, at most {MOST_UNKNOWNS:,} have their time constants found"
    elif chip is not None and chip.converters is not None and not chip.converters.reads_exactly:
        found["transient"] = "its deck has no converters"
    elif reason := energy_weights(circuit).reason:
        found["transient"] = f"no energy: {reason}"
    return found


def _worst(errors: dict[str, float]) -> DeckCheck:
    worst = max(errors, key=lambda kind: errors[kind] if np.isfinite(errors[kind]) else np.inf)
    return DeckCheck(errors[worst] if np.isfinite(errors[worst]) else float("inf"), worst)


def _sweep_errors(subject: _Subject, phase: Phase, printed: Tables) -> dict[str, float]:
    names, rows = subject.circuit.node_names, _ROWS[phase]
    nodes = np.concatenate(printed_nodes(subject.circuit))
    volts = np.stack([_column(printed, f"v({names[node]})", len(rows)) for node in nodes], axis=1)
    wanted = np.stack([subject.voltages(row)[nodes] for row in rows])
    errors = {"node voltages": _relative(volts, wanted)}
    positive, negative = subject.circuit.outputs or (nodes[:0], nodes[:0])
    headings = [
        f"v({names[p]})" if n == GROUND else f"v({names[p]})-v({names[n]})"
        for p, n in zip(positive, negative, strict=True)
    ]
    outputs = np.stack([_column(printed, heading, len(rows)) for heading in headings], axis=1)
    truth = np.stack([subject.phases[row].outputs[0].numpy() for row in rows])
    errors["outputs"] = _relative(outputs, truth)
    if phase == "both":
        errors["responses"] = _relative(np.diff(outputs, axis=0), np.diff(truth, axis=0))
    if "v(energy)" in printed:
        states = np.stack([subject.voltages(row) for row in rows])
        energies = circuit_energy(subject.circuit, states)
        errors["energy"] = _relative(_column(printed, "v(energy)", len(rows)), energies)
    return errors


def _column(printed: Tables, heading: str, n_rows: int) -> np.ndarray:
    values = printed.get(heading, np.zeros(0))
    if len(values) != n_rows:
        raise NgspiceResultError(f"the netlist must print {n_rows} rows of {heading}, found {len(values)}")
    return values


def _transient_errors(subject: _Subject, printed: dict[str, float], deck: str) -> dict[str, float]:
    # By the weights of the hardware itself, as the deck has them: a chip's may be others than the nominal ones.
    free, nudged = (subject.voltages(phase)[None] for phase in ("free", "nudged"))
    wanted = branch_gradient(subject.circuit, free, nudged, subject.nudge.strength)
    changes = {name: np.zeros(len(value)) for name, value in wanted.items()}
    factors = {name: float(value) for name, value in _FACTOR.findall(deck)}
    for group, name, index in subject.circuit.trained_groups():
        label = group.label
        if label in factors:
            found = _change(subject, group, factors[label], printed)
        else:
            found = np.array([printed.get(f"delta_{label}_{i}_0", np.nan) for i in range(len(group))])
        # Elements that share a parameter each print their own part of its change.
        np.add.at(changes[name], index, found)
    return {f"ΔG of {name}": _relative(found, -wanted[name].numpy()) for name, found in changes.items()}


def _change(subject: _Subject, group: ConductanceLaw, factor: float, printed: dict[str, float]) -> np.ndarray:
    """ΔG as the head of a deck that prints responses says it follows from them; sources hold the nodes without one."""
    circuit = subject.circuit
    held = held_voltages(circuit, subject.inputs.numpy())[0]
    free, response = held.copy(), np.where(np.isnan(held), np.nan, 0.0)
    for node in np.flatnonzero(np.isnan(held)):
        name = circuit.node_names[node]
        free[node], response[node] = (printed.get(f"{kind}_{name}_0", np.nan) for kind in ("free", "response"))
    across, change = (values[group.positive] - values[group.negative] for values in (free, response))
    return -factor * change * (across + change / 2)


def _relative(found: np.ndarray, wanted: np.ndarray) -> float:
    largest = float(np.abs(wanted).max(initial=0.0))
    return float(np.abs(found - wanted).max(initial=0.0)) / (largest or 1.0)
