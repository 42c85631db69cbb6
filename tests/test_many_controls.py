"""Sources that many voltages control: how far their slopes bend, and that the work does not double with each."""

from dataclasses import field, make_dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from analog_ep.circuit import Circuit, CircuitBuilder, Conductances, CurrentLaw, VoltageSources
from analog_ep.equilibrium import Newton, solve
from analog_ep.equilibrium.nodal.bends import bends
from analog_ep.equilibrium.nodal.reduction import reduced_system

AMPERES, VOLTS = 1e-6, 0.3


class _Exponential(CurrentLaw):
    """i = AMPERES (exp(Σ ± u_k / VOLTS) − 1), from the first node to the second; the signs alternate. [A]"""

    n_controls = 0
    slopes_asked = 0

    def controls(self):
        return [(getattr(self, f"control_{k}"), np.zeros(len(self), np.int64)) for k in range(self.n_controls)]

    def current(self, *volts):
        return AMPERES * np.expm1(sum(sign * u for sign, u in zip(signs(self.n_controls), volts, strict=True)) / VOLTS)

    def slopes(self, *volts):
        type(self).slopes_asked += 1
        steep = (self.current(*volts) + AMPERES) / VOLTS
        return tuple(sign * steep for sign in signs(self.n_controls))


def signs(count: int) -> np.ndarray:
    return (-1.0) ** np.arange(count)


def exponential(count: int) -> type[_Exponential]:
    names = [f"control_{k}" for k in range(count)]
    fields = [(name, Any, field()) for name in ("first", "second", *names)]
    namespace = {"terminals": ("first", "second", *names), "values": (), "n_controls": count}
    return make_dataclass("Exponential", fields, bases=(_Exponential,), frozen=True, eq=False, namespace=namespace)


def circuit_of(kind: type[_Exponential]) -> Circuit:
    """A chain from 1 V to ground, every node of which controls a source at its end."""
    builder = CircuitBuilder("many controls")
    top = builder.add_nodes(["top"])
    nodes = builder.add_nodes(f"n{k}" for k in range(kind.n_controls))
    builder.add(VoltageSources("v", top, 0, 1.0))
    builder.add(Conductances("r", np.append(top, nodes), np.append(nodes, 0), 1e-4))
    builder.add(kind("source", nodes[-1:], [0], *nodes[:, None]))  # pyright: ignore[reportCallIssue]
    return builder.build()


@pytest.mark.parametrize("move", [1e-9, 1e-3, 2e-2])
@pytest.mark.parametrize("count", [2, 8, 9, 12])
def test_no_corner_of_a_move_bends_more(count, move):
    circuit = circuit_of(exponential(count))
    random = np.random.default_rng(count)
    volts, moved = random.normal(scale=0.1, size=count), move * random.uniform(0.5, 1.0, count)
    found = bends(reduced_system(circuit), volts[None], moved[None])[0, 0]
    # By its formula, at every corner: each control's slope is ± AMPERES/VOLTS exp(Σ ± u/VOLTS).
    sign = signs(count)
    corners = np.array(list(product((-1.0, 1.0), repeat=count)))
    steep = AMPERES / VOLTS * np.exp(sign @ volts / VOLTS)
    most = (steep * np.abs(np.expm1(corners @ (sign * moved) / VOLTS))).max() * moved.sum()
    assert most * (1 - 1e-6) <= found <= 4 * most


def test_a_source_of_many_controls_is_solved_and_enclosed():
    count = 24
    kind = exponential(count)
    circuit = circuit_of(kind)
    state = solve(circuit, torch.zeros(1, 0, dtype=torch.float64), solver=Newton())
    state.require_converged()
    assert kind.slopes_asked < 200 * count
    # Every node of the chain lies on a line from 1 V to the last node's voltage.
    along = np.arange(1, count + 1) / count

    def current(last: float) -> float:
        volts = 1 + (last - 1) * along
        given = 1e-4 * (1 - last) / count
        return float(given - 1e-4 * last - AMPERES * np.expm1(signs(count) @ volts / VOLTS))

    last = brentq(current, -1.0, 1.0, xtol=1e-16)
    assert isinstance(last, float)
    np.testing.assert_allclose(state.voltages[0, 2:].numpy(), 1 + (last - 1) * along, rtol=0, atol=1e-12)
