"""Small circuits whose netlists are tested."""

# pyright: reportArgumentType=false

from collections.abc import Sequence

import numpy as np
import torch

from analog_ep.circuit import (
    Amplifiers,
    Capacitors,
    Circuit,
    CircuitBuilder,
    Conductances,
    CurrentSources,
    VoltageSources,
)
from analog_ep.devices import DiodeClamp, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.networks import ResistiveNetwork


def alternating(n: int) -> DiodeClamp:
    """Even nodes below 0.1 V, odd ones above -0.2 V."""
    return DiodeClamp.alternating(ShockleyDiode(saturation_current=1e-9, ideality=1.3), n, upper=0.1, lower=-0.2)


def measured() -> PiecewiseLinearDiode:
    """A characteristic through measured points."""
    return PiecewiseLinearDiode.from_points([-1.0, 0.0, 0.2, 0.3, 0.35], [-1e-7, 0.0, 1e-6, 1e-5, 1e-4])


def network(sizes: Sequence[int], diode, **options) -> Circuit:
    """Circuit of a seeded resistive network in double precision."""
    options = {"dtype": torch.float64, "seed": 5, **options}
    return ResistiveNetwork(sizes, diode=diode, **options).circuit()


def mixed_circuit(temperature: float = 330.0, offset: Sequence[float] = (0.0, 0.0)) -> Circuit:
    """Two blocks with sources of every kind, diodes between free nodes, and held nodes that both blocks share."""
    builder = CircuitBuilder("mixed")
    x, rail, a, b, c, d, out, far, p, n = builder.add_nodes(["x", "rail", "a", "b", "c", "d", "out", "far", "p", "n"])
    builder.add(VoltageSources("held", [x, rail], [0, 0], [0.0, 0.25], [0, -1]))
    builder.add(VoltageSources("floating", a, b, 0.3))
    builder.add(
        Conductances("first", [x, a, b, c, rail, x], [a, c, 0, d, c, rail], [1e-4, 2e-4, 3e-4, 1e-4, 5e-5, 1e-5])
    )
    builder.add(CurrentSources("bias", [0, c, d], [b, a, rail], [1e-4, 2e-5, 1e-5]))
    builder.add_diodes(
        "warm", np.array([a, c, d]), np.array([c, rail, d - 1]), ShockleyDiode(1e-12, temperature=temperature)
    )
    builder.add_diodes("slow", np.array([0, b]), np.array([d, 0]), ShockleyDiode(1e-9, series_resistance=100.0))
    builder.add(Capacitors("load", [a], [0], 1e-12))
    builder.add(Amplifiers("amplifier", [c, x], [out, far], [3.0, 2.0], [0.5, 0.7], offset=offset))
    builder.add(
        Conductances("second", [out, out, rail, far, p, n], [p, n, p, n, 0, rail], [1e-4, 2e-4, 3e-4, 1e-4, 1e-4, 2e-4])
    )
    builder.set_outputs(np.array([p]), np.array([n]))
    return builder.build()
