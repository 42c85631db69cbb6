"""The theory of equilibrium propagation, checked on a layered Hopfield network with smooth units, in float64."""

from analog_ep.theory.report import TheoryReport, check_theory

__all__ = ["TheoryReport", "check_theory"]
