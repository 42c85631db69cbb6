"""Whether any solver calls a state converged that is further from the truth than the bound it states.

    python benchmarks/extreme_networks.py [--draws N] [--first N] [--results FILE] [--no-ngspice]

Draws networks of one to five hidden layers with amplifier gains of 0.1 to 100, conductances of 1e-12 to 1e-1 S, and
junctions of 1e-18 to 1e-3 A at 77 to 500 K, some with series resistances down to 1e-9 ohm, some with gains that do not
match, some nudged; one in ten is a loop that cancels to 1e-3 to 1e-14 instead. Each is solved by Newton, ngspice and,
where it is a layered network, Relaxation in float64 and, one in eight, in float32. Each state is compared with the
solution to 45 digits by a Newton iteration in mpmath, which has equations and a diode of its own and takes from here
only where it begins.

Draw n is the same in every run. `--results` keeps a line a draw and goes on where a run was stopped.
"""

# mpmath has no annotations of its own.
# pyright: reportInvalidTypeForm=false, reportOptionalIterable=false, reportArgumentType=false

from __future__ import annotations

import argparse
import copy
import json
import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import mpmath
import numpy as np
import torch
from mpmath import mp, mpf

from analog_ep.circuit import (
    Amplifiers,
    Circuit,
    CircuitBuilder,
    Conductances,
    Diodes,
    VoltageControlledVoltageSources,
    VoltageSources,
)
from analog_ep.devices import DiodeClamp, ShockleyDiode
from analog_ep.equilibrium import Newton, Ngspice, Relaxation, Solver, solve
from analog_ep.errors import AnalogEPError
from analog_ep.networks import ResistiveNetwork
from analog_ep.stimulus import Nudge, SquaredError

mp.dps = 45

SWEEPS = 25
"""Of a relaxation: with nested junctions a sweep of such networks takes milliseconds, and hundreds may be needed."""

DIGITS = mpf(10) ** -38
"""Last step of the reference, relative to the largest voltage."""


def main() -> None:
    options = argparse.ArgumentParser(description="Compare stated error bounds with the truth.")
    options.add_argument("--draws", type=int, default=1000, help="How many networks.")
    options.add_argument("--first", type=int, default=0, help="Number of the first.")
    options.add_argument("--results", type=Path, help="File of results, a line a draw; its draws are not done again.")
    options.add_argument("--no-ngspice", action="store_true", help="Leave ngspice out.")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    known = {}
    if chosen.results is not None and chosen.results.exists():
        known = {line["draw"]: line for line in map(json.loads, chosen.results.read_text().splitlines())}
    lines = []
    for number in range(chosen.first, chosen.first + chosen.draws):
        line = known.get(number) or judge(number, ngspice=not chosen.no_ngspice)
        lines.append(line)
        if chosen.results is not None and number not in known:
            with chosen.results.open("a") as file:
                file.write(json.dumps(line) + "\n")
    print(json.dumps(summary(lines), indent=1))


@dataclass(frozen=True, eq=False)
class Draw:
    """A network with its input, or a bare loop."""

    network: ResistiveNetwork | None
    circuit: Circuit
    inputs: torch.Tensor
    nudge: Nudge | None = None
    loop: float | None = None


def draw(number: int) -> Draw:
    """Network `number`."""
    rng = np.random.default_rng([2024, number])
    return _loop(rng) if number % 10 == 9 else _network(rng)


def _loop(rng: np.random.Generator) -> Draw:
    """A node fed with g from 1 V and g from gain times its own voltage: v = 1/(2 − gain)."""
    builder, gain = CircuitBuilder("loop"), 2 - 10 ** rng.uniform(-14, -3)
    top, x, e = builder.add_nodes(["top", "x", "e"])
    builder.add(VoltageSources("v", top, 0, 1.0))
    builder.add(Conductances("g", [top, e], [x, x], 10 ** rng.uniform(-9, -2)))
    builder.add(VoltageControlledVoltageSources("loop", e, 0, x, 0, gain))
    return Draw(None, builder.build(), torch.zeros(1, 0, dtype=torch.float64), loop=gain)


