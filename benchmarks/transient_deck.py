"""Every ΔG of a trained network's transient deck in plain ngspice against equilibrium propagation in PyTorch.

    python benchmarks/transient_deck.py iris --samples 3
    python benchmarks/transient_deck.py digits
    python benchmarks/transient_deck.py mnist --data FOLDER --epochs 1 --nudging 1e-4

Trains the shipped spec, or takes the network of the run folder ``--run``, exports the two-phase deck of test samples
as ``analog-ep export --phase transient --rate 1`` does, so that ΔG is −∂C/∂g, runs ``ngspice -b`` on it, and prints
JSON on one line. The gradient is that of the same nudge from the two phases in PyTorch.

- `above`: for each of the fractions ``--floor``, over the branches whose expected |ΔG| is above that fraction of the
  largest of their crossbar and sample: how many they are, the worst and the median of |ΔG/expected − 1|, and how many
  have the wrong sign.
- `worst_of_largest`: largest difference of any branch, relative to the largest |ΔG| of its crossbar and sample.
- `cpu_s`: processor time of ngspice, which other work on the machine leaves as it is.

ngspice keeps voltages to some 1e-15 V, so that a small response to the nudge limits what ΔG can be: with the spec's
nudging of 1e-6 A·V the hidden nodes of mnist move by 1e-11 V. ``--nudging`` takes another one, in PyTorch too.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analog_ep.circuit import Circuit
from analog_ep.learning.gradients.propagation import EquilibriumPropagation
from analog_ep.networks import CrossbarNetwork
from analog_ep.ngspice.process import find_ngspice
from analog_ep.ngspice.sweep import held_voltages
from analog_ep.runs.building import build_cost
from analog_ep.runs.folder import Run
from analog_ep.runs.trained import export_transient, test_samples, trained_network
from analog_ep.spec import Spec, default_spec, with_values

Changes = dict[str, np.ndarray]
"""ΔG of each crossbar by the name of its parameter, `(n_branches,)`. [S]"""


def main() -> None:
    options = argparse.ArgumentParser(description="Compare the ΔG of a transient deck with PyTorch's.")
    options.add_argument("spec", nargs="?", default="iris", help="A shipped spec: iris, digits, mnist.")
    options.add_argument("--run", type=Path, help="A run folder, whose network is taken instead.")
    options.add_argument("--data", type=Path, help="Folder of idx files, for the spec mnist.")
    options.add_argument("--epochs", type=int, help="Epochs of training; by default the spec's.")
    options.add_argument("--sample", type=int, default=0, help="First of the test samples.")
    options.add_argument("--samples", type=int, default=1, help="How many the deck presents.")
    options.add_argument("--floor", type=float, nargs="+", default=[1e-5, 1e-3], help="|ΔG| over the largest.")
    options.add_argument("--nudging", type=float, help="Strength of the nudge, in place of the spec's.")
    chosen = options.parse_args()
    if chosen.run is not None and (chosen.data, chosen.epochs, chosen.nudging) != (None, None, None):
        options.error("--run takes a network as it was trained; leave out --data, --epochs and --nudging")
    torch.set_num_threads(1)
    which = slice(chosen.sample, chosen.sample + chosen.samples)
    with tempfile.TemporaryDirectory() as name:
        run = chosen.run
        if run is None:
            run = Path(name) / "run"
            train(run, chosen.spec, chosen.data, chosen.epochs, chosen.nudging)
        network = chosen.spec if chosen.run is None else str(run)
        print(json.dumps({"network": network, **measure(run, which, chosen.floor)}))


def train(run: Path, name: str, data: Path | None, epochs: int | None, nudging: float | None) -> None:
    """Train a shipped spec into a new run folder."""
    spec = default_spec(name)
    tables: dict[str, Any] = {}
    if data is not None:
        tables["data"] = {"source": str(data)}
    if nudging is not None:
        tables["gradient"] = {"nudging": nudging}
    if epochs is not None:
        tables["training"] = {"epochs": epochs}
    Run.create(run, with_values(spec, **tables)).train()


def measure(run: Path, which: slice, floors: list[float]) -> dict[str, Any]:
    """How far ngspice's ΔG are from PyTorch's, and how long the deck takes."""
    spec, network = trained_network(run)
    inputs, targets = test_samples(spec, network, which, None)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "cycle.cir"
        began = time.perf_counter()
        export_transient(run, which, path, rate=1.0)
        exported, deck = time.perf_counter(), path.read_text(encoding="ascii")
        before = _children_seconds()
        printed = run_plain(path)
        seconds, cpu = time.perf_counter() - exported, _children_seconds() - before
    twin = network.as_built()
    rows = [
        (ours[crossbar], expected[crossbar])
        for sample, expected in enumerate(by_propagation(spec, twin, inputs, targets))
        for ours in [changes(deck, printed, twin.circuit(), inputs.numpy(), sample)]
        for crossbar in expected
    ]
    return {
        "sizes": network.sizes,
        "epochs": spec.training.epochs,
        "nudging": spec.gradient.nudging,
        "samples": len(inputs),
        "branches": sum(len(group) for group in twin.circuit().trainable_groups()),
        "above": {f"{floor:g}": distances(rows, floor) for floor in floors},
        "worst_of_largest": max(float((np.abs(f - e) / np.abs(e).max()).max()) for f, e in rows),
        "export_s": exported - began,
        "ngspice_s": seconds,
        "cpu_s": cpu,
    }


def distances(rows: list[tuple[np.ndarray, np.ndarray]], floor: float) -> dict[str, Any]:
    """Of pairs (found, expected), one a sample and crossbar, where |expected| is above `floor` times its largest."""
    above = [np.abs(expected) > floor * np.abs(expected).max() for _, expected in rows]
    found, expected = (np.concatenate([row[i][a] for row, a in zip(rows, above, strict=True)]) for i in (0, 1))
    relative = np.abs(found / expected - 1)
    return {
        "branches": len(found),
        "worst_relative": float(relative.max()),
        "median_relative": float(np.median(relative)),
        "wrong_signs": int((np.sign(found) != np.sign(expected)).sum()),
    }


def run_plain(path: Path) -> dict[str, float]:
    """What ``ngspice -b FILE`` measures, by name."""
    command = [find_ngspice(), "-b", path.name]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
    if done.returncode or "failed" in done.stdout.lower():
        raise SystemExit(f"ngspice must measure every ΔG, found: {(done.stdout + done.stderr)[-500:]}")
    return {m[1]: float(m[2]) for m in re.finditer(r"^(\w+)\s+=\s+(\S+)$", done.stdout, re.MULTILINE)}


def changes(deck: str, printed: dict[str, float], circuit: Circuit, inputs: np.ndarray, sample: int) -> Changes:
    """ΔG as the deck prints it, or, of a large one, as its header says that it follows."""
    stated = re.findall(r"^\* (\w+): w/\(w_L beta\) = (\S+)\.$", deck, re.MULTILINE)
    factors = {label: float(value) for label, value in stated}
    held = held_voltages(circuit, inputs[sample : sample + 1])[0]
    names = circuit.node_names
    free, response = (
        np.array([printed.get(f"{what}_{name}_{sample}", known) for name, known in zip(names, known_ones, strict=True)])
        for what, known_ones in (("free", held), ("response", np.where(np.isnan(held), np.nan, 0.0)))
    )
    found = {}
    for name, group in circuit.trainable().items():
        if factors:
            across, change = (volts[group.positive] - volts[group.negative] for volts in (free, response))
            delta = -factors[group.label] * change * (across + change / 2)
        else:
            delta = np.array([printed[f"delta_{group.label}_{i}_{sample}"] for i in range(len(group))])
        if not np.isfinite(delta).all():
            raise SystemExit(f"ngspice must measure every ΔG of {group.label}, found some missing")
        found[name] = np.zeros(len(group))
        found[name][group.index] = delta
    return found


def by_propagation(spec: Spec, network: CrossbarNetwork, inputs: torch.Tensor, targets: torch.Tensor) -> list[Changes]:
    """−∂C/∂g of each sample from the free and the nudged phase in PyTorch."""
    nudging, kind = spec.gradient.nudging, spec.gradient.kind
    method = EquilibriumPropagation(network, abs(nudging), build_cost(spec), "positive", kind)
    found = []
    for x, y in zip(inputs.split(1), targets.split(1), strict=True):
        _, gradients = method.gradients(x, y)
        found.append({name: -g.numpy().ravel() / network.reference_conductance for name, g in gradients.items()})
    return found


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
