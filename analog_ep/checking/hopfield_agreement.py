"""What the comparison of PyTorch with ngspice found of a network with several minima, and what counts as agreement."""

from __future__ import annotations

import json
from dataclasses import dataclass

from rich.table import Table

from analog_ep.ngspice.process import EngineReport
from analog_ep.support.shown import Tabled

_SHOWN = 5


@dataclass(frozen=True)
class HopfieldTolerances:
    """What counts as agreement.

    Attributes
    ----------
    state : float
        Largest difference of a state, in any phase, and largest distance of another minimum from where it is. [V]
    contrast : float
        Largest difference of a parameter's contrast.
    ratio : float
        Largest distance from 1 of the ratio of the norms of a parameter's gradients.
    """

    state: float = 1e-6
    contrast: float = 1e-6
    ratio: float = 1e-2


@dataclass(frozen=True)
class HopfieldCrossCheck(Tabled):
    """How far PyTorch and ngspice agree on a Hopfield network's units. A state of 1 is 1 V.

    ngspice lets the circuit settle from rest, and the nudged phases from its own free state. A sample that comes to
    another minimum of the energy than PyTorch's is no error of either; it is counted in `other_basins`, and left out of
    the errors. What is no minimum counts as an error.

    Attributes
    ----------
    max_state_error : float
        Of the settled states, over the units, the phases and the samples in the same basin. [V]
    max_operating_point_error : float
        Of ngspice's operating points that begin at PyTorch's states, over all samples, units and phases. [V]
    other_basins : dict of str to tuple of int
        Samples that settle in another basin than PyTorch's, by the phase: "free", or the nudging strength.
    max_contrast_error : float
        Of the contrast by each parameter, not over β; the mean over the samples that are in the same basin in all
        phases. Absolute: where the outputs are pressed on the clamps at their targets, there is no contrast left.
    gradient_norm_ratio : float or None
        Of ngspice's gradient, that of the energy's derivatives at its states, and PyTorch's by equilibrium propagation:
        the one by any parameter that is farthest from 1; 1 where the contrasts are within their tolerance of 0, None
        where no sample lies in the same basins in every phase.
    predictions_identical : bool
        Whether both give every sample the same class, those in other basins included.
    accuracy : float
        Share of the samples whose class ngspice gets right.
    samples, units : int
        How many were compared.
    clamp_distance : float
        Largest distance beyond 0 V or 1 V at which a clamp's current I holds a state, I/g_on; 0 without clamps. [V]
    clamped : tuple of float
        Per layer, the share of units and samples at which a clamp conducts in the free phase.
    max_net_current : float
        Largest current that is left over at a node of a settled state: how far from rest it is. [A]
    tolerances : HopfieldTolerances
        What `passed` asks for.
    engine : EngineReport or None
        What ran the netlists; None where another solver stood in its place.
    """

    max_state_error: float
    max_operating_point_error: float
    other_basins: dict[str, tuple[int, ...]]
    max_contrast_error: float
    gradient_norm_ratio: float | None
    predictions_identical: bool
    accuracy: float
    samples: int
    units: int
    clamp_distance: float
    clamped: tuple[float, ...]
    max_net_current: float
    tolerances: HopfieldTolerances
    engine: EngineReport | None = None

    @property
    def n_other_basins(self) -> int:
        """Samples in another basin in any phase."""
        return len({sample for found in self.other_basins.values() for sample in found})

    @property
    def passed(self) -> bool:
        """Whether everything is within tolerance; other basins are no failure, unless a prediction differs."""
        limits = self.tolerances
        return (
            self.max_state_error <= limits.state
            and self.max_operating_point_error <= limits.state
            and self.max_contrast_error <= limits.contrast
            and (self.gradient_norm_ratio is None or abs(self.gradient_norm_ratio - 1) <= limits.ratio)
            and self.predictions_identical
        )

    def to_json(self) -> str:
        """The figures as a JSON object."""
        return json.dumps(
            {
                "max_state_error": self.max_state_error,
                "max_operating_point_error": self.max_operating_point_error,
                "other_basins": {phase: list(found) for phase, found in self.other_basins.items()},
                "max_contrast_error": self.max_contrast_error,
                "gradient_norm_ratio": self.gradient_norm_ratio,
                "predictions_identical": self.predictions_identical,
                "samples": self.samples,
                "units": self.units,
                "passed": self.passed,
                "accuracy": self.accuracy,
                "clamp_distance": self.clamp_distance,
                "clamped": list(self.clamped),
                "max_net_current": self.max_net_current,
                **({} if self.engine is None else self.engine.to_dict()),
            }
        )

    def table(self) -> Table:
        """The figures as a table for a terminal."""
        table = Table("PyTorch against ngspice", "found", "allowed", title="Cross-check")
        limits = self.tolerances
        table.add_row("samples, units compared", f"{self.samples}, {self.units}", "")
        table.add_row("largest error of a settled state", f"{self.max_state_error:.2e} V", f"{limits.state:.0e} V")
        operating = f"{self.max_operating_point_error:.2e} V"
        table.add_row("largest error of an operating point", operating, f"{limits.state:.0e} V")
        for phase, found in self.other_basins.items():
            table.add_row(f"in another basin, {phase}", _listed(found), "")
        table.add_row("largest error of a contrast", f"{self.max_contrast_error:.2e}", f"{limits.contrast:.0e}")
        ratio = "no sample" if self.gradient_norm_ratio is None else f"{self.gradient_norm_ratio:.6f}"
        table.add_row("ratio of the gradients' norms", ratio, f"1 ±{limits.ratio:.0e}")
        table.add_row("predictions identical", "yes" if self.predictions_identical else "no", "yes")
        table.add_row("accuracy of ngspice", f"{self.accuracy:.2%}", "")
        for layer, share in enumerate(self.clamped, start=1):
            table.add_row(f"layer {layer}: clamps conducting", f"{share:.1%}", "")
        table.add_row("largest distance beyond a clamp", f"{self.clamp_distance:.2e} V", "")
        table.add_row("largest net current at rest", f"{self.max_net_current:.1e} A", "")
        if self.engine is not None:
            table.add_row("engine", str(self.engine), "")
        table.add_row("agreement", "yes" if self.passed else "NO", "")
        return table


def _listed(samples: tuple[int, ...]) -> str:
    """How many, and the first of them."""
    shown = ", ".join(map(str, samples[:_SHOWN])) + ("…" if len(samples) > _SHOWN else "")
    return f"{len(samples)}: samples {shown}" if samples else "0"