def _network(rng: np.random.Generator) -> Draw:
    hidden = rng.integers(1, 4, rng.integers(1, 6))
    sizes = [int(rng.integers(1, 4)), *map(int, hidden), int(rng.integers(1, 3))]
    gain = 10 ** rng.uniform(-1, 2)
    feedback = [1 / gain, gain, 10 ** rng.uniform(-2, 1)][rng.integers(3)]
    network = ResistiveNetwork(
        sizes,
        diode=[_clamp(rng, size) for size in sizes[1:-1]],
        gain=gain,
        feedback=feedback,
        drive="single" if rng.random() < 0.5 else "differential",
        bias_voltage=None if rng.random() < 0.5 else 1.0,
        conductance_range=(1e-12, 1e-1),
        dtype=torch.float64,
    )
    low = rng.uniform(-12, -4) if rng.random() < 0.3 else -12.0
    high = min(low + rng.uniform(0, 3), -1.0) if rng.random() < 0.3 else -1.0
    # Numbers that float32 holds, so that one truth serves both precisions.
    for theta in network.parameters():
        siemens = 10 ** rng.uniform(low, high, theta.shape)
        theta.data.copy_(torch.from_numpy(siemens / network.reference_conductance).float())
    inputs = torch.from_numpy(10 ** rng.uniform(-3, 1.5) * rng.uniform(-1, 1, (1, sizes[0]))).float().double()
    circuit, nudge = network.circuit(), None
    if rng.random() < 0.25:
        target = torch.from_numpy(rng.uniform(-1, 1, (1, sizes[-1]))).float().double()
        nudge = Nudge(10 ** rng.uniform(-9, -3), target, SquaredError(), "elastic")
    if rng.random() < 0.3:
        return Draw(None, _mismatched(circuit, rng), inputs, nudge)
    return Draw(network, circuit, inputs, nudge)


def _clamp(rng: np.random.Generator, size: int) -> DiodeClamp:
    def each(low: float, high: float) -> torch.Tensor:
        return torch.from_numpy(rng.uniform(low, high, size))

    resistance = 10 ** each(-9, 3) * float(rng.random() < 0.3)
    diode = ShockleyDiode(10 ** each(-18, -3), each(1, 2), each(77, 500), resistance, gmin=1e-15)
    bounds = [
        torch.from_numpy(np.where(rng.random(size) < 0.3, sign * np.inf, rng.uniform(-1, 1, size))) for sign in (1, -1)
    ]
    return DiodeClamp(diode, *bounds)


def _mismatched(circuit: Circuit, rng: np.random.Generator) -> Circuit:
    def spread(values: np.ndarray) -> np.ndarray:
        return values * np.exp(0.1 * rng.standard_normal(len(values)))

    return circuit.with_groups(
        replace(group, gain=spread(group.gain), feedback=spread(group.feedback))
        if isinstance(group, Amplifiers)
        else group
        for group in circuit.groups
    )


