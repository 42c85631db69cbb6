"""Learning inside ngspice: a deck whose conductances have update circuits is run, and what it printed is read back."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from analog_ep.circuit import Chip, Circuit
from analog_ep.circuit.twins import SUFFIX
from analog_ep.errors import NgspiceResultError
from analog_ep.learning.learnt import Learnt
from analog_ep.learning.settled import NODE_FARADS, loaded, require_plain_cells, require_time_to_settle
from analog_ep.netlist.deck import save_deck
from analog_ep.netlist.learning_deck import write_learning_deck
from analog_ep.netlist.lesson import Lesson
from analog_ep.networks import ConductanceNetwork
from analog_ep.ngspice.printed import printed_measurements
from analog_ep.ngspice.process import run_printed

_SECONDS_PER_CELL = 1.1e-3
"""Of ngspice, for each cell and presentation, on one core of 2.6 GHz."""


def learn_in_ngspice(
    network: ConductanceNetwork,
    lesson: Lesson,
    chip: Chip | None = None,
    *,
    capacitance: float | None = NODE_FARADS,
    executable: str | Path | None = None,
    timeout: float | None = None,
) -> Learnt:
    """Learn by running the network's own circuits in ngspice; see `write_learning_deck`.

    Parameters
    ----------
    network : ConductanceNetwork
        Where learning begins; it is not changed.
    lesson : Lesson
        What is learnt from.
    chip : Chip, optional
        The hardware that learns.
    capacitance : float, optional
        Of every node that neither a source nor an amplifier holds; None for a circuit that has its own. [F]
    executable, timeout
        See `analog_ep.ngspice.process.run_printed`.

    Raises
    ------
    CircuitError, EnergyUnavailableError, StimulusError
        See `write_learning_deck`.
    NgspiceError
        If ngspice fails, or does not print what learning ended with.
    """
    deck, nominal = learning_deck(network, lesson, chip, capacitance)
    with tempfile.TemporaryDirectory(prefix="analog_ep_") as folder:
        path = Path(folder) / "learning.cir"
        save_deck(deck, path)
        printed = printed_measurements(run_printed(path, executable, timeout))
    return learnt_of(printed, lesson, nominal)


def learning_deck(
    network: ConductanceNetwork, lesson: Lesson, chip: Chip | None, capacitance: float | None
) -> tuple[str, Circuit]:
    """The deck of a network on a chip, and its nominal circuit.

    Raises
    ------
    CircuitError, StimulusError
        See `require_plain_cells`, `require_time_to_settle` and `write_learning_deck`.
    """
    require_plain_cells(chip, lesson.timing.at_once)
    require_time_to_settle(network, lesson, chip, capacitance)
    twin = network.as_built().as_measured()
    nominal = twin.circuit()
    circuit = nominal if chip is None else twin.circuit(chip)
    ranges = {name: twin.range_of(name) for name in twin.conductances}
    fixed = {} if chip is None else fixed_elements(nominal, chip)
    second = None
    if lesson.timing.at_once and chip is not None:
        second = loaded(twin.circuit(chip.later), capacitance)
        fixed |= {f"{label}{SUFFIX}": stuck for label, stuck in fixed_elements(nominal, chip.later).items()}
    deck = write_learning_deck(
        loaded(circuit, capacitance), lesson, ranges, nominal=nominal, fixed=fixed, second=second
    )
    return deck, nominal


def fixed_elements(circuit: Circuit, chip: Chip) -> dict[str, np.ndarray]:
    """Which conductances of a chip have a value of their own, stuck or open, whatever is written; by group."""
    found = {}
    for group, _, index in circuit.trained_groups():
        values = chip.values.get(f"{group.label}.siemens")
        if values is not None:
            found[group.label] = ~np.isnan(values)[index]
    return found


def learnt_of(printed: dict[str, float], lesson: Lesson, circuit: Circuit) -> Learnt:
    """What a deck printed, by the names that it printed it under.

    Raises
    ------
    NgspiceResultError
        If something is missing: the simulation ended early.
    """
    assert circuit.outputs is not None
    epochs, outputs = range(1, len(lesson.order) + 1), range(len(circuit.outputs[0]))
    weights: dict[str, np.ndarray] = {}
    try:
        costs, right = ([printed[f"{what}_{epoch}"] for epoch in epochs] for what in ("cost", "right"))
        examined = [[printed[f"out_{i}_{sample}"] for i in outputs] for sample in lesson.examined]
        for group, name, index in circuit.trained_groups():
            found = [printed[f"weight_{group.label}_{i}"] for i in range(len(group))]
            size = max(int(index.max(initial=-1)) + 1, len(weights.get(name, ())))
            weights[name] = np.resize(weights.get(name, np.zeros(size)), size)
            weights[name][index] = found
    except KeyError as error:
        raise NgspiceResultError(
            f"ngspice must print {error.args[0]} at the end of learning, found no such line; a time step that became "
            "too small ends a simulation early: give the phases more time or learn slower"
        ) from None
    values = np.concatenate([*weights.values(), costs, right, np.ravel(examined)])
    if not np.isfinite(values).all():
        raise NgspiceResultError("ngspice must print numbers at the end of learning, found failed measurements")
    return Learnt(np.array(costs), np.array(right), np.array(examined).reshape(-1, len(outputs)), weights)


def expected_seconds(circuit: Circuit, lesson: Lesson) -> float:
    """About how long ngspice will take. [s]"""
    cells = sum(map(len, circuit.trainable_groups()))
    return _SECONDS_PER_CELL * cells * len(lesson.presented)
