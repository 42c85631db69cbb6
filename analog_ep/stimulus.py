"""What is done to the hardware, apart from the hardware: costs on its outputs, and the nudges they cause."""

from __future__ import annotations

import cmath
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from analog_ep.errors import StimulusError

NudgeKind = Literal["frozen", "elastic"]


def as_tensor(name: str, values: object, dtype: torch.dtype | None = None, device: object = None) -> Tensor:
    """`values`, a tensor, an array or nested lists, in a precision and on a device; as they are where none is given.

    Raises
    ------
    StimulusError
        If they are not real numbers in one dense array; `name` begins the message.
    """
    if not isinstance(values, Tensor):
        try:
            values = torch.from_numpy(np.array(values))
        except (TypeError, ValueError, RuntimeError, OverflowError):
            found = type(values).__name__
            raise StimulusError(f"{name} must be a tensor or an array of real numbers, found a {found}") from None
    if values.dtype == dtype and values.device == device and values.layout == torch.strided:
        return values
    if values.is_complex() or values.is_quantized or values.layout != torch.strided:
        raise StimulusError(f"{name} must be real numbers in a dense tensor, found {values.dtype}, {values.layout}")
    return values.to(device, dtype)  # pyright: ignore[reportCallIssue, reportArgumentType]


def as_inputs(
    values: object, n_inputs: int, dtype: torch.dtype, device: torch.device, shape: tuple[int, ...] = ()
) -> Tensor:
    """Inputs `(*batch, n_inputs)` in the precision of what they drive; those that end in `shape` are flattened.

    Raises
    ------
    StimulusError
        If they are no such numbers.
    """
    inputs = as_tensor("inputs", values, dtype, device)
    inputs = _flattened(inputs, shape)
    if not inputs.ndim or inputs.shape[-1] != n_inputs:
        also = f" or in {shape}" if shape else ""
        raise StimulusError(f"inputs must end in {n_inputs} values{also}, found shape {tuple(inputs.shape)}")
    return inputs


