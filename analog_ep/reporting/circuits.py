"""Sections on the circuit of a run: crossbars, conductances, diodes, agreement with ngspice, classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from analog_ep.analyses.characteristics import characteristics
from analog_ep.analyses.class_scores import CONFIDENCE, class_scores
from analog_ep.analyses.map_plots import conductance_histograms
from analog_ep.analyses.voltage_map import changes_of_cells, voltage_map
from analog_ep.checking import CrossCheck, HopfieldCrossCheck
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.networks.needs import conductances_of
from analog_ep.reporting.page import Section, paragraph, picture, rich_table, rows_table
from analog_ep.reporting.subject import ConductancesOf, RunSubject
from analog_ep.runs.building import build_dataset
from analog_ep.runs.trained import cross_checked
from analog_ep.spec import Spec
from analog_ep.support.si import si


def maps(subject: RunSubject) -> Section:
    """Every crossbar as images."""
    found = voltage_map(subject.network, subject.one, chip=subject.chip)
    changes, count = subject.step()
    found = found.with_changes(changes_of_cells(subject.network, changes))
    words = (
        f"Test sample {subject.sample}, free phase; rows +u, −u, then bias. ΔG is that of one plain gradient step at "
        f"the spec's learning rate, mean over {count} training samples, without the optimiser's memory. Colours end "
        "at 99.5 % of the cells."
    )
    body = picture(found.plot(), "conductances, voltages, currents and changes of every crossbar")
    figures = {
        each.label: {"shape": each.siemens.shape, "watts": each.watts, "largest_voltage": float(abs(each.volts).max())}
        for each in found.crossbars
    }
    return Section("Voltage map", body + paragraph(words) + rich_table(found.table()), figures)


def histograms(subject: RunSubject) -> Section:
    """Conductances, and those that the training began with."""
    bounds = conductances_of(subject.network, "conductances are needed", "none").conductance_range
    now, begun = (network.answer(ConductancesOf()) for network in (subject.network, subject.begun))
    low, high = bounds
    at_ends = {
        name: [float((g <= low * (1 + 1e-3)).mean()), float((g >= high * (1 - 1e-3)).mean())] for name, g in now.items()
    }
    header = ["parameter", "number", "lowest", "median", "highest", f"at {si(low, 'S')}", f"at {si(high, 'S')}"]
    rows = [
        [
            name,
            str(g.size),
            *(si(float(v), "S") for v in (g.min(), np.median(g), g.max())),
            *(f"{s:.1%}" for s in at_ends[name]),
        ]
        for name, g in now.items()
    ]
    body = picture(conductance_histograms(now, begun, bounds), "histograms of conductances") + rows_table(header, rows)
    return Section("Conductances", body, {"share_at_ends": at_ends})


def diodes(subject: RunSubject) -> Section:
    """Where the diodes work, by PyTorch's solution."""
    network = subject.network.as_built()
    state = solve(network, subject.one, solver=solver_of(network), chip=subject.chip)
    found = characteristics(network.circuit(subject.chip), state.voltages.double().numpy())
    if not found.groups:
        return Section("Diodes", left_out="the circuit has no nonlinear elements of two terminals")
    words = f"Test sample {subject.sample}, free phase. Ideal diodes are drawn as their netlist has them."
    body = picture(found.plot(), "operating points on the diodes' characteristics")
    return Section("Diodes", body + paragraph(words) + rich_table(found.table()), json.loads(found.to_json()))


def checked(path: Path, spec: Spec, samples: int) -> CrossCheck | HopfieldCrossCheck:
    """That many test samples, or all where there are fewer, compared with ngspice."""
    return cross_checked(path, min(samples, len(build_dataset(spec).test_labels)), decks=False)


def agreement(found: CrossCheck | HopfieldCrossCheck) -> Section:
    """PyTorch against ngspice."""
    words = "Exported netlists are run and compared by analog-ep check RUN."
    return Section("Cross-check", rich_table(found.table()) + paragraph(words), json.loads(found.to_json()))


def classes(subject: RunSubject) -> Section:
    """Accuracy of every class of the test part."""
    dataset, title = build_dataset(subject.spec, subject.network), "Accuracy by class"
    if dataset.n_classes is None or subject.network.n_outputs < 2:
        return Section(title, left_out="the samples have targets, or one output; there are no classes to tell apart")
    given = subject.outputs.argmax(-1).numpy()
    found = class_scores(given, dataset.test_labels.numpy(), subject.network.n_outputs)
    words = f"The network in float64 on the whole test part; Wilson's score intervals at {CONFIDENCE:.0%}."
    body = picture(found.plot(), "accuracy of each class, and confusions") + paragraph(words)
    return Section(title, body + rich_table(found.table()), json.loads(found.to_json()))
