"""The digits recipe on 64-100-10, trained as layers and as a foreign netlist: its own deck, read back.

python benchmarks/read_back.py --out FOLDER

Both runs go through the command line: `train` of the layered spec, `export` of its initial deck, `train` of that deck
on a table of the same samples, in the same order, with the same update and gradient method. Fails where a conductance
differs by more than 1e-6 of itself after the epoch.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch

from analog_ep.circuit import VoltageSources
from analog_ep.cli import main as command
from analog_ep.networks import ConductanceNetwork
from analog_ep.runs.building import build_dataset
from analog_ep.runs.choosing import stored_spec
from analog_ep.runs.folder import Run
from analog_ep.runs.trained import trained_conductances
from analog_ep.spec import CircuitSpec, Spec, default_spec, with_values

ALLOWED = 1e-6
"""Largest relative difference of a conductance."""


def layered_spec(method: str, optimizer: str, rate: float) -> Spec:
    """The recipe of the digits with another hidden layer, for one epoch in double precision and without noise."""
    return with_values(
        default_spec("digits"),
        network={"sizes": [64, 100, 10]},
        gradient={"method": method},
        training={
            "epochs": 1,
            "dtype": "float64",
            "input_noise": 0.0,
            "optimizer": optimizer,
            "learning_rate": rate,
        },
    )


def call(*arguments: object) -> float:
    """Run a command; its time. [s]"""
    began = time.perf_counter()
    try:
        command([str(argument) for argument in arguments])
    except SystemExit as end:
        if end.code:
            raise SystemExit(end.code) from None
    return time.perf_counter() - began


def foreign_spec(spec: Spec, network: ConductanceNetwork, folder: Path) -> Path:
    """Spec of the deck as a netlist that nothing is known of; its sources get the samples with their signs."""
    circuit = network.circuit()
    (sources,) = (group for group in circuit.of_kind(VoltageSources) if group.label == "inputs")
    data = build_dataset(spec, network)
    which = np.zeros((len(sources), network.n_inputs))
    which[np.arange(len(sources)), np.asarray(sources.input)] = sources.scale
    volts = data.train_inputs.double().numpy() @ which.T
    names = [f"x{i}" for i in range(len(sources))]
    lines = [",".join([*(f"{name} [V]" for name in names), "digit"])]
    rows = zip(volts.tolist(), data.train_labels.tolist(), strict=True)
    lines += [",".join([*map(repr, row), str(label)]) for row, label in rows]
    (folder / "digits.csv").write_text("\n".join(lines) + "\n")
    positive, negative = circuit.outputs or ((), ())
    ends = zip(positive, negative, strict=True)
    low, high = network.conductance_range
    tables: dict[str, Any] = spec.to_dict()
    tables["network"] = {
        "kind": "circuit",
        "netlist": "deck.cir",
        "trainable": [f"r_{group.label}_*" for group in circuit.trainable_groups()],
        "bounds": [low, high],
        "inputs": [f"v_inputs_{i}" for i in range(len(sources))],
        "outputs": [f"{circuit.node_names[p]},{circuit.node_names[n]}" for p, n in ends],
        "reference_conductance": network.reference_conductance,
    }
    tables["data"] = {"table": "digits.csv", "inputs": names, "labels": "digit"}
    tables.pop("diode")
    (folder / "foreign.toml").write_text(tomli_w.dumps(tables))
    return folder / "foreign.toml"


def conductances(network: ConductanceNetwork) -> dict[str, float]:
    """By the names that the deck's resistors have. [S]"""
    return {
        f"r_{group.label}_{i}": float(siemens)
        for group in network.circuit().trainable_groups()
        for i, siemens in enumerate(group.siemens)
    }


def main() -> None:
    """Train both ways and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--method", default="ep", help="gradient method of both")
    parser.add_argument("--optimizer", default="adam")
    parser.add_argument("--learning-rate", type=float, default=0.01)
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder: Path = options.out
    folder.mkdir(parents=True)
    spec = layered_spec(options.method, options.optimizer, options.learning_rate)
    (folder / "layered.toml").write_text(spec.to_toml())
    Run.create(folder / "begin", spec)
    _, network = trained_conductances(folder / "begin")
    before = conductances(network)
    call("export", folder / "begin", "--phase", "free", "-o", folder / "deck.cir")
    foreign = foreign_spec(spec, network, folder)
    layered_time = call("train", folder / "layered.toml", "--out", folder / "layered")
    foreign_time = call("train", foreign, "--out", folder / "foreign")
    wanted = conductances(trained_conductances(folder / "layered")[1])
    table = stored_spec(folder / "foreign").network
    assert isinstance(table, CircuitSpec)
    learnt = table.with_paths(lambda _: str(folder / "foreign" / "deck.cir")).design()
    found = {name: 1 / ohms for name, ohms in learnt.resistances({}).items()}
    assert wanted.keys() == found.keys()
    apart = np.array([abs(found[name] / g - 1) for name, g in wanted.items()])
    moved = np.array([abs(g / before[name] - 1) for name, g in wanted.items()])
    print(f"{len(wanted)} conductances; median relative change in the epoch {np.median(moved):.2g}")
    print(f"largest relative difference {apart.max():.1e}, median {np.median(apart):.1e}, allowed {ALLOWED:.0e}")
    print(f"layered {layered_time:.0f} s, foreign netlist {foreign_time:.0f} s")
    raise SystemExit(bool(apart.max() > ALLOWED))


if __name__ == "__main__":
    main()
