"""All checks of the theory: figures, a table, JSON and plots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from analog_ep.support.shown import Tabled
from analog_ep.theory.checks import Check
from analog_ep.theory.gradient import GradientCurves, check_gradient
from analog_ep.theory.setting import Setting
from analog_ep.theory.stdp import PlasticityCurves, check_plasticity
from analog_ep.theory.velocities import VelocityCurves, check_velocities


@dataclass(frozen=True, eq=False)
class TheoryReport(Tabled):
    """What the checks gave on one network.

    Attributes
    ----------
    sizes : tuple of int
        Units of the inputs, the hidden layers and the outputs.
    seed : int
        Of weights, biases, inputs and targets.
    checks : list of Check
        The figures.
    gradient, velocities, plasticity
        The curves behind them.
    """

    sizes: tuple[int, ...]
    seed: int
    checks: list[Check]
    gradient: GradientCurves
    velocities: VelocityCurves
    plasticity: PlasticityCurves

    @property
    def passed(self) -> bool:
        """Whether every figure keeps its bounds."""
        return all(check.passed for check in self.checks)

    def table(self) -> Table:
        """A row a figure."""
        table = Table(
            "figure", "where", "found", "bound", "", title=f"{'-'.join(map(str, self.sizes))}, seed {self.seed}"
        )
        claim = None
        for check in self.checks:
            if check.claim != claim:
                table.add_section()
                table.add_row(f"[bold]{check.claim}[/bold]")
                claim = check.claim
            verdict = "ok" if check.passed else "[red]missed[/red]"
            found = f"{check.value:.7f}" if check.value > 0.1 else f"{check.value:.2e}"
            table.add_row(check.figure, check.where, found, check.bound, verdict)
        return table

    def to_json(self) -> str:
        """Figures and curves as a JSON object."""
        return json.dumps(self._facts(), indent=2, allow_nan=False)

    def _facts(self) -> dict[str, Any]:
        checks = [
            {
                "claim": check.claim,
                "figure": check.figure,
                "where": check.where,
                "value": check.value,
                "bound": check.bound,
                "passed": check.passed,
            }
            for check in self.checks
        ]
        curves = {
            "gradient": {"nudging": self.gradient.nudgings, "relative_error": self.gradient.errors},
            "velocities": {"relative_difference_by_step": self.velocities.differences},
            "stdp": {"dt": self.plasticity.time_steps, "relative_error": self.plasticity.errors},
        }
        return {"sizes": self.sizes, "seed": self.seed, "passed": self.passed, "checks": checks, "curves": curves}

    def plots(self) -> dict[str, bytes]:
        """PNG images by file name."""
        from analog_ep.theory.plots import gradient_plot, plasticity_plot, velocity_plot

        return {
            "gradient.png": gradient_plot(self.gradient),
            "velocities.png": velocity_plot(self.velocities),
            "stdp.png": plasticity_plot(self.plasticity),
        }

    def write(self, folder: Path) -> list[Path]:
        """Write the plots and `theory.json` into a folder, which is made where it is missing; return the paths."""
        folder.mkdir(parents=True, exist_ok=True)
        contents = {**self.plots(), "theory.json": self.to_json().encode()}
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        return [folder / name for name in contents]


def check_theory(sizes: Sequence[int], seed: int = 0) -> TheoryReport:
    """Check the theory on one random layered Hopfield network with smooth units, in float64.

    Parameters
    ----------
    sizes : sequence of int
        Units of the inputs, the hidden layers and the outputs; small, since the reference forms dense Hessians.
    seed : int
        Of weights, biases, inputs and targets.

    Raises
    ------
    NetworkError
        If the sizes are not at least two positive numbers.
    ConvergenceError
        If the dynamics do not settle.
    """
    setting = Setting.drawn(sizes, seed)
    gradient_checks, gradient = check_gradient(setting)
    velocity_checks, velocities = check_velocities(setting)
    plasticity_checks, plasticity = check_plasticity(setting)
    checks = [*gradient_checks, *velocity_checks, *plasticity_checks]
    return TheoryReport(setting.network.sizes, seed, checks, gradient, velocities, plasticity)
