"""Sweeps over the layers until what flows against them no longer changes: the loop of the layered solvers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from itertools import count

import torch
from torch import Tensor

from analog_ep.equilibrium.layered.anderson import Anderson, Secant, differences

PATIENCE = 8
"""Sweeps before acceleration begins: most networks have converged by then, and it costs more than a sweep."""

_LOST = 4
"""Sweeps after which a state that is not finite is looked for: most networks have converged by then."""

Visit = Callable[[list[Tensor] | None], None]
Flow = Callable[[], list[Tensor]]
Judge = Callable[[int, Tensor, float], tuple[Tensor, Tensor]]
Bound = Callable[[float, list[Tensor] | None], list[tuple[Tensor, Tensor]]]


@dataclass(frozen=True, eq=False)
class Status:
    """How a relaxation ended, per sample; `complete` where every sample converged."""

    converged: Tensor
    residual: Tensor
    sweeps: int
    message: str
    complete: bool = False


def sweep_until(
    visit: Visit,
    flow: Flow,
    carried: list[Tensor] | None,
    judge: Judge,
    tolerance: float,
    max_steps: int,
    like: Tensor,
    *,
    bound: Bound | None = None,
    secant: bool = False,
    name: str = "rtol",
    patience: int = PATIENCE,
    least: int = 1,
) -> Status:
    """Sweep until every sample meets its tolerance.

    Parameters
    ----------
    visit : callable
        Visits the layers, under the currents against its direction: one for each layer but the one it ends at.
    flow : callable
        What those currents have become. Their change is what is wrong with the state that the visit left.
    carried : list of Tensor, optional
        Currents of the first sweep; None for none.
    judge : callable
        Residual and whether it passes, both `(*batch,)`, for the number of a current, its change and the tolerance.
    tolerance : float
        What the judge is given.
    max_steps : int
        Most sweeps.
    like : Tensor (*batch, n)
        Gives the shape of the batch.
    bound : callable, optional
        A verdict on each current, from above and without `flow`, given what the visit was under less what `flow` gave
        before, None for no difference. Where it passes, it saves the currents of the last sweep.
    secant : bool
        Accelerate by one past sweep from the second on, before acceleration begins in earnest.
    name : str
        What the user calls the tolerance.
    patience : int
        Sweeps before acceleration begins; it is right only where a sweep is a function of what it is given.
    least : int
        The first sweep that is judged, where it is known that fewer will not do.
    """
    sweeps = _Sweeps(visit, flow, judge, tolerance, max_steps, like, bound, secant, name, patience, least)
    return sweeps.run(carried)


# Not frozen: two of these are made in every step, and setting eleven frozen fields takes as long as a small product.
@dataclass(eq=False, slots=True)
class _Sweeps:
    """What `sweep_until` is given, but for the currents of the first sweep."""

    visit: Visit
    flow: Flow
    judge: Judge
    tolerance: float
    max_steps: int
    like: Tensor
    bound: Bound | None
    secant: bool
    name: str
    patience: int
    least: int

    def run(self, carried: list[Tensor] | None) -> Status:
        """Sweep to the end."""
        anderson, one_past = Anderson(), Secant()
        shift: list[Tensor] | None = None
        for number in count(1):
            self.visit(carried)
            judged = number >= min(self.least, self.max_steps)
            if judged and self.bound is not None and number <= self.patience:
                residual, settled = _worst(self.bound(self.tolerance, shift), self.like)
                if bool(settled.all()):
                    return _converged(residual, settled, number)
            found = self.flow()
            changes = found if carried is None else differences(found, carried)
            if judged:
                residual, settled = self._judged(changes)
                if bool(settled.all()):
                    return _converged(residual, settled, number)
                if number >= self.max_steps:
                    return self._unsettled(residual, settled, number)
                if number >= _LOST and bool((settled | ~torch.isfinite(residual)).all()):
                    return _not_finite(residual, settled, number)
            if number >= self.patience:
                carried = _accelerated(anderson, carried, found)
            elif self.secant:
                carried = one_past.next(found, changes)
                shift = None if carried is found else differences(carried, found)
            else:
                carried = found
        raise AssertionError("sweeps end by themselves")

    def _judged(self, changes: list[Tensor]) -> tuple[Tensor, Tensor]:
        verdicts = [self.judge(k, change, self.tolerance) for k, change in enumerate(changes)]
        return _worst(verdicts, self.like)

    def _unsettled(self, residual: Tensor, settled: Tensor, number: int) -> Status:
        missed, steps = int((~settled).sum()), f"{self.max_steps} sweeps; raise max_steps or {self.name}"
        message = f"{missed} samples did not reach {self.name} {self.tolerance:g} in {steps}"
        return Status(settled, residual, number, message)


def _converged(residual: Tensor, settled: Tensor, number: int) -> Status:
    return Status(settled, residual, number, f"converged in {number} sweeps", complete=True)


def _not_finite(residual: Tensor, settled: Tensor, number: int) -> Status:
    """What no further sweep can mend."""
    lost = (~settled).reshape(-1).nonzero()[:, 0]
    message = (
        f"{len(lost)} samples left the range of finite numbers in {number} sweeps, such as sample {int(lost[0])}; look "
        f"for NaN or infinity in the parameters, the devices and the chip, and for voltages beyond {residual.dtype}"
    )
    return Status(settled, residual, number, message)


def _worst(verdicts: list[tuple[Tensor, Tensor]], like: Tensor) -> tuple[Tensor, Tensor]:
    if not verdicts:
        residual = like.new_zeros(like.shape[:-1])
        return residual, residual == 0
    residuals, passes = zip(*verdicts, strict=True)
    return reduce(torch.maximum, residuals), reduce(torch.logical_and, passes)


def largest(current: Tensor) -> Tensor:
    """Largest magnitude over the units, `(*batch,)`."""
    # Four times as fast on a CPU as the infinity norm of torch.linalg.
    return current.abs().amax(-1)


def relative_to(drive: Callable[[int], Tensor]) -> Judge:
    """Judge a change by its largest magnitude over that of the layer's own current."""

    def judge(k: int, change: Tensor, rtol: float) -> tuple[Tensor, Tensor]:
        size = largest(change)
        return size, size <= largest(drive(k)).mul_(rtol)

    return judge


def bounded_by(norm: Tensor, moved: Tensor, shift: Tensor | None, drive: Tensor, rtol: float) -> tuple[Tensor, Tensor]:
    """Verdict of `relative_to` on a current whose change is a matrix times `moved`.

    The matrix's rows have at most the Euclidean norm `norm`, so that by Cauchy and Schwarz no component of the change
    is larger than `norm` times that of `moved`. Weights and errors being as good as unrelated, that is within a factor
    of two of the truth.
    """
    size = norm * torch.linalg.vector_norm(moved, dim=-1)
    size = size if shift is None else size + largest(shift)
    return size, size <= largest(drive).mul_(rtol)


def _accelerated(anderson: Anderson, carried: list[Tensor] | None, found: list[Tensor]) -> list[Tensor]:
    """What to carry into the next sweep, from what past sweeps took and gave."""
    assert carried is not None
    widths = [current.shape[-1] for current in found]
    return list(anderson.next(torch.cat(carried, -1), torch.cat(found, -1)).split(widths, -1))