class Reference:
    """Kirchhoff's law at the nodes that neither a source nor an amplifier holds, in 45 digits.

    Every node's voltage is an affine form of the unknown ones; every node's current counts in the equations of some of
    them: its own, or, at an amplifier's output, with the feedback factor in that of its input.
    """

    def __init__(self, circuit: Circuit, inputs: np.ndarray, nudge: Nudge | None):
        self.circuit, self.nudge = circuit, nudge
        self.forms: dict[int, tuple[mpf, dict[int, mpf]]] = {0: (mpf(0), {})}
        self.counts: dict[int, dict[int, mpf]] = {0: {}}
        for group in circuit.groups:
            if isinstance(group, VoltageSources):
                for p, volts, index, scale in zip(group.positive, group.volts, group.input, group.scale, strict=True):
                    driven = mpf(scale) * mpf(inputs[index]) if index >= 0 else mpf(0)
                    self.forms[int(p)], self.counts[int(p)] = (mpf(volts) + driven, {}), {}
        outputs = {int(node) for group in circuit.of_kind(Amplifiers) for node in group.outputs()[1]}
        self.free = [n for n in range(circuit.n_nodes) if n not in self.forms and n not in outputs]
        for place, node in enumerate(self.free):
            self.forms[node], self.counts[node] = (mpf(0), {place: mpf(1)}), {place: mpf(1)}
        for group in circuit.of_kind(Amplifiers):
            for element, node, sign in zip(*group.outputs(), strict=True):
                place = self.free.index(int(group.input[element]))
                self.forms[int(node)] = (mpf(0), {place: mpf(sign) * mpf(group.gain[element])})
                self.counts[int(node)] = {place: mpf(sign) * mpf(group.feedback[element])}
        self.matrix, self.right = mp.zeros(len(self.free)), mp.zeros(len(self.free), 1)
        for group in circuit.of_kind(Conductances):
            for p, n, g in zip(group.positive, group.negative, group.siemens, strict=True):
                self._join(int(p), int(n), mpf(g))
        self.diodes = [
            (int(anode), int(cathode), Junction.of(group.device, element))
            for group in circuit.of_kind(Diodes)
            for element, (anode, cathode) in enumerate(zip(group.anode, group.cathode, strict=True))
        ]
        self._add_nudge()

    def _join(self, p: int, n: int, siemens: mpf) -> None:
        constant, slopes = self._across(p, n)
        for place, factor in self._counted(p, n).items():
            self.right[place] -= factor * siemens * constant
            for other, slope in slopes.items():
                self.matrix[place, other] += factor * siemens * slope

    def _across(self, p: int, n: int) -> tuple[mpf, dict[int, mpf]]:
        return self.forms[p][0] - self.forms[n][0], _difference(self.forms[p][1], self.forms[n][1])

    def _counted(self, p: int, n: int) -> dict[int, mpf]:
        return _difference(self.counts[p], self.counts[n])

    def _add_nudge(self) -> None:
        if self.nudge is None:
            return
        strength = mpf(self.nudge.strength)
        for p, n, target in zip(*self.circuit.outputs, self.nudge.target[0].tolist(), strict=True):
            self._join(int(p), int(n), strength)
            for place, factor in self._counted(int(p), int(n)).items():
                self.right[place] += factor * strength * mpf(target)

    def solve(self, start: np.ndarray) -> list[mpf]:
        """Voltages of all nodes; from float64 ones."""
        x = mp.matrix([mpf(float(v)) if math.isfinite(v) else mpf(0) for v in start[self.free]])
        factors, previous = None, mpf("inf")
        for _ in range(600):
            residual, jacobian = self._evaluate(x, factors is None)
            if factors is None:
                factors = _factorised(jacobian)
            step = mp.U_solve(factors[0], mp.L_solve(factors[0], -residual, factors[1]))
            x += self._length(step, x) * step
            size = max((abs(v) for v in x), default=mpf(0))
            moved = max((abs(v) for v in step), default=mpf(0))
            if moved <= DIGITS * size:
                return [self._voltage(node, x) for node in range(self.circuit.n_nodes)]
            # Factors serve as long as steps shrink fast.
            if moved > previous / 1000:
                factors = None
            previous = moved
        raise ArithmeticError("the reference does not converge")

    def _evaluate(self, x: mpmath.matrix, with_slopes: bool) -> tuple[mpmath.matrix, mpmath.matrix]:
        residual, jacobian = self.matrix * x - self.right, self.matrix.copy() if with_slopes else self.matrix
        for anode, cathode, junction in self.diodes:
            constant, slopes = self._across(anode, cathode)
            current, slope = junction(constant + sum(a * x[k] for k, a in slopes.items()))
            for place, factor in self._counted(anode, cathode).items():
                residual[place] += factor * current
                for other, a in slopes.items() if with_slopes else ():
                    jacobian[place, other] += factor * slope * a
        return residual, jacobian

    def _length(self, step: mpmath.matrix, x: mpmath.matrix) -> mpf:
        """Junctions go up by four emission voltages at most, once they conduct."""
        length = mpf(1)
        for anode, cathode, junction in self.diodes:
            constant, slopes = self._across(anode, cathode)
            here = constant + sum(a * x[k] for k, a in slopes.items())
            up = sum(a * step[k] for k, a in slopes.items())
            allowed = max(4 * junction.emission, 8 * junction.emission - here)
            if up > allowed:
                length = min(length, allowed / up)
        return length

    def _voltage(self, node: int, x: mpmath.matrix) -> mpf:
        constant, slopes = self.forms[node]
        return constant + sum((a * x[k] for k, a in slopes.items()), mpf(0))


@dataclass(frozen=True)
class Junction:
    """ngspice's diode in 45 digits: the exponential, the cubic tail below −3 emission voltages, and gmin."""

    saturation: mpf
    emission: mpf
    gmin: mpf

    @classmethod
    def of(cls, device: ShockleyDiode, element: int) -> Junction:
        """Element `element` of a device, its saturation current at its temperature."""
        saturation, ideality, temperature, gmin, nominal, gap, exponent = (
            mpf(float(torch.as_tensor(getattr(device, name)).expand(element + 1)[element]))
            if torch.as_tensor(getattr(device, name)).ndim == 0
            else mpf(float(getattr(device, name)[element]))
            for name in (
                "saturation_current",
                "ideality",
                "temperature",
                "gmin",
                "nominal_temperature",
                "energy_gap",
                "saturation_exponent",
            )
        )
        thermal = mpf("1.38064852e-23") * temperature / mpf("1.6021766208e-19")
        ratio = temperature / nominal
        factor = mp.exp((ratio - 1) * gap / (ideality * thermal)) * ratio ** (exponent / ideality)
        return cls(saturation * factor, ideality * thermal, gmin)

    def __call__(self, voltage: mpf) -> tuple[mpf, mpf]:
        """Current and slope."""
        if voltage >= -3 * self.emission:
            exponential = mp.exp(voltage / self.emission)
            current, slope = self.saturation * (exponential - 1), self.saturation * exponential / self.emission
        else:
            tail = (3 * self.emission / (mp.e * voltage)) ** 3
            current, slope = -self.saturation * (1 + tail), 3 * self.saturation * tail / voltage
        return current + self.gmin * voltage, slope + self.gmin


