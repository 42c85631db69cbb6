"""Pictures of the checks."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from analog_ep.support.png import png_of
from analog_ep.theory.gradient import GradientCurves
from analog_ep.theory.stdp import PlasticityCurves
from analog_ep.theory.velocities import VelocityCurves

_UNITS = 3
"""Units of each layer whose derivatives are drawn, those with the largest."""


def gradient_plot(curves: GradientCurves) -> bytes:
    """Relative error of the contrast over β, with lines of slope 1 and 2."""
    figure = Figure(figsize=(5, 3.8), layout="constrained")
    axes = figure.subplots()
    for (variant, errors), power in zip(curves.errors.items(), (1, 2), strict=True):
        (line,) = axes.loglog(curves.nudgings, errors, "o-", markersize=4, label=variant)
        _slope(axes, curves.nudgings, errors[-1], power, line.get_color())
    axes.set(xlabel="nudging β", ylabel="relative error of the contrast", title="EP contrast and the gradient")
    axes.legend()
    return png_of(figure)


def velocity_plot(curves: VelocityCurves) -> bytes:
    """Some units' derivatives at each step by both methods, a panel a layer, and the relative differences."""
    n_layers = len(curves.propagated)
    figure = Figure(figsize=(3.1 * (n_layers + 1), 3.4), layout="constrained")
    panels = figure.subplots(1, n_layers + 1)
    for k, (found, wanted) in enumerate(zip(curves.propagated, curves.backpropagated, strict=True)):
        axes, steps = panels[k], range(1, len(found) + 1)
        largest = wanted[:, 0].abs().amax(0).topk(min(_UNITS, wanted.shape[-1])).indices
        for number, unit in enumerate(largest):
            color, first = f"C{number}", number == 0
            axes.plot(steps, wanted[:, 0, unit], color=color, label="backprop through time" if first else None)
            axes.plot(steps, found[:, 0, unit], "o", color=color, fillstyle="none", label="EP" if first else None)
        axes.set(xlabel="step", title="outputs" if k + 1 == n_layers else f"hidden layer {k + 1}")
    panels[0].set_ylabel("(du/dt)/β and −∂C/∂u")
    panels[-2].legend()
    for (name, values), style in zip(curves.differences.items(), ("o-", "s-", "x--"), strict=True):
        panels[-1].semilogy(range(1, len(values) + 1), values, style, markersize=4, label=_LABELS[name])
    panels[-1].axhline(1e-3, color="grey", linestyle=":")
    panels[-1].set(xlabel="step", title="relative difference")
    panels[-1].legend(loc="lower right")
    return png_of(figure)


_LABELS = {"states": "states, BPTT", "parameters": "parameters, BPTT", "adjoint": "states, recurrent backprop"}


def plasticity_plot(curves: PlasticityCurves) -> bytes:
    """Relative error of the STDP integral over dt, by weight, with a line of slope 1; a panel a form."""
    figure = Figure(figsize=(8.5, 3.8), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, form, title in zip(
        panels, ("velocity", "symmetric"), ("ρ(u_i) ρ'(u_j) du_j", "ρ(u_i) Δρ(u_j)"), strict=True
    ):
        for name, errors in curves.errors[form].items():
            (line,) = axes.loglog(curves.time_steps, errors, "o-", markersize=4, label=name)
            if (name, form) != ("weight1", "symmetric"):
                _slope(axes, curves.time_steps, errors[-1], 1, line.get_color())
        axes.axhline(1e-3, color="grey", linestyle=":")
        axes.set(xlabel="dt [time constants]", title=f"{form} form, {title}, both ways")
        axes.legend()
    panels[0].set_ylabel("relative error of the integral")
    return png_of(figure)


def _slope(axes: Axes, steps: tuple[float, ...], last: float, power: int, color: ColorType) -> None:
    """A dashed line of this power through the last point."""
    axes.loglog(steps, [last * (step / steps[-1]) ** power for step in steps], "--", color=color, linewidth=0.8)
