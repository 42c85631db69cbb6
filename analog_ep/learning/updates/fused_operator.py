"""Stages of a fused step that are no crossbars: what a batch wants of their conductances, and their change in place."""

from __future__ import annotations

import torch
from torch import Tensor

from analog_ep.networks import CrossbarNetwork, Stage


class FusedOperator:
    """A stage with few conductances for its many places: its contrast as any network forms it, applied in place.

    Conductances are in units of g_ref.
    """

    def __init__(self, network: CrossbarNetwork, s: int):
        self.layout = network.layouts[s]
        self.gain, self.feedback = network.couplings[s]
        self.bias_voltage = network.bias_voltage or 0.0
        self.bounds = network.theta_range(self.layout.label)
        self.learns = self.layout.learns
        fixed = None if self.learns else network.crossbar(s).siemens / network.reference_conductance
        self.theta = network.theta(self.layout.label).detach() if fixed is None else fixed
        self._form()

    def _form(self) -> None:
        self._crossbar = self.layout.crossbar(lambda: self.theta, self.bias_voltage)
        self.stage: Stage = self._crossbar.stage(self.gain, self.feedback, drives=bool(self.feedback))

    def wanted(
        self,
        before: Tensor,
        changes: list[Tensor] | None,
        layer: Tensor,
        responses: list[Tensor],
        ratios: list[float],
        linear: bool,
    ) -> Tensor:
        """Contrast of one step, over all phases in their ratios; arguments as of `FusedCrossbar.wanted`."""
        if not self.learns:
            return self.theta
        total: Tensor | None = None
        for k, (response, ratio) in enumerate(zip(responses, ratios, strict=True)):
            change = None if changes is None else self.gain * changes[k]
            rows = self.gain * before
            if not linear and change is not None:
                rows = rows + 0.5 * change
            middle = layer if linear else layer + 0.5 * response
            # Linear in the changes; the first phase's ratio is 1.
            if k:
                change, response = None if change is None else ratio * change, ratio * response
            found = self._crossbar.contrast(rows, change, middle, response)
            total = found if total is None else total.add_(found)
        assert total is not None  # a step has a phase
        return total

    def apply(self, wanted: Tensor, factor: float) -> None:
        """Change θ against `factor` [1/V²] times the contrast, within the range."""
        if not self.learns:
            return
        torch.sub(self.theta, wanted, alpha=factor, out=self.theta).clamp_(*self.bounds)
        self._form()
