"""Acceleration of a fixed-point iteration, sample by sample."""

from __future__ import annotations

import torch
from torch import Tensor

_DEPTH = 5
_RIDGE = {torch.float32: 1e-7, torch.float64: 1e-15}
"""Regularises the least squares relative to the size of its matrix: below it the past steps are not told apart."""


class Anderson:
    """Combines past iterates x and images g(x) into a better next one [1]_.

    Every sample of a batch has its own combination. A sample whose last step did not come closer takes its image as
    it is, so a contraction stays one, and forgets its past, which may be of another valley.

    References
    ----------
    .. [1] H. F. Walker and P. Ni, "Anderson Acceleration for Fixed-Point Iterations," SIAM J. Numer. Anal. 49(4),
       1715–1735, 2011, doi:10.1137/10078356X, eq. (2.2).
    """

    def __init__(self):
        self._images: list[Tensor] = []
        self._steps: list[Tensor] = []

    def next(self, point: Tensor, image: Tensor) -> Tensor:
        """The next iterate `(*batch, n)` after `point`, whose image is `image`."""
        self._images = [*self._images, image][-_DEPTH - 1 :]
        self._steps = [*self._steps, image - point][-_DEPTH - 1 :]
        if len(self._steps) < 2:
            return image
        images, steps = (torch.stack(past, -1).diff(dim=-1) for past in (self._images, self._steps))
        gram = steps.mT @ steps
        size = gram.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
        ridge = (_RIDGE[point.dtype] * size).clamp(min=torch.finfo(point.dtype).tiny)
        gram = gram + ridge * torch.eye(gram.shape[-1], dtype=point.dtype, device=point.device)
        # Scaled to one: currents squared leave the range of single precision.
        scale = gram.diagonal(dim1=-2, dim2=-1).amax(-1)[..., None, None]
        weights, failed = torch.linalg.solve_ex(gram / scale, (steps.mT @ self._steps[-1][..., None]) / scale)
        before, now = (step.square().sum(-1) for step in self._steps[-2:])
        keep = (now < before) & (failed == 0) & torch.isfinite(weights).all(-1).all(-1)
        self._forget(~keep)
        return torch.where(keep[..., None], image - (images @ weights)[..., 0], image)

    def _forget(self, samples: Tensor) -> None:
        """Let some samples begin anew: their past becomes the present, which has no say in the least squares."""
        for past in (self._images, self._steps):
            past[:-1] = [torch.where(samples[..., None], past[-1], old) for old in past[:-1]]


class Secant:
    """Anderson acceleration with one past step, on the parts of an iterate as they are: a tenth of the work.

    It takes out the slowest mode of a contraction, which layers that all act back alike share. A sample whose last
    step did not come closer takes its image as it is.
    """

    def __init__(self):
        self._past: tuple[list[Tensor], list[Tensor]] | None = None

    def next(self, image: list[Tensor], step: list[Tensor]) -> list[Tensor]:
        """The next iterate after the one with this image, which is `step` away. Parts are `(*batch, n)`."""
        past, self._past = self._past, (image, step)
        if past is None:
            return image
        images, steps = past
        bend = differences(step, steps)
        along, bent = _dot(step, bend), _dot(bend, bend)
        closer = _dot(step, step) < _dot(steps, steps)
        weight = torch.where(closer & (bent > 0), along / bent, 0.0)[..., None]
        return [torch.lerp(new, old, weight) for new, old in zip(image, images, strict=True)]


def differences(these: list[Tensor], those: list[Tensor]) -> list[Tensor]:
    """Of two iterates, part by part."""
    return [this - that for this, that in zip(these, those, strict=True)]


def _dot(one: list[Tensor], other: list[Tensor]) -> Tensor:
    """Product of two iterates, `(*batch,)`."""
    return torch.stack([torch.linalg.vecdot(a, b) for a, b in zip(one, other, strict=True)]).sum(0)
