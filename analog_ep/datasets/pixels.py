"""Bytes of images as features."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

Channels = Literal[1, 3]
"""Grey, or red, green and blue."""

_LUMA = (0.299, 0.587, 0.114)
"""Of red, green and blue in grey, ITU-R BT.601; what Pillow's conversion takes, too."""


def grey(images: np.ndarray) -> np.ndarray:
    """Bytes `(n, 3, height, width)` as bytes `(n, 1, height, width)`."""
    total = sum(share * images[:, channel].astype(np.float32) for channel, share in enumerate(_LUMA))
    return np.rint(total).astype(np.uint8)[:, None]


def features(images: np.ndarray) -> Tensor:
    """Bytes `(n, channels, height, width)` as features in 0…1, `(n, channels · height · width)`."""
    return torch.from_numpy(images.reshape(len(images), -1)).to(torch.float32).div_(255)
