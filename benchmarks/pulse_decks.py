"""Pulsed devices in PyTorch and as subcircuits in ngspice: trains, and crossbars with half-selected devices.

python -m benchmarks.pulse_decks

Trains: 50 pulses up and 50 down for one device of every model, its conductance after every pulse. Crossbars: 4 × 3
SoftBounds devices that differ, a few pulses each, by V/2 and V/3 with several v_0; what half-selected devices do is
told beside what all do.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from analog_ep.devices.memristors.writing import WriteSchedule
from analog_ep.devices.pulses import PulsedArray, SoftBounds
from analog_ep.devices.selection import WriteScheme, exposures, voltage_share
from analog_ep.ngspice.pulse_deck import ngspice_pulse_crossbar
from tests.memristor_decks import Order
from tests.test_pulse_decks import MODELS, RANGE, array_of, one_train, reads_of, voltages_of


def trains() -> None:
    arrays = {name: array_of(model) for name, model in MODELS.items()}
    found = one_train(arrays, 50, 50)
    print("| model | steps travelled | worst conductance, relative |\n|---|---|---|")
    for (name, array), states in zip(arrays.items(), found.T, strict=True):
        theirs, ours, travelled = reads_of(array, states, [1] * 50 + [-1] * 50)
        print(f"| {name} | {travelled:.0f} | {float(np.abs(theirs / ours - 1).max()):.1e} |")


def crossbars(seeds: int) -> None:
    print("\n| scheme | v_0 at 1 V | share of a step | disturbance, most, relative | worst conductance, relative |")
    print("|---|---|---|---|---|")
    kinds: list[tuple[WriteScheme, float]] = [("V/2", v) for v in (0.08, 0.15, 0.3)]
    for scheme, scale in [*kinds, ("V/3", 0.08), ("V/3", 0.15), ("V/3", 0.3)]:
        share = voltage_share(1 / 2 if scheme == "V/2" else 1 / 3, 1.0, scale)
        worst, most = 0.0, 0.0
        for seed in range(seeds):
            model = SoftBounds(step=0.01, step_spread=0.2, w_max_spread=0.1, disturb_voltage=scale)
            draw = np.random.default_rng(seed)
            start = torch.from_numpy(draw.uniform(2e-5, 8e-5, (4, 3)))
            array = PulsedArray.over(model, start, RANGE, seed)
            counts = torch.from_numpy(draw.integers(-5, 6, (4, 3)))
            hidden = array.hidden.clone()
            orders = [Order(k, int(np.sign(n)), abs(n)) for k, n in enumerate(counts.flatten().tolist()) if n]
            found = ngspice_pulse_crossbar(array, hidden, WriteSchedule.of(orders, (4, 3), voltages_of(model, scheme)))
            array.pulse(counts)
            alone = array.conductances
            array.disturb(exposures(counts.clamp(min=0), -counts.clamp(max=0), scheme))
            most = max(most, float(((array.conductances - alone) / alone).abs().max()))
            worst = max(worst, float((found.conductances / array.conductances - 1).abs().max()))
        print(f"| {scheme} | {scale} | {share:.2g} | {most:.1e} | {worst:.1e} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="crossbars of each kind")
    seeds = parser.parse_args().seeds
    began = time.perf_counter()
    trains()
    crossbars(seeds)
    print(f"\n{time.perf_counter() - began:.0f} s")
