"""Draws what the clamps of docs/design-guide.md do to a hidden node, by Newton's method on its circuit.

python tools/design_figures.py docs/images/design-clamp.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

import analog_ep as aep
from analog_ep.circuit import CircuitBuilder, Conductances, Diodes, VoltageSources
from analog_ep.constants import thermal_voltage
from analog_ep.equilibrium import Newton

TOTAL, IDEALITY, JUNCTION = 3.7e-6, 1.2928, 2.75e-14
"""Σg of a node of the trained digits [S]; n and IS [A] of 10 µm² of SKY130's diode_pw2nd_05v5."""


def node_voltages(drive: np.ndarray, at_rest: float, both: bool) -> np.ndarray:
    """Of a node between Σg to the drive [V] and a junction that carries `at_rest` [A] at 0 V, or one each side. [V]"""
    bias = IDEALITY * thermal_voltage() * np.log(at_rest / JUNCTION)
    builder = CircuitBuilder("hidden node")
    source, node, below, above = builder.add_nodes(["source", "node", "below", "above"])
    builder.add(VoltageSources("x", source, 0, 0.0, 0))
    builder.add(VoltageSources("rails", [below, above], [0, 0], [-bias, bias]))
    builder.add(Conductances("g", source, node, TOTAL))
    diode = aep.ShockleyDiode(JUNCTION, IDEALITY)
    builder.add(Diodes("upper", node, below, diode))
    if both:
        builder.add(Diodes("lower", above, node, diode))
    builder.set_outputs(node, 0)
    inputs = torch.from_numpy(drive[:, None])
    return aep.solve(builder.build(), inputs, solver=Newton()).outputs[:, 0].numpy()


def main(path: Path) -> None:
    """Draw one-sided and two-sided clamps over the current that they carry at 0 V."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
    drive, matched = np.linspace(-0.15, 0.15, 121), TOTAL * IDEALITY * thermal_voltage()
    for panel, both in zip(panels, (False, True), strict=True):
        for ratio in (0.001, 0.03, 0.3, 1.0, 3.0, 30.0):
            volts = node_voltages(drive, ratio * matched, both)
            panel.plot(1e3 * drive, 1e3 * volts, label=f"{ratio:g}")
        panel.plot(1e3 * drive, 1e3 * drive, "k:", linewidth=0.8, label="no clamp")
        panel.set(xlabel="weighted mean of the inputs [mV]", title="a junction each side" if both else "one junction")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("hidden node [mV]")
    panels[0].legend(title="I(0 V) / (Σg·nkT/q)", fontsize="small")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
