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
    CurrentControlledCurrentSources,
    CurrentControlledVoltageSources,
    CurrentSources,
    VoltageControlledCurrentSources,
    VoltageControlledVoltageSources,
    VoltageSources,
)
from analog_ep.devices import Clamp, DiodeClamp, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.networks import ResistiveNetwork


def alternating(n: int) -> DiodeClamp:
    """Even nodes below 0.1 V, odd ones above -0.2 V."""
    return Clamp.alternating(ShockleyDiode(saturation_current=1e-9, ideality=1.3), n, upper=0.1, lower=-0.2)


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


def every_element() -> Circuit:
    """Each kind of element, junctions at two temperatures, a measured diode, and amplifiers with and without offset."""
    builder = CircuitBuilder("every element")
    x, y, e, h, f, g = builder.add_nodes(["x", "y", "e", "h", "f", "g"])
    out, inverted, far, p, n = builder.add_nodes(["out", "inverted", "far", "p", "n"])
    builder.add(VoltageSources("v", [x, y], [0, e], [0.5, 0.0], [0, -1]))
    builder.add(Conductances("r", [x, y, f, g, h, f], [y, 0, 0, 0, f, g], [1e-3, 2e-3, 1e-3, 3e-3, 1e-4, 2e-4]))
    builder.add(Capacitors("c", y, 0, 1e-9))
    builder.add(CurrentSources("i", 0, y, 1e-4))
    builder.add(VoltageControlledVoltageSources("e", e, 0, g, 0, 0.5))
    builder.add(VoltageControlledCurrentSources("g", g, 0, x, y, -1e-3))
    builder.add(CurrentControlledCurrentSources("f", f, 0, "v", 1, 0.7))
    builder.add(CurrentControlledVoltageSources("h", h, 0, "v", 0, 250.0))
    temperature = torch.tensor([300.15, 330.0], dtype=torch.float64)
    builder.add_diodes("warm", np.array([f, g]), np.array([g, 0]), ShockleyDiode(1e-11, temperature=temperature))
    builder.add_diodes("slow", np.array([x]), np.array([f]), ShockleyDiode(1e-11, 1.5, series_resistance=100.0))
    builder.add_diodes("curve", np.array([g]), np.array([f]), measured())
    builder.add(Amplifiers("pair", f, out, 3.0, 0.2, inverted))
    builder.add(Amplifiers("single", g, far, 2.0, 0.3, offset=1e-3))
    builder.add(Conductances("load", [out, inverted, far, far, p], [p, n, p, n, 0], [1e-4, 2e-4, 3e-4, 1e-4, 5e-5]))
    builder.set_outputs(np.array([p]), np.array([n]))
    return builder.build()
