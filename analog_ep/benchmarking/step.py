"""A training step by equilibrium propagation against one of backpropagation on an MLP of the same size."""

from __future__ import annotations

import copy
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import torch
from rich.table import Table
from torch import Tensor

from analog_ep.benchmarking.ordinary import ordinary_network
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.layered.relaxation import Relaxation
from analog_ep.equilibrium.layered.resistive_layers import Ladder, LadderState
from analog_ep.equilibrium.nodal.residual import kirchhoff_residual
from analog_ep.errors import StimulusError
from analog_ep.learning.gradients.implicit import implicit_gradients
from analog_ep.learning.gradients.method import PhaseMethod
from analog_ep.learning.gradients.propagation import EquilibriumPropagation, SmallSignal
from analog_ep.learning.updates.fused import FusedStep
from analog_ep.learning.updates.update import Update
from analog_ep.networks import CrossbarNetwork
from analog_ep.support.shown import Tabled

Draws = Iterator[tuple[Tensor, Tensor, Tensor]]
"""Inputs, targets and labels of one batch after the other."""

_SOLVER = Relaxation(rtol=1.5e-6, response_rtol=3.5e-4)
"""Looser than the default, and still within what is reported: 1e-6 of Σ|branch current| and 1e-3 of the response."""

_JUDGED = 4
"""Samples of the batch on which implicit differentiation judges the gradient: it factors a matrix for each."""


@dataclass(frozen=True)
class StepBenchmark(Tabled):
    """Medians of interleaved steps, and how exact those steps were.

    Attributes
    ----------
    ep_step_ms, ep_step_unfused_ms, backprop_step_ms : float
        Free phase, nudge or its limit, gradient and SGD update; fused, and through `.grad`; and backprop's. [ms]
    ratio : float
        Of the fused step to backprop's, the better of `ratios`.
    ratios : dict of str to float
        Of the small-signal and of the centered method.
    gradient_error : list of float
        Per crossbar, the first first: relative difference of the small-signal gradient to float64 implicit
        differentiation.
    free_residual : float
        Largest Kirchhoff residual of the free state, relative to Σ|branch current| at its node.
    response_residual : float
        Largest residual of the response, relative to the largest current of the response in its layer.
    sweeps : (int, int)
        Of the free state and of the response.
    """

    ep_step_ms: float
    ep_step_unfused_ms: float
    backprop_step_ms: float
    ratio: float
    ratios: dict[str, float]
    gradient_error: list[float]
    free_residual: float
    response_residual: float
    sweeps: tuple[int, int]

    def to_json(self) -> str:
        """The figures as a JSON object."""
        return json.dumps(asdict(self))

    def table(self) -> Table:
        """The figures as a table for a terminal."""
        table = Table("training step", "found")
        table.add_row("backprop", f"{self.backprop_step_ms:.3f} ms")
        table.add_row("equilibrium propagation, fused", f"{self.ep_step_ms:.3f} ms")
        table.add_row("equilibrium propagation, unfused", f"{self.ep_step_unfused_ms:.3f} ms")
        for name, ratio in self.ratios.items():
            table.add_row(f"ratio to backprop, {name}", f"{ratio:.2f}")
        table.add_row("sweeps, free and response", f"{self.sweeps[0]}, {self.sweeps[1]}")
        table.add_row("relative gradient error, by crossbar", ", ".join(f"{e:.1e}" for e in self.gradient_error))
        table.add_row("free residual", f"{self.free_residual:.1e}")
        table.add_row("response residual", f"{self.response_residual:.1e}")
        return table


def benchmark_step(
    network: CrossbarNetwork,
    method: PhaseMethod,
    inputs: Tensor,
    labels: Tensor,
    *,
    batch: int,
    training_steps: int = 500,
    rounds: int = 50,
) -> StepBenchmark:
    """Train a network, then time steps on new batches from a cold start, in turn with backprop's.

    Parameters
    ----------
    network, method : CrossbarNetwork, PhaseMethod
        Untrained; it is changed. The method gives the cost and the nudging.
    inputs, labels : Tensor (n_samples, n_inputs), (n_samples,)
        Training samples [V], and their classes.
    batch, training_steps, rounds : int
        Samples a step, steps of Adam before the measurement, and steps of each kind that are timed.

    Raises
    ------
    StimulusError
        If the batch is larger than the data, or there is no round.
    """
    if not 1 <= batch <= len(labels) or rounds < 1:
        raise StimulusError(f"batch must lie in 1…{len(labels)} and rounds be positive, found {batch} and {rounds}")
    # First, since it refuses stages of which PyTorch has none.
    backprop = _backprop_step(network, inputs)
    small_signal = SmallSignal(network, method.cost, solver=_SOLVER)
    draw = _batches(inputs, labels, small_signal, batch)
    _train(network, small_signal, draw, training_steps)
    nudging = next(map(abs, method.strengths()), 1e-6)
    steps = _steps(network, small_signal, EquilibriumPropagation(network, nudging, method.cost, solver=_SOLVER))
    steps["backprop"] = backprop
    milliseconds = _interleaved(steps, draw, rounds)
    ratios = {name: milliseconds[name] / milliseconds["backprop"] for name in ("small signal", "centered")}
    better = min(ratios, key=ratios.__getitem__)
    x, y, _ = next(draw)
    residual, sweeps = _judged_response(network, method, x, y)
    return StepBenchmark(
        ep_step_ms=milliseconds[better],
        ep_step_unfused_ms=milliseconds["unfused"],
        backprop_step_ms=milliseconds["backprop"],
        ratio=ratios[better],
        ratios=ratios,
        gradient_error=gradient_error(network, small_signal, x[:_JUDGED], y[:_JUDGED]),
        free_residual=free_residual(network, x[:_JUDGED]),
        response_residual=residual,
        sweeps=sweeps,
    )


