"""What is done to a circuit, in a batch or in one sample of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from analog_ep.stimulus import Nudge


@dataclass(frozen=True, eq=False)
class Sample:
    """What is done to the circuit: one sample of a batch.

    Attributes
    ----------
    inputs : ndarray (n_inputs,)
        Inputs. [V]
    nudge : Nudge or None
        An elastic one, with targets `(1, n_outputs)`.
    injected : ndarray (n_outputs,) or None
        Constant current into v₊ and out of v₋ of each output. [A]
    """

    inputs: np.ndarray
    nudge: Nudge | None = None
    injected: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Stimulus:
    """What is done to the circuit in a batch.

    Attributes
    ----------
    inputs : ndarray (n_samples, n_inputs)
        Inputs. [V]
    nudge : Nudge or None
        An elastic one, with targets `(n_samples, n_outputs)`.
    injected : ndarray (n_samples, n_outputs) or None
        Currents of a frozen one. [A]
    """

    inputs: np.ndarray
    nudge: Nudge | None = None
    injected: np.ndarray | None = None

    def select(self, samples: np.ndarray) -> Stimulus:
        """Some samples."""
        nudge, injected = self.nudge, None if self.injected is None else self.injected[samples]
        if nudge is not None:
            nudge = replace(nudge, target=nudge.target[torch.from_numpy(samples)])
        return Stimulus(self.inputs[samples], nudge, injected)

    def sample(self) -> Sample:
        """The first sample alone."""
        return Sample(self.inputs[0], self.nudge, None if self.injected is None else self.injected[0])
