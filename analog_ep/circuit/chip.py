"""One piece of hardware: its drawn mismatch."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from analog_ep.circuit.branches import Branches, Diodes
from analog_ep.circuit.circuit import Circuit
from analog_ep.errors import CircuitError


@dataclass(frozen=True, eq=False)
class Chip:
    """Per-element factors on the nominal parameters of a circuit, drawn once.

    Attributes
    ----------
    factors : dict of str to ndarray
        Key "label.parameter", such as "stage1.siemens" or "clamp1_upper.saturation_current"; one factor an element.
    """

    factors: Mapping[str, np.ndarray]

    @classmethod
    def draw(cls, circuit: Circuit, seed: int, **spread: float) -> Chip:
        """Draw log-normal factors exp(σ ξ), ξ standard normal.

        Parameters
        ----------
        circuit : Circuit
            The nominal circuit.
        seed : int
            Each group and parameter has a stream of its own, so adding a spread does not change the other draws.
        **spread : float
            σ by parameter name: `siemens`, `saturation_current`, `ideality`, `gain`, `feedback`, `farads`, …

        Raises
        ------
        CircuitError
            If a parameter is found nowhere in the circuit, or a spread is negative.
        """
        factors: dict[str, np.ndarray] = {}
        for parameter, sigma in spread.items():
            if not (np.isfinite(sigma) and sigma >= 0):
                raise CircuitError(f"the spread of {parameter} must be finite and not negative, found {sigma}")
            before = len(factors)
            for group in circuit.groups:
                if parameter in _parameters(group):
                    key = f"{group.label}.{parameter}"
                    stream = np.random.default_rng([seed, zlib.crc32(key.encode())])
                    factors[key] = np.exp(sigma * stream.standard_normal(len(group)))
            if len(factors) == before:
                known = sorted({name for group in circuit.groups for name in _parameters(group)})
                raise CircuitError(f"no branch has a parameter {parameter!r}; there are {', '.join(known)}")
        return cls(factors)

    def factor(self, label: str, parameter: str, n_elements: int) -> np.ndarray:
        """Factors of one group's parameter, `(n_elements,)`; ones where nothing was drawn."""
        factor = self.factors.get(f"{label}.{parameter}")
        if factor is None:
            return np.ones(n_elements)
        if factor.shape != (n_elements,):
            raise CircuitError(
                f"this chip has {len(factor)} elements in {label}, the circuit {n_elements}; draw it for this circuit"
            )
        return factor

    def apply(self, circuit: Circuit) -> Circuit:
        """The circuit with this chip's parameters.

        Raises
        ------
        CircuitError
            If the chip was drawn for another circuit.
        """
        labels = {group.label for group in circuit.groups}
        unknown = sorted({key.split(".")[0] for key in self.factors} - labels)
        if unknown:
            raise CircuitError(f"this chip has branches {', '.join(unknown)} that the circuit lacks; draw it anew")
        known = {f"{group.label}.{name}" for group in circuit.groups for name in _parameters(group)}
        unknown = sorted(self.factors.keys() - known)
        if unknown:
            raise CircuitError(f"this chip has factors {', '.join(unknown)} that the circuit has no elements for")
        return circuit.with_groups(self._applied(group) for group in circuit.groups)

    def _applied(self, group: Branches) -> Branches:
        own = [name for name in _parameters(group) if f"{group.label}.{name}" in self.factors]
        factors = {name: self.factor(group.label, name, len(group)) for name in own}
        if not factors:
            return group
        if isinstance(group, Diodes):
            scaled = {n: getattr(group.device, n) * torch.from_numpy(f.copy()) for n, f in factors.items()}
            return replace(group, device=replace(group.device, **scaled))  # pyright: ignore[reportArgumentType]
        return replace(group, **{name: getattr(group, name) * factor for name, factor in factors.items()})

    def save(self, path: Path) -> None:
        """Write the factors as safetensors."""
        save_file({key: np.ascontiguousarray(value) for key, value in self.factors.items()}, path)

    @classmethod
    def load(cls, path: Path) -> Chip:
        """Read what `save` wrote."""
        return cls(load_file(path))


def _parameters(group: Branches) -> tuple[str, ...]:
    if isinstance(group, Diodes):
        return tuple(
            f.name
            for f in fields(group.device)  # pyright: ignore[reportArgumentType]
            if isinstance(getattr(group.device, f.name), torch.Tensor)
        )
    return group.values
