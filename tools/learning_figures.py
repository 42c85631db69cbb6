"""The pictures of docs/self-learning.md, of what ngspice finds: ``python tools/learning_figures.py``.

Waveforms of two presentations, and the learning curve that plain ngspice prints of netlists/xor_learns.cir.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from analog_ep.ngspice.engines import find_engine
from analog_ep.ngspice.printed import printed_measurements
from analog_ep.ngspice.raw import read_plots
from analog_ep.support.resources import netlists_folder

_IMAGES = Path(__file__).parents[1] / "docs" / "images"
_PRESENTATIONS = 3
_SHOWN = {
    "clocks": ["_free", "phase", "_nudged", "_write"],
    "an output and its stores [V]": ["o0_p", "_free_o0_p", "_nudged_o0_p"],
    "two charges [V]": ["_stage1_0", "_stage2_0"],
}


def main() -> None:
    deck = (netlists_folder() / "xor_learns.cir").read_text()
    waveforms(deck)
    curve(deck)


def waveforms(deck: str) -> None:
    """Voltages of the first presentations."""
    period = float(re.search(r"v_phase phase 0 pulse\(.* (\S+)\)", deck)[1])  # pyright: ignore[reportOptionalSubscript]
    shorter = re.sub(r"(?m)^(\.tran \S+) \S+", rf"\1 {_PRESENTATIONS * period!r}", deck)
    names = [name for shown in _SHOWN.values() for name in shown]
    shorter = re.sub(r"(?m)^\.save .*(\n\+.*)*", f".save {' '.join(f'v({name})' for name in names)}", shorter)
    shorter = re.sub(r"(?m)^\.meas .*\n", "", shorter)
    with tempfile.TemporaryDirectory() as folder:
        path, raw = Path(folder) / "begins.cir", Path(folder) / "out.raw"
        path.write_text(shorter)
        subprocess.run([*find_engine(None).command("-b", "-r", str(raw), size=0), str(path)], check=True, cwd=folder)
        (plot,) = read_plots(raw)
    time = plot.columns(["time"])[:, 0] * 1e6
    figure, axes = plt.subplots(len(_SHOWN), 1, sharex=True, figsize=(8, 6), layout="constrained")
    for axis, (title, shown) in zip(axes, _SHOWN.items(), strict=True):
        for i, name in enumerate(shown):
            shift = 1.3 * i if title == "clocks" else 0.0
            axis.plot(time, plot.columns([f"v({name})"])[:, 0] + shift, label=f"v({name})", lw=1.2)
        axis.set_ylabel(title)
        axis.legend(loc="upper right", fontsize=8)
    axes[0].set_yticks([])
    axes[-1].set_xlabel("time [µs]")
    figure.savefig(_IMAGES / "self-learning-waveforms.png", dpi=120)


def curve(deck: str) -> None:
    """Cost and share of right answers against the epoch."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "xor_learns.cir"
        path.write_text(deck)
        done = subprocess.run(
            [*find_engine(None).command("-b", size=0), str(path)], capture_output=True, text=True, check=True
        )
    printed = printed_measurements(done.stdout)
    epochs = np.arange(1, 1 + sum(name.startswith("right_") for name in printed) - 1)
    cost, right = ([printed[f"{what}_{epoch}"] for epoch in epochs] for what in ("cost", "right"))
    figure, axis = plt.subplots(figsize=(8, 3.2), layout="constrained")
    axis.semilogy(epochs, cost, label="mean cost [V²]")
    axis.set_xlabel("epoch of 4 presentations")
    axis.set_ylabel("mean cost [V²]")
    other = axis.twinx()
    other.step(epochs, right, where="mid", color="C1", label="share of right answers")
    other.set_ylabel("share of right answers")
    other.set_ylim(-0.05, 1.05)
    figure.legend(loc="center right", bbox_to_anchor=(0.9, 0.6), fontsize=8)
    figure.savefig(_IMAGES / "self-learning-curve.png", dpi=120)


if __name__ == "__main__":
    main()
