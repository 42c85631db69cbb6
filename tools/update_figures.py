"""The pictures of docs/device-updates.md: ``python tools/update_figures.py``.

Pulse trains of every preset, and what each scheme makes of steady changes on three devices.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import torch

from analog_ep.devices.pulses import PRESETS, PulsedArray, PulseModel, pulse_model
from analog_ep.learning.updates.pulsed import PulsedUpdate
from analog_ep.learning.updates.schemes import SCHEMES
from analog_ep.networks import ResistiveNetwork

_IMAGES = Path(__file__).parents[1] / "docs" / "images"
_WINDOW = (1e-7, 1e-4)
_DEVICES = ("SoftBounds", "EcRam", "ReRamES")
_UPDATES, _NOISE = 200, 3.0


def main() -> None:
    trains()
    schemes()


def trains() -> None:
    """As many pulses up as the range has mean steps, and as many down, on five devices of each preset."""
    figure, panels = plt.subplots(2, 5, figsize=(12, 5), sharey=True, layout="constrained")
    for panel, name in zip(panels.flat, PRESETS, strict=True):
        pulses, devices = _train(PRESETS[name])
        for values in devices:
            panel.plot(pulses, values, lw=0.8)
        panel.set_title(name, fontsize="medium")
    figure.supxlabel("pulses, first up, then down")
    figure.supylabel("conductance [µS]")
    figure.savefig(_IMAGES / "device-updates-presets.png", dpi=110)


def _train(model: PulseModel, devices: int = 5) -> tuple[list[int], list[list[float]]]:
    steps = max(round((model.w_max - model.w_min) / model.mean_step), 40)
    array = PulsedArray.over(model, torch.full((devices,), _WINDOW[0], dtype=torch.float64), _WINDOW, 0)
    # At most 400 points, for trains of thousands of pulses.
    stride, found = max(steps // 200, 1), []
    for sign in (1, -1):
        for _ in range(0, steps, stride):
            array.pulse(torch.full((devices,), sign * stride))
            found.append(1e6 * array.conductances)
    return [stride * (n + 1) for n in range(len(found))], torch.stack(found).T.tolist()


def schemes() -> None:
    """Net change of single devices after updates whose wanted changes are steady, under noise that is larger."""
    figure, panels = plt.subplots(len(_DEVICES), len(SCHEMES), figsize=(13, 6.5), layout="constrained")
    for row, device in zip(panels, _DEVICES, strict=True):
        for panel, scheme in zip(row, SCHEMES, strict=True):
            wanted, done = _steady(device, scheme)
            panel.plot(wanted, done, ".", markersize=2)
            panel.axline((0, 0), slope=1, color="k", lw=0.6)
            panel.set(xlim=(-25, 25), ylim=(-25, 25))
            panel.set_title(f"{scheme}, {device}", fontsize="small")
    figure.supxlabel(f"sum of the wanted changes of {_UPDATES} updates [µS]")
    figure.supylabel("change [µS]")
    figure.savefig(_IMAGES / "device-updates-schemes.png", dpi=110)


def _steady(device: str, scheme: str) -> tuple[torch.Tensor, torch.Tensor]:
    net = ResistiveNetwork([32, 16], conductance_range=_WINDOW, initial_range=(3e-5, 5e-5), seed=0)
    update = PulsedUpdate(torch.optim.SGD(net.parameters(), lr=1.0), net, pulse_model(device), scheme, vectors=32)
    theta, before = net.get_parameter("stage1"), net.conductances["stage1"]
    random = torch.Generator().manual_seed(1)
    steady = 2e-5 / _UPDATES * torch.linspace(-1, 1, theta.numel())[torch.randperm(theta.numel(), generator=random)]
    for _ in range(_UPDATES):
        noise = _NOISE * 1e-7 * torch.randn(theta.shape, generator=random)
        wanted = steady.reshape(theta.shape) + noise - noise.mean()
        theta.grad = -wanted / net.reference_conductance
        update.step()
    return 1e6 * _UPDATES * steady, 1e6 * (net.conductances["stage1"] - before).flatten()


if __name__ == "__main__":
    main()
