"""Images that are moved and mirrored anew at every step, so that more can be learnt from few."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """Each image moved by whole pixels, and perhaps mirrored; each sample by a draw of its own.

    Pixels from beyond an edge are those of the edge, so that it holds for features of any scaling.

    Attributes
    ----------
    shape : (int, int, int)
        Channels, height and width of an image.
    shift : int
        Most pixels that it moves along either axis, all distances alike.
    flip : bool
        Whether half of the images are mirrored, left to right.
    """

    shape: tuple[int, int, int]
    shift: int = 0
    flip: bool = False

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Images `(n_samples, channels · height · width)`, moved; the generator is one of the CPU."""
        n, (channels, height, width) = len(inputs), self.shape
        moves = torch.randint(-self.shift, self.shift + 1, (2, n, 1), generator=generator)
        rows = (torch.arange(height) + moves[0]).clamp(0, height - 1)
        columns = (torch.arange(width) + moves[1]).clamp(0, width - 1)
        if self.flip:
            mirrored = torch.rand(n, 1, generator=generator) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        sample, channel = torch.arange(n)[:, None, None, None], torch.arange(channels)[None, :, None, None]
        places = (sample, channel, rows[:, None, :, None], columns[:, None, None, :])
        images = inputs.reshape(n, *self.shape)
        return images[tuple(each.to(inputs.device) for each in places)].reshape(n, -1)
