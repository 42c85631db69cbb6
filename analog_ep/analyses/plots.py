"""Pictures of the studies of a circuit, as PNG."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from analog_ep.analyses.corners import Corners
from analog_ep.analyses.energy import Energy
from analog_ep.analyses.measuring_time import MeasuringTime
from analog_ep.analyses.monte_carlo import MonteCarlo
from analog_ep.analyses.noise import OutputNoise
from analog_ep.analyses.nudging import MOST_BIAS, MOST_ERROR, NudgingReport
from analog_ep.analyses.operating_point import OperatingPoint
from analog_ep.analyses.response import SmallSignalGradient
from analog_ep.analyses.settling_report import SettlingReport
from analog_ep.analyses.transient_noise import TransientNoise
from analog_ep.analyses.wires import WireReport
from analog_ep.support.png import png_of

_SHOWN = 4
"""Outputs whose course is drawn."""


def study_plot(report: object, title: str) -> bytes:
    """The picture that goes with a report of a study."""
    figure = _PLOTS[type(report)](report)
    figure.suptitle(title)
    return png_of(figure)


def _settling(report: SettlingReport) -> Figure:
    """Distance of each layer from its end state, a panel a phase; dots where it has settled to 1 %."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    panels = figure.subplots(1, len(report.curves), squeeze=False)[0]
    for panel, (phase, curve) in zip(panels, report.curves.items(), strict=True):
        settled = curve.within_share()
        for name, volts in curve.layers.items():
            distance = np.abs(volts - curve.final[name]).max(axis=1)
            (line,) = panel.plot(curve.times, distance, label=f"layer {name}")
            panel.plot(settled[name], 0.01 * distance[0], "o", color=line.get_color())
        panel.axhline(report.lsb, color="grey", linestyle=":", label="1 LSB")
        largest = max(np.abs(v[0] - curve.final[n]).max() for n, v in curve.layers.items())
        panel.set(
            yscale="log", ylim=(1e-4 * largest, 3 * max(largest, report.lsb)), xlabel="time", title=f"{phase} phase"
        )
        panel.xaxis.set_major_formatter(EngFormatter("s"))
        panel.yaxis.set_major_formatter(EngFormatter("V"))
    panels[0].set_ylabel("largest distance from equilibrium")
    panels[0].legend()
    return figure


def _noise(report: OutputNoise) -> Figure:
    """Spectra of all outputs, dotted those of a plain ``.noise``, and the rms that gathers below a frequency."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    spectrum, total = figure.subplots(1, 2)
    for i, density in enumerate(report.density):
        (line,) = spectrum.loglog(report.frequencies, density, label=f"output {i}")
        if not np.array_equal(density, report.ngspice_density[i]):
            spectrum.loglog(report.frequencies, report.ngspice_density[i], ":", color=line.get_color())
        power = np.concatenate([[0.0], np.cumsum(np.diff(report.frequencies) * 0.5 * (density**2)[1:])])
        power += np.concatenate([[0.0], np.cumsum(np.diff(report.frequencies) * 0.5 * (density**2)[:-1])])
        total.semilogx(report.frequencies, np.sqrt(power))
    spectrum.set(ylabel="density [V/√Hz]")
    total.set(ylabel="rms up to the frequency")
    total.yaxis.set_major_formatter(EngFormatter("V"))
    for panel in (spectrum, total):
        panel.set_xlabel("frequency")
        panel.tick_params(axis="x", labelsize="small")
        panel.xaxis.set_major_formatter(EngFormatter("Hz"))
    spectrum.legend(fontsize="small", ncols=2)
    return figure


def _transient_noise(report: TransientNoise) -> Figure:
    """A stretch of the first outputs, and the distribution of all beside a normal one."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    record, values = figure.subplots(1, 2, width_ratios=(2, 1))
    shown = slice(0, min(len(report.times), 1000))
    for i, output in enumerate(report.outputs.T[:_SHOWN]):
        record.plot(report.times[shown], output[shown] - 8 * i * report.rms.max(), linewidth=0.7, label=f"output {i}")
    values.hist((report.outputs / report.rms).ravel(), bins=60, range=(-5, 5), density=True, color="lightsteelblue")
    grid = np.linspace(-5, 5, 200)
    values.plot(grid, np.exp(-0.5 * grid**2) / np.sqrt(2 * np.pi), color="black", linewidth=0.8, label="normal")
    record.set(xlabel="time", ylabel="output less its equilibrium, shifted")
    record.xaxis.set_major_formatter(EngFormatter("s"))
    record.yaxis.set_major_formatter(EngFormatter("V"))
    record.legend(fontsize="small", loc="upper right")
    values.set(xlabel="all outputs, in their rms", ylabel="density")
    values.legend(fontsize="small")
    return figure


