"""Circuits of R, L and C that learn from periodic inputs, judged by ngspice.

    python benchmarks/dynamic_networks.py gradient
    python benchmarks/dynamic_networks.py filter --plot docs/images/dynamic-filter.png
    python benchmarks/dynamic_networks.py tones --plot docs/images/dynamic-tones.png
    python benchmarks/dynamic_networks.py detector --plot docs/images/dynamic-detector.png

`gradient` compares gradients by R, L and C with central differences, in PyTorch's phasors and in ngspice's .ac, and
those of a rectifier with differences of ngspice's .tran, for inputs that are fast and slow. `filter` learns the
response of a fourth-order Butterworth low-pass. `tones` tells which of two tones is the stronger. `detector` learns to
follow the envelope of a modulated carrier with a diode, by transients in ngspice alone.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Capacitors, Circuit, CircuitBuilder, Conductances, Inductors, VoltageSources
from analog_ep.devices import ShockleyDiode
from analog_ep.dynamics.phasor_costs import DecibelError, PhasorError, PowerCrossEntropy
from analog_ep.dynamics.phasors import NgspicePhasors, NodalPhasors, phasor_equilibrium
from analog_ep.learning.periodic_propagation import PeriodicPropagation
from analog_ep.learning.phasor_propagation import PhasorPropagation
from analog_ep.networks.rlc_network import RLCNetwork
from analog_ep.ngspice.periodic import Period, Tone

_CORNER, _OHMS = 1e4, 1e3
_TONES = torch.tensor([1.0e4, 1.3e4], dtype=torch.float64)
_MARGIN, _LEAD = 1.25, 0.1
"""Least ratio of the two tones, and least lead of the right output over the other, as a share of the power of both."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("gradient", "filter", "tones", "detector"))
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    work: dict[str, Callable[[int, Path | None], None]] = {
        "gradient": gradient,
        "filter": learn_filter,
        "tones": learn_tones,
        "detector": learn_detector,
    }
    work[options.what](options.seed, options.plot)


def ladder(seed: int) -> RLCNetwork:
    """A source of 1 kΩ, L-C-L-C, and a load of 1 kΩ; reactances begin at random, within factors of 2."""
    random = np.random.default_rng(seed)
    unit = _OHMS / (2 * math.pi * _CORNER), 1 / (2 * math.pi * _CORNER * _OHMS)
    builder = CircuitBuilder("ladder")
    builder.add_nodes(["s", "in", "mid", "out"])
    builder.add(VoltageSources("v", "s", "0", 0.0, 0))
    builder.add(Conductances("r", ["s", "out"], ["in", "0"], 1 / _OHMS, "r", [0, 1]))
    builder.add(Inductors("l", ["in", "mid"], ["mid", "out"], unit[0] * 2 ** random.uniform(-1, 1, 2), "l", [0, 1]))
    builder.add(Capacitors("c", ["mid", "out"], ["0", "0"], unit[1] * 2 ** random.uniform(-1, 1, 2), "c", [0, 1]))
    builder.set_outputs("out", "0")
    bounds = {"r": (1e-4, 1e-2), "l": (1e-4, 1.0), "c": (1e-10, 1e-6)}
    return RLCNetwork(builder.build(), bounds)


def descend(network: RLCNetwork, step: Callable[[], Tensor], rate: float, steps: int) -> list[float]:
    """Adam with a rate that falls to nothing; the costs."""
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    costs = []
    for _ in range(steps):
        optimizer.zero_grad()
        costs.append(float(step()))
        optimizer.step()
        schedule.step()
        network.clip()
    return costs