def _factorised(matrix: mpmath.matrix) -> tuple[mpmath.matrix, list[int]]:
    """LU factors, with more digits where the working ones call the matrix singular."""
    for digits in (mp.dps, 4 * mp.dps, 16 * mp.dps):
        with mp.workdps(digits):
            try:
                return mp.LU_decomp(matrix)
            except ZeroDivisionError:
                continue
    raise ArithmeticError("the reference has a singular Jacobian")


def _difference(first: dict[int, mpf], second: dict[int, mpf]) -> dict[int, mpf]:
    return {key: first.get(key, mpf(0)) - second.get(key, mpf(0)) for key in {**first, **second}}


def truth(drawn: Draw, start: np.ndarray) -> list[mpf]:
    """Voltages of all nodes."""
    if drawn.loop is not None:
        gain = mpf(drawn.loop)
        return [mpf(0), mpf(1), 1 / (2 - gain), gain / (2 - gain)]
    return Reference(drawn.circuit, drawn.inputs[0].numpy(), drawn.nudge).solve(start)


def judge(number: int, ngspice: bool = True) -> dict:
    """What each solver says of draw `number`, and how far off it is."""
    drawn = draw(number)
    line: dict = {"draw": number, "solvers": {}}
    newton = _solved(drawn, Newton(), torch.float64)
    exact = truth(drawn, newton["voltages"] if newton["converged"] else np.zeros(drawn.circuit.n_nodes))
    line["largest"] = float(max(abs(v) for v in exact))
    found = {"Newton": newton}
    if ngspice:
        found["Ngspice"] = _solved(drawn, Ngspice(timeout=60), torch.float64)
    if drawn.network is not None:
        found["Relaxation"] = _solved(drawn, Relaxation(max_steps=SWEEPS, accuracy=1e-6), torch.float64)
        if number % 8 == 0:
            found["Relaxation, float32"] = _solved(drawn, Relaxation(max_steps=SWEEPS), torch.float32)
    for name, said in found.items():
        voltages = said.pop("voltages", None)
        if voltages is not None and np.isfinite(voltages).all():
            said["error"] = float(max(abs(mpf(float(v)) - e) for v, e in zip(voltages, exact, strict=True)))
        line["solvers"][name] = said
    return line


def _solved(drawn: Draw, solver: Solver, dtype: torch.dtype) -> dict:
    system = drawn.circuit
    if isinstance(solver, Relaxation) and drawn.network is not None:
        system = copy.deepcopy(drawn.network).to(dtype)
    inputs, nudge = drawn.inputs.to(dtype), drawn.nudge
    if nudge is not None:
        nudge = Nudge(nudge.strength, nudge.target.to(dtype), nudge.cost, nudge.kind)
    try:
        state = solve(system, inputs, nudge, solver=solver, throw=False)
    except AnalogEPError as error:
        return {"converged": False, "message": f"{type(error).__name__}: {error}"}
    return {
        "converged": bool(state.converged.all()),
        "bound": float(state.voltage_error_bound.max()),
        "message": state.message,
        "voltages": state.voltages[0].double().numpy(),
    }


def summary(lines: list[dict]) -> dict:
    """Counts and figures by solver."""
    result = {}
    for name in sorted({name for line in lines for name in line["solvers"]}):
        states = [(line["draw"], line["largest"], line["solvers"][name]) for line in lines if name in line["solvers"]]
        held = [(n, size, s) for n, size, s in states if s["converged"]]
        margin = [s["bound"] / s["error"] for _, _, s in held if s["error"] > 0]
        result[name] = {
            "states": len(states),
            "converged": len(held),
            "beyond_bound": [n for n, _, s in held if not s["error"] <= s["bound"]],
            "beyond_bound_not_converged": [
                n for n, _, s in states if not s["converged"] and "error" in s and not s["error"] <= s["bound"]
            ],
            "worst_relative_error": max((s["error"] / size for _, size, s in held if size), default=0.0),
            "worst_relative_bound": max((s["bound"] / size for _, size, s in held if size), default=0.0),
            "exact_to_1e-12_but_not_converged": sum(
                "error" in s and s["error"] <= 1e-12 * size for _, size, s in states if not s["converged"]
            ),
            "median_bound_over_error": float(np.median(margin)) if margin else None,
            "not_converged": dict(
                Counter(" ".join(s["message"].split()[:6]) for _, _, s in states if not s["converged"]).most_common(5)
            ),
        }
    return result


if __name__ == "__main__":
    main()