def _energy(report: Energy) -> Figure:
    """What each class of branches dissipates and delivers, in both phases, and where the joules go."""
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    *panels, whole = figure.subplots(1, 3)
    for panel, what in zip(panels, ("dissipated", "delivered"), strict=True):
        bars = {phase: getattr(getattr(report, phase), what) for phase in ("nudged", "free")}
        _bars(panel, {f"{phase} phase": bars[phase] for phase in ("free", "nudged")}, list(bars["nudged"]), "W")
        panel.set(xlabel="power", title=what)
    _bars(
        whole, {"inference": report.inference, "training step": report.training_step}, list(report.training_step), "J"
    )
    total = (EngFormatter("J", places=1)(sum(each.values())) for each in (report.inference, report.training_step))
    whole.set(xlabel="energy of a sample", title="where the joules go: {} an inference, {} a step".format(*total))
    whole.legend(loc="lower right", fontsize="small")
    panels[0].legend(loc="lower right", fontsize="small")
    return figure


def _bars(panel: Axes, series: dict[str, dict[str, float]], names: list[str], unit: str) -> None:
    """Two values for each name, on a logarithmic axis."""
    places = np.arange(len(names))
    for shift, color, (label, values) in zip((-0.2, 0.2), ("C0", "C1"), series.items(), strict=True):
        panel.barh(places + shift, [values.get(name, 0.0) for name in names], 0.38, color=color, label=label)
    panel.set_yticks(places, [textwrap.fill(name, 16) for name in names], fontsize="small")
    panel.invert_yaxis()
    panel.set(xscale="log")
    shown = [value for values in series.values() for value in values.values() if value > 0]
    panel.set_xlim(0.2 * min(shown, default=1e-9), 3 * max(shown, default=1.0))
    panel.xaxis.set_major_locator(LogLocator(numticks=6))
    panel.xaxis.set_major_formatter(EngFormatter(unit))


def _corners(report: Corners) -> Figure:
    """Largest change of an output over the temperature, a line for each combination of scales."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    changes, classes = figure.subplots(1, 2)
    supplies = len({corner.supply_scale for corner in report.corners}) > 1
    lines: dict[str, list[tuple[float, float, float]]] = {}
    for corner in report.corners:
        label = f"V × {corner.supply_scale:g}, " if supplies else ""
        label += f"g × {corner.conductance_scale:g}, IS × {corner.saturation_scale:g}"
        share = corner.same_class if corner.accuracy is None else corner.accuracy
        lines.setdefault(label, []).append((corner.celsius, corner.largest_change, 100 * share))
    for label, rows in lines.items():
        celsius, change, share = zip(*sorted(rows), strict=True)
        changes.plot(celsius, change, marker="o", label=label)
        classes.plot(celsius, share, marker="o")
    what = "samples of the same class [%]" if report.corners[0].accuracy is None else "accuracy [%]"
    samples = f"{report.samples} sample{'s' * (report.samples > 1)}"
    changes.set(xlabel="temperature [°C]", ylabel="largest change of an output")
    changes.yaxis.set_major_formatter(EngFormatter("V"))
    classes.set(xlabel="temperature [°C]", ylabel=what, ylim=(-3, 103), title=samples)
    columns = 1 + (len(lines) - 1) // 20
    figure.legend(*changes.get_legend_handles_labels(), loc="outside right center", fontsize="small", ncols=columns)
    return figure


def _monte_carlo(report: MonteCarlo) -> Figure:
    """How many chips have which accuracy, and the share of the chips that reach it."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    counts, yields = figure.subplots(1, 2)
    percent, own = 100 * report.accuracies, 100 * report.own / report.samples
    counts.hist(percent, bins="auto", color="lightsteelblue", edgecolor="white")
    counts.axvline(percent.mean(), color="C0", label="mean")
    counts.axvline(own, color="black", linestyle=":", label="the run's own chip")
    counts.yaxis.set_major_locator(MaxNLocator(integer=True))
    counts.set(xlabel="accuracy [%]", ylabel="chips")
    counts.legend(fontsize="small")
    accuracy, share = np.array(report.yield_curve()).T
    # At or above: the yield holds from the accuracy before up to each.
    yields.step(100 * np.r_[accuracy, accuracy[-1]], 100 * np.r_[share, 0.0], where="pre", color="C0")
    yields.set(xlabel="accuracy [%]", ylabel="chips at or above [%]", ylim=(-3, 103))
    yields.set_title(f"{len(report.scores)} chips, {report.samples} samples", fontsize="medium")
    yields.grid(alpha=0.3)
    return figure