def _judged_response(
    network: CrossbarNetwork, method: PhaseMethod, inputs: Tensor, targets: Tensor
) -> tuple[float, tuple[int, int]]:
    """Residual of the linearised response, and the sweeps of the free phase and of the response."""
    state, free = _SOLVER.free_state(Ladder.of(network, inputs), inputs)
    error = -method.cost.gradient(network.outputs_of(state.layers), targets)
    response, status = _SOLVER.linear_response(state, error)
    return _response_residual(state, error, response), (free.sweeps, status.sweeps)


def _train(network: CrossbarNetwork, method: SmallSignal, draw: Draws, steps: int) -> None:
    update = Update(torch.optim.Adam(network.parameters(), lr=5e-3), network)
    for _ in range(steps):
        x, y, _ = next(draw)
        update.zero_grad()
        method.backward(x, y)
        update.step()


def _batches(inputs: Tensor, labels: Tensor, method: SmallSignal, batch: int) -> Draws:
    generator = torch.Generator().manual_seed(0)
    while True:
        index = torch.randint(len(labels), (batch,), generator=generator)
        x = inputs[index]
        yield x, method.cost.encode(labels[index], method.network.n_outputs, like=x), labels[index]


def _steps(
    network: CrossbarNetwork, small_signal: SmallSignal, centered: EquilibriumPropagation
) -> dict[str, Callable[[Tensor, Tensor, Tensor], object]]:
    rate = 1e-6
    fused, finite = FusedStep(small_signal, rate), FusedStep(centered, rate)
    update = Update(torch.optim.SGD(network.parameters(), lr=rate), network)

    def unfused(x: Tensor, y: Tensor, _: Tensor) -> None:
        update.zero_grad()
        small_signal.backward(x, y)
        update.step()

    # A step by another one changes the parameters, which the fused ones notice: each is warmed before it is timed.
    return {
        "small signal": lambda x, y, _: fused.step(x, y),
        "centered": lambda x, y, _: finite.step(x, y),
        "unfused": unfused,
    }


def _backprop_step(network: CrossbarNetwork, like: Tensor) -> Callable[[Tensor, Tensor, Tensor], object]:
    mlp = ordinary_network(network).to(like)
    # Of torch's modes of SGD the fused one is the fastest.
    optimizer = torch.optim.SGD(mlp.parameters(), lr=1e-4, fused=True)

    def step(x: Tensor, _: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(mlp(x), labels).backward()
        optimizer.step()

    return step


def _interleaved(steps: dict[str, Callable[[Tensor, Tensor, Tensor], object]], draw, rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            step(*next(draw))
            sample = next(draw)
            _wait(sample[0].device)
            begin = time.perf_counter()
            step(*sample)
            _wait(sample[0].device)
            times[name].append(1e3 * (time.perf_counter() - begin))
    return {name: statistics.median(values) for name, values in times.items()}


def _wait(device: torch.device) -> None:
    """Until the device has done what it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def gradient_error(network: CrossbarNetwork, method: SmallSignal, inputs: Tensor, targets: Tensor) -> list[float]:
    """Relative error of a method's gradient to float64 implicit differentiation, crossbar by crossbar.

    For the judge an ideal diode is a piecewise-linear one with g_on = 1e6 S.
    """
    _, gradients = method.gradients(inputs, targets)
    judge = _with_hard_diodes(network)
    exact = implicit_gradients(judge, method.cost, inputs.double(), targets.double())
    errors = []
    for label, gradient in gradients.items():
        truth = exact[label].reshape(gradient.shape).to(gradient.device) * network.reference_conductance
        errors.append(float((gradient.double() - truth).norm() / truth.norm()))
    return errors


def _with_hard_diodes(network: CrossbarNetwork) -> CrossbarNetwork:
    twin = copy.deepcopy(network).double()
    twin.clamps = tuple(clamp.for_spice(1.0) for clamp in network.clamps)
    return twin


def free_residual(network: CrossbarNetwork, inputs: Tensor) -> float:
    """Largest Kirchhoff residual relative to Σ|branch current|, over the nodes that no ideal diode holds."""
    free = solve(network, inputs, solver=_SOLVER)
    circuit = copy.deepcopy(network).double().circuit()
    voltages = network.node_voltages(inputs.double(), tuple(layer.double() for layer in free.layers))
    found = kirchhoff_residual(circuit, voltages.cpu().numpy())
    residual, scale = (torch.from_numpy(part).to(voltages) for part in found)
    relative = residual.abs() / scale.clamp(min=torch.finfo(torch.float64).tiny)
    for number, (clamp, layer) in enumerate(zip(network.layer_clamps(inputs), free.layers, strict=True), start=1):
        if clamp is None:
            continue
        nodes = torch.from_numpy(circuit.layers[f"h{number}"]).to(layer.device)
        relative[:, nodes] = torch.where(clamp.holds(layer), 0.0, relative[:, nodes])
    return float(relative.max())


def _response_residual(state: LadderState, error: Tensor, response: tuple[Tensor, ...]) -> float:
    ladder, worst = state.ladder, 0.0
    resistances = state.response_resistances()
    for k, change in enumerate(response):
        current = torch.cat([error, -error], -1) if k == ladder.last else ladder.backward(k, response)
        if k:
            current = current + ladder.forward_change(k, response)
        held = resistances[k] == 0
        wrong = torch.where(held, 0.0, current - change / torch.where(held, 1.0, resistances[k]))
        worst = max(worst, float((wrong.abs().amax(-1) / current.abs().amax(-1)).max()))
    return worst
