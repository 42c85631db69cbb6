"""The picture of the README's first screen: the network of a run, its learning curve, voltages of its crossbars.

python tools/first_screen.py RUN docs/images/first-screen.png
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon
from matplotlib.ticker import EngFormatter
from PIL import Image

from analog_ep.analyses.voltage_map import voltage_map
from analog_ep.reporting.subject import RunSubject
from analog_ep.runs.choosing import stored_spec


def main() -> None:
    """Draw it."""
    path, target = Path(sys.argv[1]), Path(sys.argv[2])
    subject = RunSubject(path, stored_spec(path), sample=0, samples=1)
    figure = Figure(figsize=(10.5, 5.2), layout="constrained")
    rows = figure.subfigures(2, 1, height_ratios=[1, 1.25])
    _network(rows[0].subplots(), subject.network.sizes)
    curve, *panels = rows[1].subplots(1, 4, width_ratios=[1.2, 1, 1, 1])
    epochs = [record.epoch for record in subject.history]
    for name in ("train", "test"):
        curve.plot(epochs, [100 * getattr(record, f"{name}_accuracy") for record in subject.history], label=name)
    curve.set(xlabel="epoch", ylabel="accuracy [%]", title="learning curve")
    curve.legend(fontsize="small")
    found = voltage_map(subject.network, subject.one).crossbars[0]
    shown = [("conductance", found.siemens, "S", "viridis"), ("voltage across", found.volts, "V", "RdBu_r")]
    shown.append(("current", 1.0 * found.amperes, "A", "RdBu_r"))
    for panel, (what, values, unit, colours) in zip(panels, shown, strict=True):
        most = abs(values).max() * (0.6 if unit != "V" else 1.0)
        image = panel.imshow(values, aspect="auto", cmap=colours, vmin=0 if unit == "S" else -most, vmax=most)
        panel.set(title=f"{found.label}: {what}", xlabel="column", ylabel="row" if unit == "S" else "")
        bar = rows[1].colorbar(image, ax=panel, format=EngFormatter(unit), location="bottom")
        bar.ax.tick_params(labelsize=7)
        bar.ax.locator_params(nbins=4)
    # Images of noise-like values are small only with few colours.
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=80)
    Image.open(drawn).convert("RGB").quantize(96).save(target, optimize=True)


def _network(panel, sizes) -> None:
    """Inputs, crossbar, clamped nodes, amplifiers, crossbar, outputs."""
    words = [f"{sizes[0]} inputs ±x", "crossbar", f"{sizes[1]} nodes, diodes", "amplifiers a, 1/k", "crossbar"]
    words.append(f"{sizes[2]} outputs v₊ − v₋")
    for place, text in enumerate(words):
        x = 2.0 * place
        if "crossbar" in text:
            for t in (-0.6, -0.2, 0.2, 0.6):
                panel.plot([x - 0.75, x + 0.75], [t, t], color="#999", linewidth=1)
                panel.plot([x + t, x + t], [-0.75, 0.75], color="#999", linewidth=1)
            panel.plot(
                [x + t for t in (-0.6, -0.2, 0.2, 0.6)] * 4, [t for t in (-0.6, -0.2, 0.2, 0.6) for _ in range(4)], "s",
                color="white", markeredgecolor="#555", markersize=5,
            )  # fmt: skip
        elif "amplifiers" in text:
            panel.add_patch(Polygon([(x - 0.45, -0.5), (x + 0.5, 0), (x - 0.45, 0.5)], fc="#eef3fb", ec="#345995"))
            panel.annotate("", (x - 0.5, -0.68), (x + 0.5, -0.68), arrowprops={"arrowstyle": "->", "color": "#345995"})
        else:
            colour = {0: "#345995", 2: "#b5482f"}.get(place, "#2f7d4f")
            for y in (-0.6, -0.2, 0.2, 0.6):
                panel.add_patch(Circle((x, y), 0.1, color=colour))
        if place:
            panel.plot([x - 1.2, x - 0.85], [0, 0], color="#888", linewidth=2)
        panel.text(x, -1.05, text, ha="center", va="center", fontsize=9)
    panel.set(xlim=(-1, 11), ylim=(-1.2, 0.85), aspect="equal")
    panel.axis("off")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("two arguments: a run folder, and the picture to write")
    main()
