"""From a run folder to a netlist that learns by itself."""

from __future__ import annotations

from pathlib import Path

import torch

from analog_ep.errors import SpecError
from analog_ep.learning.ngspice_learning import expected_seconds, learning_deck
from analog_ep.netlist.deck import save_deck
from analog_ep.runs.building import build_network
from analog_ep.runs.choosing import stored_spec
from analog_ep.runs.folder import stored_chip
from analog_ep.runs.teaching import conductances_that_learn, whole_lesson
from analog_ep.runs.trained import Array, array_of


def export_learning(path: Path, out: Path, epochs: int | None = None, array: Array = "first") -> float:
    """Write a run's network as a netlist that learns by itself; see `write_learning_deck`.

    Learning begins at the conductances with which the run began, on the run's chip where there is one.

    Parameters
    ----------
    path : Path
        The run folder, of a spec with a `self_learning` table.
    out : Path
        Where to write it.
    epochs : int, optional
        By default the spec's.
    array : "first" or "twin"
        Which array of the run's chip.

    Returns
    -------
    float
        About how long ngspice will take. [s]

    Raises
    ------
    CheckpointError
        If the folder has no usable checkpoint.
    SpecError
        If its spec has no `self_learning` table, or its network no conductances.
    """
    spec = stored_spec(path)
    if spec.self_learning is None:
        raise SpecError(
            f"a netlist that learns by itself needs a spec with a [self_learning] table, found none in {path}; see "
            "docs/self-learning.md, and specs/xor-learns.toml"
        )
    network = conductances_that_learn(build_network(spec, torch.float64))
    chip = array_of(stored_chip(path, spec, network), array)
    lesson = whole_lesson(spec, network, spec.training.epochs if epochs is None else epochs)
    deck, nominal = learning_deck(network, lesson, chip, spec.self_learning.node_capacitance)
    save_deck(deck, out)
    return expected_seconds(nominal, lesson)
