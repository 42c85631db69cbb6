"""The law of currents that follow those of sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analog_ep.circuit.laws import ONE_WAY, Branches
from analog_ep.circuit.nodes import Indices, Values


@dataclass(frozen=True, eq=False)
class CurrentFollower(Branches):
    """The current, from the positive node to the negative one, is gain times that of a voltage source."""

    positive: Indices
    negative: Indices
    control_label: str
    control: Indices
    gain: Values

    has_law: ClassVar[bool] = True
    law_method: ClassVar[str] = "followed"
    values: ClassVar[tuple[str, ...]] = ("gain",)

    def __post_init__(self):
        super().__post_init__()
        self._set("control", np.atleast_1d(self.control), np.int64, len(self))

    def followed(self) -> tuple[str, np.ndarray]:
        return self.control_label, self.control

    def irreciprocity(self) -> str:
        return ONE_WAY

    def is_controlled(self) -> bool:
        return True
