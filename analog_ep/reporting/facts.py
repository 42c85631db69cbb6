"""Sections that say what a run is: its spec, its learning curve, the elements that it needs, versions."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

from analog_ep.circuit.picture import MOST_ELEMENTS
from analog_ep.networks import CrossbarNetwork, HardwareNetwork, Network, Question, UnitNetwork
from analog_ep.networks.diagram import network_svg
from analog_ep.reporting.page import Section, drawing, facts_table, paragraph, picture, rows_table, unfolded
from analog_ep.reporting.subject import RunSubject
from analog_ep.runs.choosing import SPEC
from analog_ep.runs.folder import METRICS
from analog_ep.runs.progress import learning_curve
from analog_ep.support.si import si


def overview(subject: RunSubject) -> Section:
    """What is trained, how far it is, from which seed."""
    spec, network = subject.spec, subject.network
    done, epochs = len(subject.history), spec.training.epochs
    rates = ", ".join(f"{rate:g}" for rate in spec.training.learning_rate)
    parameters = sum(each.numel() for each in network.parameters())
    facts = {
        "network": f"{type(network).__name__}, {'-'.join(map(str, network.sizes))}",
        "parameters": f"{parameters:,}",
        "data": spec.data.source or Path(str(spec.data.table)).name,
        "cost": spec.cost.function,
        "gradient": spec.gradient.method,
        "optimizer": f"{spec.training.optimizer}, learning rate {rates}",
        "devices": "ideal writes" if spec.update is None else f"{spec.update.device}, scheme {spec.update.scheme}",
        "chip": "nominal" if subject.chip is None else "with its own mismatch",
        "seed": spec.training.seed,
        "epochs": f"{done} of {epochs}",
    }
    if subject.history:
        facts["result"] = subject.history[-1].verdict
        facts["wall time"] = f"{sum(each.seconds for each in subject.history):.0f} s"
    late = "" if done >= epochs else f"This training is not finished: {done} of {epochs} epochs are done."
    body = (paragraph(late) if late else "") + facts_table(facts.items())
    return Section(
        "What it is", body + unfolded("the whole spec", spec.to_toml()), {**facts, "finished": done >= epochs}
    )


def diagram(subject: RunSubject) -> Section:
    """The network drawn."""
    return subject.network.answer(_Drawn())


class _Drawn(Question[Section]):
    def network(self, network: Network) -> Section:
        return Section("Network", left_out=f"a {type(network).__name__} has no layers to draw")

    def circuit(self, network: HardwareNetwork) -> Section:
        circuit = network.circuit()
        if circuit.n_branches > MOST_ELEMENTS:
            words = (
                f"a circuit is drawn up to {MOST_ELEMENTS} elements, found {circuit.n_branches}; circuit.draw(places)"
            )
            return Section("Network", left_out=f"{words} in Python draws more")
        words = "The circuit with what it has learnt; inputs stand at what their sources have without a sample."
        return Section("Network", drawing(circuit.draw().svg) + paragraph(words), {"elements": circuit.n_branches})

    def crossbars(self, network: CrossbarNetwork) -> Section:
        return self._layers(network)

    def units(self, network: UnitNetwork) -> Section:
        return self._layers(network)

    def _layers(self, network: HardwareNetwork) -> Section:
        words = "Crosses stand for crossbars; at most four rows, columns and nodes are drawn."
        return Section("Network", drawing(network_svg(network)) + paragraph(words), {"sizes": list(network.sizes)})


def learning(subject: RunSubject) -> Section:
    """Scores and cost over the epochs."""
    if not subject.history:
        return Section("Learning curve", left_out="no epoch is complete yet")
    last = subject.history[-1]
    rows = [("epochs", str(last.epoch)), ("last epoch", last.scores), ("seconds an epoch", f"{last.seconds:.2f}")]
    body = picture(learning_curve(subject.history, ""), "scores and cost over the epochs") + facts_table(rows)
    return Section("Learning curve", body, {"epochs": last.epoch, "cost": last.cost, "verdict": last.verdict})


def learning_from_table(path: Path) -> Section:
    """The last rows of `metrics.csv`, where nothing else can be read."""
    title = "Learning curve"
    try:
        with open(path / METRICS, newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file))
    except (OSError, ValueError) as error:
        return Section(title, left_out=f"{METRICS} cannot be read: {error}")
    return Section(title, rows_table(header, rows[-10:], f"the last of {len(rows)} epochs"), {"epochs": len(rows)})


def stored_text(path: Path, why: str) -> Section:
    """The spec of a run that this version cannot read, as it stands in the folder."""
    text = (path / SPEC).read_text(encoding="utf-8", errors="replace")
    return Section("What it is", paragraph(f"This version cannot read the run: {why}") + unfolded(SPEC, text))


def hardware(subject: RunSubject) -> Section:
    """Which elements the circuit has, and how many."""
    circuit = subject.network.circuit(subject.chip)
    rows = [(group.label, type(group).__name__, f"{len(group):,}") for group in circuit.groups]
    facts: dict[str, object] = {
        "nodes": circuit.n_nodes,
        "elements": circuit.n_branches,
        "inputs to drive (DACs)": circuit.n_inputs,
        "differential outputs to read (ADCs)": circuit.n_outputs,
        "nodes of layers to read for the update": sum(len(nodes) for nodes in circuit.layers.values()),
        **subject.network.answer(_Arrays()),
    }
    if subject.spec.converters is not None:
        facts["converters"] = subject.spec.converters.model_dump(exclude_none=True)
    body = facts_table((what, f"{n:,}" if isinstance(n, int) else n) for what, n in facts.items())
    return Section("Hardware needed", body + rows_table(["group", "kind", "number"], _short(rows)), facts)


class _Arrays(Question[dict[str, object]]):
    def network(self, network: Network) -> dict[str, object]:
        return {}

    def crossbars(self, network: CrossbarNetwork) -> dict[str, object]:
        found: dict[str, object] = {
            f"crossbar {layout.label}": f"{layout.n_rows} × {layout.n_out} cells" for layout in network.layouts
        }
        found["operations of an inference"] = 2 * sum(first * second for first, second in pairwise(network.sizes))
        low, high = network.conductance_range
        return {**found, "conductance range": f"{si(low, 'S')} … {si(high, 'S')}, a ratio of {high / low:g}"}


def _short(rows: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The first groups, and how many are left."""
    most = 40
    return rows if len(rows) <= most else [*rows[:most], (f"and {len(rows) - most} groups more", "", "")]