def _operating_point(report: OperatingPoint) -> Figure:
    """Voltages of each layer's nodes, and currents of the diodes."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    volts, amperes = figure.subplots(1, 2)
    for name, values in report.layers.items():
        volts.plot(np.linspace(0, 1, len(values)), np.sort(values), ".", label=f"layer {name}, {len(values)} nodes")
    volts.set(xlabel="share of the layer's nodes", ylabel="voltage, in order")
    volts.yaxis.set_major_formatter(EngFormatter("V"))
    volts.legend(fontsize="small")
    for label, values in report.diodes.items():
        amperes.plot(np.linspace(0, 1, len(values)), np.sort(np.abs(values)), ".", label=label)
    amperes.set(xlabel="share of the diodes", ylabel="|current|, in order", yscale="log")
    amperes.yaxis.set_major_formatter(EngFormatter("A"))
    if report.diodes:
        amperes.legend(fontsize="small")
    return figure


def _gradient(report: SmallSignalGradient) -> Figure:
    """Norm of the gradient of each crossbar, and its distance from the exact direction."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    norms, distances = figure.subplots(1, 2)
    norms.bar(list(report.norms), list(report.norms.values()))
    norms.set(ylabel="norm of dC/dθ")
    distances.bar(list(report.cosines), [max(1 - cosine, 1e-16) for cosine in report.cosines.values()])
    distances.axhline(1e-6, color="grey", linestyle=":")
    distances.set(ylabel="1 − cosine with implicit differentiation", yscale="log")
    return figure


def _wires(report: WireReport) -> Figure:
    """Voltage lost at every cell, an image a crossbar, and accuracy or error against the wires' resistance."""
    figure = Figure(figsize=(4 * (len(report.crossbars) + 1), 4), layout="constrained")
    *maps, last = figure.subplots(1, len(report.crossbars) + 1)
    for panel, crossbar in zip(maps, report.crossbars, strict=True):
        image = panel.imshow(crossbar.drop, aspect="auto", interpolation="nearest", cmap="magma")
        panel.set(title=f"{crossbar.label}: lost at a cell", xlabel="column", ylabel="row")
        figure.colorbar(image, ax=panel, format=EngFormatter("V"), location="bottom", ticks=MaxNLocator(4))
    shown = [at for at in report.scales if at.scale > 0]
    scales = [at.scale for at in shown]
    last.plot(scales, [at.output_error for at in shown], "o-", color="C1")
    last.set(xscale="log", yscale="log", xlabel="resistances, as a multiple", ylabel="largest output error")
    last.yaxis.set_major_formatter(EngFormatter("V"))
    last.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    last.yaxis.set_minor_formatter(NullFormatter())
    last.yaxis.label.set_color("C1")
    if all(at.accuracy is not None for at in shown):
        beside = last.twinx()
        beside.plot(scales, [100 * (at.accuracy or 0) for at in shown], "s--", color="C0")
        beside.set_ylabel("accuracy [%]", color="C0")
    return figure


def _nudging(report: NudgingReport) -> Figure:
    """Bias and random errors over the nudging, a panel a crossbar; shaded where a nudging is usable."""
    figure = Figure(figsize=(4.5 * len(report.layers) + 1.5, 4.2), layout="constrained")
    panels = figure.subplots(1, len(report.layers), squeeze=False, sharey=True)[0]
    styles = {"bias": "C3-", "read_noise": "C0-", "levels": "C1-", "nudge_noise": "C2-", "float32": "C7:"}
    for panel, layer in zip(panels, report.layers, strict=True):
        for name, style in styles.items():
            panel.plot(report.nudgings, getattr(layer, name), style, label=name.replace("_", " "))
        panel.axvline(report.own, color="black", linewidth=0.8, label="the spec's nudging")
        if (band := report.band(layer.usable)) is not None:
            panel.axvspan(*band, color="C2", alpha=0.15, label="usable")
        panel.hlines([MOST_BIAS, MOST_ERROR], *report.nudgings[[0, -1]], colors=["C3", "C0"], linewidth=0.6)
        panel.set(xscale="log", yscale="log", ylim=(1e-5, 1e4), xlabel="nudging β [S or A·V]", title=layer.label)
    panels[0].set_ylabel("relative to the gradient")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize="small")
    return figure


def _lock_in(report: MeasuringTime) -> Figure:
    """SNR of the batch's gradient over the time for which each sample is read."""
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    panel = figure.subplots()
    longest = max(*report.times().values(), 10 / report.frequency)
    times = np.geomspace(1 / report.frequency, 2 * longest, 100)
    panel.loglog(times, [report.noise.snr(time) for time in times])
    panel.axhline(report.snr, color="grey", linestyle=":", label=f"SNR {report.snr:g}")
    panel.set(xlabel="time of each sample", ylabel="SNR of the gradient")
    panel.xaxis.set_major_formatter(EngFormatter("s"))
    panel.legend()
    return figure


_PLOTS: dict[type, Callable[[Any], Figure]] = {
    SettlingReport: _settling,
    OutputNoise: _noise,
    TransientNoise: _transient_noise,
    Energy: _energy,
    Corners: _corners,
    MonteCarlo: _monte_carlo,
    WireReport: _wires,
    NudgingReport: _nudging,
    MeasuringTime: _lock_in,
    OperatingPoint: _operating_point,
    SmallSignalGradient: _gradient,
}
