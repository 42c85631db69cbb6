"""Gradients that lock-ins read of oscillating nudges, in ngspice, beside implicit differentiation and predicted noise.

    python benchmarks/lock_in.py gradient
    python benchmarks/lock_in.py noise --plot docs/images/lock-in.png

`gradient` prints cosine and norm ratio of the gradient that one ``.tran`` of each sample gives, over frequency and
nudging, without the refusal of fast ones. `noise` follows a network with diodes under Johnson and shot noise in
ngspice, and prints the variance of its readings over the predicted one, for readings of several lengths.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Circuit
from analog_ep.circuit.noise import NoiseCurrents, johnson_currents, shot_currents
from analog_ep.devices import ShockleyDiode
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.nodal.newton import Newton
from analog_ep.equilibrium.oscillation import Oscillation
from analog_ep.learning.gradients.branch_gradient import likeness
from analog_ep.learning.gradients.implicit import ImplicitDifferentiation
from analog_ep.learning.gradients.reading_noise import ReadingNoise, linearised_states, reading_noise
from analog_ep.networks import ResistiveNetwork
from analog_ep.ngspice.lock_in import lock_in
from analog_ep.ngspice.noisy_lock_in import Protocol, Readings, noisy_lock_in
from analog_ep.stimulus import Nudge, SquaredError

_FREQUENCY = 2e4
_INPUTS = torch.tensor([[1.5, -1.0], [-0.7, 1.2], [0.4, 0.9]], dtype=torch.float64)
_TARGETS = torch.tensor([[0.5], [-0.3], [0.2]], dtype=torch.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("gradient", "noise"))
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "gradient":
        gradient()
    else:
        noise(options.plot)


def network() -> ResistiveNetwork:
    """2-3-1 with diodes that conduct; every node at its sources has about 1e-5 S."""
    torch.manual_seed(0)
    return ResistiveNetwork([2, 3, 1], diode=ShockleyDiode(1e-6), dtype=torch.float64)


def gradient() -> None:
    print("frequency [Hz]  nudging [S]  1 − cosine  norm ratio − 1  largest lag")
    for frequency, nudging in [(f, 1e-7) for f in (1e3, 1e4, 1e5, 3e5, 1e6, 3e6)] + [(1e3, b) for b in (1e-6, 1e-5)]:
        net = network()
        _, exact = ImplicitDifferentiation(net).gradients(_INPUTS, _TARGETS)
        nudge, slow = Nudge(nudging, _TARGETS, SquaredError()), Oscillation(1e2)
        means, swings, lag = [], [], 0.0
        for i, (state, _) in enumerate(linearised_states(net, _INPUTS, nudge, slow)):
            outputs = solve(state.circuit, _INPUTS[i : i + 1], solver=Newton()).outputs
            amplitudes = replace(nudge, target=_TARGETS[i : i + 1]).current(outputs)[0].numpy()
            reading = lock_in(state.circuit, _INPUTS[i].numpy(), amplitudes, frequency)
            mean, leading, lagging = reading.phasor()
            means.append(mean)
            swings.append(leading)
            lag = max(lag, float(np.degrees(np.arctan2(np.linalg.norm(lagging), np.linalg.norm(leading)))))
        layers = (net.layers_of(torch.from_numpy(np.stack(each))) for each in (means, swings))
        found = net.contrast(_INPUTS, *layers, linear=True)
        scale = net.parameter_scale / (nudging * len(_INPUTS))
        alike = likeness({name: scale * value for name, value in found.items()}, exact)
        print(f"{frequency:14.0e}  {nudging:11.0e}  {1 - alike.cosine:10.1e}  {alike.ratio - 1:14.1e}  {lag:10.2f}°")


def noise(plot: Path | None) -> None:
    net, nudge = network(), Nudge(3e-7, _TARGETS[:1], SquaredError())
    predicted = reading_noise(net, _INPUTS[:1], nudge, Oscillation(_FREQUENCY))
    ((state, _),) = linearised_states(net, _INPUTS[:1], nudge, Oscillation(_FREQUENCY))
    amplitudes = nudge.current(solve(state.circuit, _INPUTS[:1], solver=Newton()).outputs)[0].numpy()

    def currents(whole: Circuit) -> NoiseCurrents:
        """Of all copies, each with the shot noise of the free state."""
        count = (whole.n_nodes - 1) // (state.circuit.n_nodes - 1)
        volts = np.concatenate([[0.0], np.tile(state.voltages[1:], count)])
        return johnson_currents(whole) + shot_currents(whole, volts)

    protocol = Protocol(readings=64, points=50, n_copies=64)
    readings = noisy_lock_in(state.circuit, _INPUTS[0].numpy(), amplitudes, _FREQUENCY, currents, protocol)
    print("periods  readings  variance of all / predicted  of each: lowest, highest  SNR, predicted")
    rows = []
    for periods in (1, 2, 4, 8, 16):
        each = gradients(net, averaged(readings, periods), nudge.strength)
        expected = predicted.variance(periods / _FREQUENCY)
        found = {name: value.var(0) for name, value in each.items()}
        ratios = torch.cat([found[name] / expected[name] for name in found])
        total = sum(float(value.sum()) for value in found.values())
        share = total / sum(float(value.sum()) for value in expected.values())
        snr = norm(predicted.gradient) / total**0.5
        rows.append((periods / _FREQUENCY, snr))
        counted = len(next(iter(each.values())))
        limits = f"{float(ratios.min()):.2f}, {float(ratios.max()):.2f}"
        print(
            f"{periods:7d}  {counted:8d}  {share:27.3f}  {limits:>24}  {snr:.1f}, "
            f"{predicted.snr(periods / _FREQUENCY):.1f}"
        )
    if plot is not None:
        picture(predicted, rows, plot)


def averaged(readings: Readings, periods: int) -> Readings:
    """Readings of several periods each, from those of one."""
    parts = (
        each.reshape(len(each), -1, periods, each.shape[-1]).mean(2) for each in (readings.mean, readings.in_phase)
    )
    return Readings(*parts)


def gradients(net: ResistiveNetwork, readings: Readings, nudging: float) -> dict[str, Tensor]:
    """dC/dg of every reading, `(n_readings, n_parameters)`. [V²/S]"""
    means, swings = (torch.from_numpy(part.reshape(-1, part.shape[-1])) for part in (readings.mean, readings.in_phase))
    rows = []
    for mean, swing in zip(means, swings, strict=True):
        rows.append(net.contrast(_INPUTS[:1], net.layers_of(mean[None]), net.layers_of(swing[None]), linear=True))
    return {name: torch.stack([row[name].flatten() for row in rows]) / nudging for name in rows[0]}


def norm(gradient: dict[str, Tensor]) -> float:
    return float(torch.cat(list(gradient.values())).norm())


def picture(predicted: ReadingNoise, rows: list[tuple[float, float]], path: Path) -> None:
    figure, panel = plt.subplots(figsize=(5.5, 3.4), layout="constrained")
    times = np.geomspace(1 / _FREQUENCY, 20 / _FREQUENCY, 50)
    panel.loglog(1e6 * times, [predicted.snr(time) for time in times], label="predicted")
    panel.loglog(*zip(*((1e6 * time, snr) for time, snr in rows), strict=True), "o", label="ngspice, readings of .tran")
    panel.set(xlabel="time for which a sample is read [µs]", ylabel="SNR of the gradient")
    panel.grid(alpha=0.3, which="both")
    panel.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