def gradient(seed: int, plot: Path | None) -> None:
    network, frequencies = ladder(seed), torch.tensor([2e3, 8e3, 1e4, 1.5e4, 3e4], dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    inputs, targets = (torch.randn(3, 5, 1, dtype=torch.complex128, generator=generator) for _ in range(2))
    for solver in (NodalPhasors(), NgspicePhasors()):
        for cost, goals in ((PhasorError(), targets), (DecibelError(), -10 * targets.abs())):
            method = PhasorPropagation(network, cost, frequencies, solver)
            _, found = method.gradients(inputs, goals)

            def value(method=method, cost=cost, goals=goals) -> float:
                return float(cost.value(method.free(inputs).outputs, goals).mean())

            off = distance(found, differences(network, value, 1e-4))
            print(f"{type(solver).__name__:15s} {type(cost).__name__:14s} largest relative difference {off:.1e}")
    for slower in (1.0, 1e-1, 1e-2, 1e-3):
        network, period, tones, targets = rectifier(slower)
        exact, plain = (PeriodicPropagation(network, period, rule) for rule in ("adjoint", "nudged"))

        def waves(method=exact, tones=tones, targets=targets) -> float:
            return 0.5 * float(np.square(method.outputs(method.free(tones)) - targets).sum(1).mean())

        wanted = differences(network, waves, 5e-3)
        alike = [cosine(method.gradients(tones, targets)[1], wanted) for method in (exact, plain)]
        print(f"rectifier, capacitances × {slower:g}: 1 − cosine {1 - alike[0]:.1e} adjoint, {1 - alike[1]:.1e} nudged")


def differences(network: RLCNetwork, value: Callable[[], float], step: float) -> dict[str, Tensor]:
    """Central differences of fourth order by every parameter."""
    found = {}
    for name, theta in network.named_parameters():
        found[name] = torch.zeros_like(theta)
        for i in range(theta.numel()):
            begin, sides = float(theta[i].detach()), []
            for n in (2, 1, -1, -2):
                with torch.no_grad():
                    theta[i] = begin + n * step
                sides.append(value())
            with torch.no_grad():
                theta[i] = begin
            found[name][i] = (-sides[0] + 8 * sides[1] - 8 * sides[2] + sides[3]) / (12 * step)
    return found


def distance(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    return max(float(((found[name] - wanted[name]) / wanted[name]).abs().max()) for name in found)


def cosine(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    ours, theirs = (torch.cat([each[name] for name in found]) for each in (found, wanted))
    return float(ours @ theirs / (ours.norm() * theirs.norm()))


def learn_filter(seed: int, plot: Path | None) -> None:
    network = ladder(seed)
    learnt, dense = (torch.logspace(3, math.log10(4e4), n, dtype=torch.float64) for n in (40, 301))
    cost = DecibelError()

    def butterworth(frequencies: Tensor) -> Tensor:
        return -20 * math.log10(2) - 10 * torch.log10(1 + (frequencies / _CORNER) ** 8)

    def response() -> Tensor:
        ones = torch.ones(len(dense), 1, dtype=torch.complex128)
        found = phasor_equilibrium(network.circuit(), dense, ones, solver=NgspicePhasors())
        return 20 * found.outputs[:, 0].abs().log10()

    method, ones = PhasorPropagation(network, cost, learnt), torch.ones(len(learnt), 1, dtype=torch.complex128)
    goals = butterworth(learnt)[:, None]
    before = response()
    descend(network, lambda: method.backward(ones, goals), 0.03, 2000)
    after = response()
    off = [float((each - butterworth(dense)).abs().max()) for each in (before, after)]
    print(
        f"largest difference in ngspice's .ac, 301 frequencies from 1 to 40 kHz: {off[0]:.2f} dB, then {off[1]:.3f} dB"
    )
    for name, values in network.values().items():
        print(f"{name}: {', '.join(f'{value:.4g}' for value in values.tolist())}")
    if plot is not None:
        figure, panel = plt.subplots(figsize=(5.5, 3.4), layout="constrained")
        panel.semilogx(dense, butterworth(dense), color="0.6", linewidth=4, label="fourth-order Butterworth")
        panel.semilogx(dense, before, ":", label="before, ngspice")
        panel.semilogx(dense, after, label="after, ngspice")
        panel.set(xlabel="frequency [Hz]", ylabel="|o/input| [dB]")
        panel.grid(alpha=0.3, which="both")
        panel.legend()
        figure.savefig(plot, dpi=110)


def resonators(seed: int) -> RLCNetwork:
    """A source and two series resonators with loads, of 100 Ω each, tuned the wrong way round by some 5 %.

    Tuned alike but for a little, a comparator without noise reads the right answer off no lead to speak of, or the
    wrong one: which is a matter of the draw and not of learning.
    """
    random = np.random.default_rng(seed)
    henries = 1e-2
    farads = 1 / ((2 * math.pi * float(_TONES.mean())) ** 2 * henries)
    builder = CircuitBuilder("resonators")
    builder.add_nodes(["s", "bus", "a", "b", "first", "second"])
    builder.add(VoltageSources("v", "s", "0", 0.0, 0))
    ends = ["s", "first", "second"], ["bus", "0", "0"]
    builder.add(Conductances("r", *ends, [1e-2, 1e-2, 1e-2], "r", [0, 1, 2]))
    wrong = np.array([0.95, 1.05])
    spread = np.tile(wrong, 2) * (1 + 0.01 * random.standard_normal(4))
    builder.add(Inductors("l", ["bus", "bus"], ["a", "b"], henries * spread[:2], "l", [0, 1]))
    builder.add(Capacitors("c", ["a", "b"], ["first", "second"], farads * spread[2:], "c", [0, 1]))
    builder.set_outputs(["first", "second"], ["0", "0"])
    return RLCNetwork(builder.build(), {"r": (1e-4, 1e-1), "l": (1e-3, 1e-1), "c": (1e-10, 1e-7)})


def two_tones(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Phasors `(count, 2, 1)` of both tones at random phases, one of them at least a quarter stronger; and which."""
    random = np.random.default_rng(seed)
    weak = random.uniform(0.1, 0.8, count)
    strong = np.minimum(weak * random.uniform(_MARGIN, 4, count), 1.0)
    strong = np.maximum(strong, _MARGIN * weak)
    label = random.integers(0, 2, count)
    size = np.stack([np.where(label == 0, strong, weak), np.where(label == 0, weak, strong)], 1)
    phasors = size * np.exp(2j * math.pi * random.random((count, 2)))
    return torch.from_numpy(phasors)[..., None], torch.from_numpy(label)


def learn_tones(seed: int, plot: Path | None) -> None:
    network, cost = resonators(seed), PowerCrossEntropy(scale=0.01)
    (inputs, labels), (held_out, answers) = two_tones(400, seed + 100), two_tones(2000, seed + 200)
    targets = torch.nn.functional.one_hot(labels, 2).double()

    def accuracy() -> tuple[float, float]:
        """Share of answers that are right [%], and of those that are right with the lead."""
        found = phasor_equilibrium(network.circuit(), _TONES, held_out, solver=NgspicePhasors())
        powers = cost.powers(found.outputs)
        ahead = (powers[:, 0] - powers[:, 1]) / powers.sum(1) * torch.where(answers == 0, 1.0, -1.0)
        return tuple(100 * float((ahead > least).double().mean()) for least in (0.0, _LEAD))  # pyright: ignore

    dense = torch.linspace(7e3, 1.7e4, 300, dtype=torch.float64)

    def response() -> Tensor:
        ones = torch.ones(len(dense), 1, dtype=torch.complex128)
        return phasor_equilibrium(network.circuit(), dense, ones, solver=NgspicePhasors()).outputs.abs()

    before, curve = accuracy(), response()
    method = PhasorPropagation(network, cost, _TONES)
    descend(network, lambda: method.backward(inputs, targets), 0.02, 300)
    for when, (right, clear) in (("before", before), ("after", accuracy())):
        print(
            f"2000 held-out samples, ngspice's .ac, {when}: {right:.2f} % right, {clear:.2f} % by a tenth of the power"
        )
    if plot is not None:
        figure, panels = plt.subplots(1, 2, figsize=(7.5, 3.2), layout="constrained", sharey=True)
        for panel, shown, title in zip(panels, (curve, response()), ("before", "after"), strict=True):
            panel.plot(dense / 1e3, shown, label=["first output", "second output"])
            for tone in _TONES.tolist():
                panel.axvline(tone / 1e3, color="0.6", linestyle=":")
            panel.set(xlabel="frequency [kHz]", title=title)
        panels[0].set_ylabel("|o/input|, ngspice")
        panels[0].legend()
        figure.savefig(plot, dpi=110)


def diode_detector(siemens: list[float], farads: list[float]) -> Circuit:
    """A diode, a capacitor with a leak, and a low-pass behind it."""
    builder = CircuitBuilder("detector")
    builder.add_nodes(["s", "hold", "out"])
    builder.add(VoltageSources("v", "s", "0", 0.0, 0))
    builder.add_diodes("d", "s", "hold", ShockleyDiode(1e-9))
    builder.add(Conductances("r", ["hold", "hold", "out"], ["0", "out", "0"], siemens, "r", [0, 1, 2]))
    builder.add(Capacitors("c", ["hold", "out"], ["0", "0"], farads, "c", [0, 1]))
    builder.set_outputs("out", "0")
    return builder.build()


def modulated(period: Period, depth: float, phase: float) -> tuple[list[Tone], np.ndarray]:
    """A carrier of 3 V at 16 cycles a period, its amplitude modulated once, and a third of the envelope."""
    carrier, side = 16 / period.seconds, 0.5 * 3.0 * depth
    tones = [Tone(0, carrier, 3.0)]
    tones += [Tone(0, carrier + n / period.seconds, side * np.exp(1j * n * phase)) for n in (1, -1)]
    envelope = 3.0 * (1 + depth * np.cos(2 * math.pi * period.times / period.seconds + phase))
    return tones, envelope[:, None] / 3


def rectifier(slower: float) -> tuple[RLCNetwork, Period, list[Tone], np.ndarray]:
    period = Period(1e-3, points=2048)
    circuit = diode_detector([1e-4, 1e-4, 1e-4], [5e-9 * slower, 5e-9 * slower])
    tones, targets = modulated(period, 0.4, 0.3)
    return RLCNetwork(circuit, {"r": (1e-7, 1e-2), "c": (1e-14, 1e-6)}), period, tones, targets


def learn_detector(seed: int, plot: Path | None) -> None:
    period = Period(1e-3, points=1024, settle=6, rtol=1e-3)
    network = RLCNetwork(diode_detector([1e-4] * 3, [2e-9] * 2), {"r": (1e-5, 1e-2), "c": (1e-10, 1e-7)})
    method = PeriodicPropagation(network, period)
    lessons = [modulated(period, depth, phase) for depth, phase in ((0.5, 0.0), (0.2, 1.0))]
    unseen = modulated(period, 0.35, 2.5)

    def off() -> tuple[float, np.ndarray]:
        found = method.outputs(method.free(unseen[0]))
        return float(np.sqrt(np.square(found - unseen[1]).mean())), found

    before, first = off()

    def step() -> Tensor:
        return torch.stack([method.backward(*lesson) for lesson in lessons]).mean()

    costs = descend(network, step, 0.1, 50)
    after, last = off()
    print(f"cost {costs[0]:.2e}, then {costs[-1]:.2e} V²")
    print(f"rms error on a modulation that was not in the lessons {before:.3f}, then {after:.4f} V")
    for name, values in network.values().items():
        print(f"{name}: {', '.join(f'{value:.3g}' for value in values.tolist())}")
    if plot is not None:
        figure, panel = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
        panel.plot(1e3 * period.times, unseen[1], color="0.6", linewidth=4, label="a third of the envelope")
        panel.plot(1e3 * period.times, first, ":", label="before, ngspice")
        panel.plot(1e3 * period.times, last, label="after, ngspice")
        panel.set(xlabel="time [ms]", ylabel="output [V]", title="a modulation that was not in the lessons")
        panel.legend()
        figure.savefig(plot, dpi=110)


if __name__ == "__main__":
    main()
