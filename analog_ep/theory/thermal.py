"""Covariance of Johnson noise in passive RC networks, in PyTorch and in ngspice, against k_B T C⁻¹."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np
import torch
from rich.table import Table

from analog_ep.circuit import Capacitors, Circuit, CircuitBuilder, Conductances, VoltageSources, johnson_currents
from analog_ep.dynamics.linear_noise import LinearNoise
from analog_ep.ngspice.transient_noise import transient_noise
from analog_ep.support.png import png_of
from analog_ep.support.shown import Tabled

_RESOLUTION = 0.1
"""Interval of ngspice's noise, as a share of the fastest time constant: 0.1 % of its variance is lost."""


@dataclass(frozen=True)
class ThermalCase:
    """One network's covariances, `n × n` lists. [V²]

    Attributes
    ----------
    expected : list
        k_B T C⁻¹.
    torch, ngspice : list
        Of the simulated voltages.
    slowest, fastest : float
        Time constants of the network. [s]
    """

    expected: list[list[float]]
    torch: list[list[float]]
    ngspice: list[list[float]]
    slowest: float
    fastest: float

    def distance(self, of: str) -> float:
        """Largest |Σ_ij − expected_ij| over √(expected_ii expected_jj)."""
        expected, found = np.array(self.expected), np.array(getattr(self, of))
        scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
        return float((np.abs(found - expected) / scale).max())


@dataclass(frozen=True)
class ThermalStudy(Tabled):
    """Networks with the same capacitors and different conductances."""

    cases: tuple[ThermalCase, ...]

    @property
    def passed(self) -> bool:
        """Whether every covariance is within 2 %."""
        return all(case.distance(of) <= 0.02 for case in self.cases for of in ("torch", "ngspice"))

    def to_json(self) -> str:
        """The figures as a JSON object."""
        rows = [
            {**asdict(case), **{f"distance_{of}": case.distance(of) for of in ("torch", "ngspice")}}
            for case in self.cases
        ]
        return json.dumps({"cases": rows})

    def table(self) -> Table:
        """A row a network."""
        title = "covariance of Johnson noise: largest distance to k_B T C⁻¹, by √(Σ_ii Σ_jj)"
        table = Table("network", "time constants", "PyTorch", "ngspice", title=title)
        for number, case in enumerate(self.cases):
            times = f"{case.fastest:.2g} … {case.slowest:.2g} s"
            table.add_row(str(number), times, f"{case.distance('torch'):.2%}", f"{case.distance('ngspice'):.2%}")
        return table

    def plot(self) -> bytes:
        """Simulated entries over expected ones, as a PNG."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 3.8), layout="constrained")
        for axes, of in zip(figure.subplots(1, 2, sharey=True), ("torch", "ngspice"), strict=True):
            for number, case in enumerate(self.cases):
                expected, found = (1e12 * np.array(values).ravel() for values in (case.expected, getattr(case, of)))
                axes.plot(
                    expected, found, "o^sv"[number % 4], markersize=5, fillstyle="none", label=f"network {number}"
                )
            axes.axline((0, 0), slope=1, color="0.6", linewidth=0.8)
            axes.set(xlabel="k_B T C⁻¹ [µV²]", title={"torch": "PyTorch", "ngspice": "ngspice"}[of])
            axes.legend()
        figure.axes[0].set_ylabel("covariance of the voltages [µV²]")
        figure.suptitle("one set of capacitors, different conductances")
        return png_of(figure)


def thermal_study(networks: int = 2, *, samples: int = 20_000, n_copies: int = 64, seed: int = 1) -> ThermalStudy:
    """Simulate random networks of four nodes.

    Parameters
    ----------
    networks : int
        Networks, with the same capacitors and conductances of their own.
    samples : int
        Times at which the voltages of ngspice's copies are taken; PyTorch takes as many.
    n_copies : int
        Copies in ngspice; PyTorch runs 16 times as many.
    seed : int
        Of the networks and the noise.
    """
    return ThermalStudy(tuple(_case(number, seed, samples, n_copies) for number in range(networks)))


def _case(number: int, seed: int, samples: int, n_copies: int) -> ThermalCase:
    circuit = rc_network(seed, number)
    linear = LinearNoise(circuit, johnson_currents(circuit))
    times = linear.time_constants()
    interval, wait = _RESOLUTION * float(times[-1]), 5 * float(times[0])
    # A state a time constant of the slowest mode; the first ones, from the mean, are left out.
    states = list(linear.states(float(times[0]), 5 + samples // 20, chains=16 * n_copies, seed=seed + number))
    found = torch.stack(states[5:]).reshape(-1, len(linear.nodes))
    spice = transient_noise(
        circuit,
        np.zeros(1),
        johnson_currents,
        interval=interval,
        samples=samples,
        burn_in=round(wait / interval),
        n_copies=n_copies,
        seed=seed + number,
    )
    nodes = [circuit.node(name) for name in linear.nodes]
    voltages = spice.voltages[:, 0][..., nodes].reshape(-1, len(nodes))
    return ThermalCase(
        expected=linear.equipartition().tolist(),
        torch=torch.cov(found.mT).tolist(),
        ngspice=np.cov(voltages.T).tolist(),
        slowest=float(times[0]),
        fastest=float(times[-1]),
    )


def rc_network(seed: int, number: int) -> Circuit:
    """Four nodes at a source of 0 V: resistors between all pairs, capacitors to ground and in a ring."""
    builder = CircuitBuilder(f"passive network {number}")
    source, *nodes = builder.add_nodes(["x", "a", "b", "c", "d"]).tolist()
    builder.add(VoltageSources("x", source, 0, 0.0, 0))
    pairs = [(source, node) for node in nodes] + [(a, b) for a in nodes for b in nodes if a < b]
    first, second = np.array(pairs).T
    siemens = 10 ** np.random.default_rng([seed, number]).uniform(-5.5, -4.5, len(pairs))
    builder.add(Conductances("r", first, second, siemens))
    random = np.random.default_rng(seed)
    ground = np.zeros(len(nodes), dtype=np.int64)
    builder.add(Capacitors("c", nodes, ground, random.uniform(0.5e-12, 2e-12, len(nodes))))
    builder.add(Capacitors("ring", nodes, np.roll(nodes, -1), random.uniform(0.2e-12, 0.8e-12, len(nodes))))
    return builder.build()