def _flattened(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Values `(*batch, *shape)` as `(*batch, n)`; others as they are."""
    return values.flatten(-len(shape)) if shape and values.shape[-len(shape) :] == shape else values


def require_samples(inputs: Tensor) -> None:
    """Raise `StimulusError` for an empty batch, whose mean cost is no number."""
    if 0 in inputs.shape[:-1]:
        raise StimulusError(f"inputs must hold at least one sample, found shape {tuple(inputs.shape)}")


def as_targets(values: object, inputs: Tensor, n_outputs: int, shape: tuple[int, ...] = ()) -> Tensor:
    """Targets `(*batch, n_outputs)`, or `(*batch, *shape)`, for these inputs, in their precision; not broadcast.

    Raises
    ------
    StimulusError
        If they are no such numbers.
    """
    targets = _flattened(as_tensor("targets", values, inputs.dtype, inputs.device), shape)
    if targets.ndim != inputs.ndim or targets.shape[-1] != n_outputs or targets.shape[:-1] != inputs.shape[:-1]:
        shape, found = (*inputs.shape[:-1], n_outputs), tuple(targets.shape)
        advice = f"; make classes into targets by cost.encode(labels, {n_outputs}, like=inputs)"
        is_labels = found in (inputs.shape[:-1], (*inputs.shape[:-1], 1))
        raise StimulusError(f"targets must have shape {shape}, found {found}{advice if is_labels else ''}")
    return targets


def all_finite(values: Tensor) -> bool:
    """Whether no value is NaN or infinite."""
    # A sum carries both, in a tenth of the time of `isfinite`; of large numbers it may itself be infinite.
    return cmath.isfinite(values.sum().item()) or bool(torch.isfinite(values).all())


def require_finite(name: str, values: Tensor) -> None:
    """Raise `StimulusError` where a value is NaN or infinite."""
    if not all_finite(values):
        raise StimulusError(f"{name} must be finite, found NaN or infinity in {values.dtype}")


def require_strength(strength: complex, dtype: torch.dtype) -> None:
    """Raise `StimulusError` for a nudge whose response this precision cannot hold.

    A response is the strength times errors, conductances and resistances, and the gradient is divided by the strength:
    two roundings' room on either side keeps all of these within the range of the numbers.
    """
    limits = torch.finfo(dtype)
    low, high = limits.tiny / limits.eps**2, limits.max * limits.eps**2
    if strength != 0 and not low <= abs(strength) <= high:
        raise StimulusError(
            f"the nudging strength must lie in {low:.0e}…{high:.0e} in {dtype}, found {abs(strength):g}; "
            "choose another, float64, or the limit of no nudge, SmallSignal"
        )


def as_number(name: str, value: object) -> float:
    """A number, which may be infinite or NaN, or `StimulusError`."""
    try:
        return float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise StimulusError(f"{name} must be a number, found {type(value).__name__}") from None


class Cost(ABC):
    """A cost C(o, y) of the differential outputs o `(*batch, n_outputs)` [V] and targets y of the same shape."""

    unit: ClassVar[str] = ""
    """Of C; empty for a number."""
    quadratic: ClassVar[bool] = False
    """Whether C = ½ Σ (o − y)²: targets are outputs, and ∂C/∂o is linear in these, of slope 1."""

    @abstractmethod
    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """C, `(*batch,)`."""

    @abstractmethod
    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """∂C/∂o, `(*batch, n_outputs)`."""

    def value_and_gradient(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """C and ∂C/∂o, perhaps in less time than one after the other."""
        return self.value(outputs, targets), self.gradient(outputs, targets)

    @abstractmethod
    def gradient_change(self, outputs: Tensor, change: Tensor) -> Tensor:
        """∂C/∂o at o + d less ∂C/∂o at o, at full relative precision in d."""

    @abstractmethod
    def hessian(self, outputs: Tensor) -> Tensor:
        """∂²C/∂o², `(*batch, n_outputs, n_outputs)`."""

    @property
    @abstractmethod
    def curvature_bound(self) -> float:
        """Largest eigenvalue that `hessian` has at any output."""

    def error_expressions(self, outputs: Sequence[str], targets: Sequence[str]) -> tuple[list[str], float] | None:
        """Expressions e and a divisor d with −∂C/∂o = e/d, for netlists; None where there are none.

        Parameters
        ----------
        outputs, targets : sequence of str
            Texts of the outputs [V] and of the targets. The expressions use the words of `CurrentLaw.expressions`.
        """
        return None

    def value_expression(self, outputs: Sequence[str], targets: Sequence[str]) -> str | None:
        """Expression of C for netlists, in the words of `error_expressions`; None where there is none."""
        return None

    @abstractmethod
    def encode(self, labels: Tensor, n_classes: int, like: Tensor) -> Tensor:
        """Targets for class labels `(*batch,)`, in the dtype and on the device of `like`."""


@dataclass(frozen=True)
class SquaredError(Cost):
    """C = ½ Σ (o − y)² [V²]; with it the nudging strength β is a conductance [S].

    Parameters
    ----------
    target_voltage : float
        Target of the true class when labels are encoded; the others get 0. [V]
    """

    target_voltage: float = 1.0
    quadratic: ClassVar[bool] = True

    unit: ClassVar[str] = "V^2"

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 0.5 * (outputs - targets).square().sum(-1)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs - targets

    def gradient_change(self, outputs: Tensor, change: Tensor) -> Tensor:
        return change

    def hessian(self, outputs: Tensor) -> Tensor:
        n = outputs.shape[-1]
        return torch.eye(n, dtype=outputs.dtype, device=outputs.device).expand(*outputs.shape, n)

    @property
    def curvature_bound(self) -> float:
        return 1.0

    def error_expressions(self, outputs: Sequence[str], targets: Sequence[str]) -> tuple[list[str], float]:
        return [f"{y}-{o}" for o, y in zip(outputs, targets, strict=True)], 1.0

    def value_expression(self, outputs: Sequence[str], targets: Sequence[str]) -> str:
        squares = (f"({o}-{y})*({o}-{y})" for o, y in zip(outputs, targets, strict=True))
        return f"0.5*({'+'.join(squares)})"

    def encode(self, labels: Tensor, n_classes: int, like: Tensor) -> Tensor:
        return self.target_voltage * _one_hot(labels, n_classes, like)


@dataclass(frozen=True)
class CrossEntropy(Cost):
    """C = −Σ y log softmax(o/v_0), with targets y ≥ 0 that sum to 1; with it β is in [A·V].

    Parameters
    ----------
    logit_scale : float
        v_0, the output voltage that counts as one logit; positive. [V]
    """

    logit_scale: float = 1.0

    def __post_init__(self):
        if not (0 < self.logit_scale < float("inf")):
            raise StimulusError(f"CrossEntropy: logit_scale must be positive and finite, found {self.logit_scale}")

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return -(targets * torch.log_softmax(outputs / self.logit_scale, -1)).sum(-1)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (torch.softmax(outputs / self.logit_scale, -1) - targets) / self.logit_scale

    def value_and_gradient(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        logarithm = torch.log_softmax(outputs / self.logit_scale, -1)
        return -(targets * logarithm).sum(-1), (logarithm.exp() - targets) / self.logit_scale

    def gradient_change(self, outputs: Tensor, change: Tensor) -> Tensor:
        # p(o + d) − p(o) = p (e − p·e)/(1 + p·e) with e = expm1(d/v_0): no difference of near-equal numbers.
        probability = torch.softmax(outputs / self.logit_scale, -1)
        large = torch.softmax((outputs + change) / self.logit_scale, -1) - probability
        small = torch.expm1(change / self.logit_scale)
        mean = (probability * small).sum(-1, keepdim=True)
        exact = probability * (small - mean) / (1 + mean)
        usable = change.abs().amax(-1, keepdim=True) < self.logit_scale
        return torch.where(usable, exact, large) / self.logit_scale

    def hessian(self, outputs: Tensor) -> Tensor:
        probability = torch.softmax(outputs / self.logit_scale, -1)
        outer = probability[..., :, None] * probability[..., None, :]
        return (torch.diag_embed(probability) - outer) / self.logit_scale**2

    @property
    def curvature_bound(self) -> float:
        # diag(p) − p pᵀ has no eigenvalue above ½, by Gershgorin: p(1 − p) + p(1 − p) ≤ ½.
        return 0.5 / self.logit_scale**2

    def error_expressions(self, outputs: Sequence[str], targets: Sequence[str]) -> tuple[list[str], float]:
        # softmax_i = 1/Σ_j exp((o_j − o_i)/v_0), which does not overflow into 0/0 as a quotient of exponentials does.
        sums = ["+".join(f"exp(({other}-{o})/{float(self.logit_scale)!r})" for other in outputs) for o in outputs]
        return [f"{y}-1/({total})" for total, y in zip(sums, targets, strict=True)], self.logit_scale

    def value_expression(self, outputs: Sequence[str], targets: Sequence[str]) -> str:
        # -ln softmax_i = ln Σ_j exp((o_j − o_i)/v_0), in which nothing cancels.
        sums = ["+".join(f"exp(({other}-{o})/{float(self.logit_scale)!r})" for other in outputs) for o in outputs]
        return "+".join(f"{y}*ln({total})" for total, y in zip(sums, targets, strict=True))

    def encode(self, labels: Tensor, n_classes: int, like: Tensor) -> Tensor:
        return _one_hot(labels, n_classes, like)


def _one_hot(labels: Tensor, n_classes: int, like: Tensor) -> Tensor:
    if labels.numel() and not (int(labels.min()) >= 0 and int(labels.max()) < n_classes):
        raise StimulusError(
            f"labels must lie in 0…{n_classes - 1}, found {int(labels.min())}…{int(labels.max())}; "
            f"the network has {n_classes} outputs"
        )
    return torch.nn.functional.one_hot(labels.long(), n_classes).to(like)


@dataclass(frozen=True, eq=False)
class Nudge:
    """A current −β ∂C/∂o into the outputs: into v₊, and out of v₋.

    Parameters
    ----------
    strength : float
        β; [S] for `SquaredError`, [A·V] for `CrossEntropy`. Negative for the negative phase.
    target : Tensor (*batch, n_outputs)
        Targets of the cost.
    cost : Cost
        C.
    kind : "frozen" or "elastic"
        Frozen: the constant current of the free state's error, as a sample-and-hold gives it; always stable.
        Elastic: the current follows the live output, so that the network minimises E + w_L β C; with β < 0 stable only
        up to a bound.
    """

    strength: float
    target: Tensor
    cost: Cost
    kind: NudgeKind = "frozen"

    def __post_init__(self):
        if self.kind not in ("frozen", "elastic"):
            raise StimulusError(f"a nudge is frozen or elastic, found {self.kind!r}")
        if not math.isfinite(as_number("the nudging strength", self.strength)):
            raise StimulusError(f"the nudging strength must be finite, found {self.strength}")
        object.__setattr__(self, "target", as_tensor("the targets of a nudge", self.target))
        require_finite("the targets of a nudge", self.target)

    def applied_to(self, inputs: Tensor, n_outputs: int, shape: tuple[int, ...] = ()) -> Nudge:
        """The same nudge with its targets, flat or of a `shape`, in the precision of the inputs.

        Raises
        ------
        StimulusError
            If the targets are not those of these samples, or the strength is beyond this precision.
        """
        target = as_targets(self.target, inputs, n_outputs, shape)
        require_strength(self.strength, inputs.dtype)
        return self if target is self.target else replace(self, target=target)

    def current(self, outputs: Tensor) -> Tensor:
        """Current into v₊ and out of v₋ at `outputs`. [A]"""
        return -self.strength * self.cost.gradient(outputs, self.target)

    def scaled(self, strength: float) -> Nudge:
        """The same nudge at another strength."""
        return replace(self, strength=strength)
