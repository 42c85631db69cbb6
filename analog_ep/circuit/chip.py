"""One piece of hardware: its drawn mismatch and faults, and what stands at its boundary."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from analog_ep.circuit.cells import Cells
from analog_ep.circuit.circuit import Circuit, common_temperature, require_temperature
from analog_ep.circuit.converters import Converters
from analog_ep.circuit.drawing import require_spread, stream
from analog_ep.circuit.laws import Branches
from analog_ep.circuit.learning_circuit import LearningCircuit
from analog_ep.circuit.places import n_places, placed
from analog_ep.errors import CheckpointError, CircuitError
from analog_ep.support.files import require_regular, write_atomically

_WIDEST = 100
"""σ of a log-normal factor at most: no factor is infinite or 0."""

_FORMAT, _BY_ELEMENT = "analog_ep chip 2", "analog_ep chip 1"
"""Formats of the file; in the old one, arrays were in the order of the circuit's elements."""

_PARTS: dict[str, type[LearningCircuit] | type[Converters]] = {"learning": LearningCircuit, "converters": Converters}


@dataclass(frozen=True, eq=False)
class Chip:
    """What one piece of hardware has in place of the nominal circuit, drawn once.

    Solvers take it as ``chip=``, and `network.circuit(chip)` is the same chip for ngspice. Its branches stand in
    `factors` and `values`. What is at its boundary, converters and learning circuits, acts where gradients are formed
    and outputs are read: see `analog_ep.learning.gradients.measured`.

    Attributes
    ----------
    factors : dict of str to ndarray
        On the nominal parameters. Key "label.parameter", such as "stage1.siemens" or
        "clamp1_upper.saturation_current"; one factor an element. Those of a trainable group are in the order of its
        parameter, flattened row by row, as `LearningCircuit.bias` is; others in the order of the circuit's group.
    values : dict of str to ndarray
        In place of nominal value and factor, by the same keys: amplifiers' offsets, faulty cells, temperatures. NaN
        for elements that have none. SI units.
    learning : LearningCircuit or None
        What the updates see of the contrast; None for the contrast itself.
    converters : Converters or None
        At inputs and reads; None where these are ideal.
    cells : Cells or None
        How the cells hold what is written into them; None for ideal ones. Stuck and open cells are `values`.
    twin : Chip or None
        A second array, programmed with the same conductances, on which the later of the two phases runs; None where
        one array runs all phases in turn. Only its `factors` and `values` count.
    temperature : float or None
        Of the whole chip, resistors' noise included; the junctions' own stand in `values`. None for the one that
        `values` give to all junctions, or else the nominal circuit's. [K]
    """

    factors: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    learning: LearningCircuit | None = None
    converters: Converters | None = None
    cells: Cells | None = None
    twin: Chip | None = None
    temperature: float | None = None

    def __post_init__(self):
        if self.temperature is not None:
            require_temperature("a chip", self.temperature)

    @classmethod
    def draw(cls, circuit: Circuit, seed: int, **spread: float) -> Chip:
        """Draw log-normal factors exp(σ ξ), and offsets σ ξ, ξ standard normal.

        Parameters
        ----------
        circuit : Circuit
            The nominal circuit.
        seed : int
            Each group and parameter has a stream of its own, so adding a spread does not change the other draws.
        **spread : float
            σ by parameter name: `siemens`, `saturation_current`, `ideality`, `gain`, `feedback`, `farads`, …, each
            relative to the nominal value; `offset` of amplifiers, and `gate_threshold`, of transistors whose
            parameters are given one by one, are σ ξ, too [V]; and `threshold` of ideal and piecewise-linear
            diodes [V], of which the magnitude |σ ξ| is added to every threshold: without a source inside, a diode does
            not conduct at a negative voltage.

        Raises
        ------
        CircuitError
            If a parameter is found nowhere in the circuit, or a spread is negative.
        """
        factors: dict[str, np.ndarray] = {}
        values: dict[str, np.ndarray] = {}
        for parameter, sigma in spread.items():
            require_spread(parameter, sigma)
            found = [group for group in circuit.groups if parameter in group.spread_names()]
            if not found:
                known = sorted({name for group in circuit.groups for name in group.spread_names()})
                raise CircuitError(f"no branch has a parameter {parameter!r}; there are {', '.join(known)}")
            for group in found:
                key = f"{group.label}.{group.spread_names()[parameter]}"
                normal = placed(group, stream(seed, key).standard_normal(len(group)))
                if parameter == "threshold":
                    values[key] = sigma * np.abs(normal)
                elif parameter == "offset":
                    values[key] = sigma * normal
                elif parameter == "gate_threshold":
                    own = group.parameters()[group.spread_names()[parameter]]
                    values[key] = placed(group, own, "parameters") + sigma * normal
                elif not 0 <= sigma <= _WIDEST:
                    raise CircuitError(f"the spread of {parameter!r} must lie in 0…{_WIDEST}, found {sigma}")
                else:
                    factors[key] = np.exp(sigma * normal)
        return cls(factors, values)

    @property
    def later(self) -> Chip:
        """The array that runs the later phase: the twin where there is one."""
        return self if self.twin is None else self.twin

    def read(
        self, layers: tuple[Tensor, ...], generator: torch.Generator | None = None, known: Chip | None = None
    ) -> tuple[Tensor, ...]:
        """What its converters read of the layer voltages, less offsets that are `known`; these without any. [V]"""
        if self.converters is None:
            return layers
        return self.converters.read(layers, generator, None if known is None else known.converters)

    def names(self) -> Iterator[str]:
        """Everything in which the branches differ from the nominal ones."""
        yield from dict.fromkeys([*self.factors, *self.values])

    def changes(self, key: str) -> bool:
        """Whether the chip has something of its own for "label.parameter"."""
        return key in self.factors or key in self.values

    def adjusted(self, key: str, nominal: Tensor) -> Tensor:
        """Parameters of one group's elements as this chip has them.

        Parameters
        ----------
        key : str
            "label.parameter".
        nominal : Tensor
            Nominal ones in the order of `factors`, of any shape: θ g_ref itself for a trainable group.

        Raises
        ------
        CircuitError
            If the chip has another number of elements.
        """
        factor, value = (self._tensor(kind, key, nominal) for kind in ("factors", "values"))
        result = nominal if factor is None else nominal * factor
        return result if value is None else torch.where(torch.isnan(value), result, value)

    def value(self, key: str, like: Tensor) -> Tensor:
        """What stands in place of the nominal parameters, in the shape and dtype of `like`; NaN where nothing does."""
        value = self._tensor("values", key, like)
        return torch.full_like(like, torch.nan) if value is None else value

    def _tensor(self, kind: str, key: str, like: Tensor) -> Tensor | None:
        """An array in the shape, dtype and on the device of `like`; made once for each."""
        array = getattr(self, kind).get(key)
        if array is None:
            return None
        at = (kind, key, like.shape, like.dtype, like.device)
        if at not in self._tensors:
            if array.shape != (like.numel(),):
                label = key.rpartition(".")[0]
                raise CircuitError(
                    f"this chip has {len(array)} elements in {label}, the circuit {like.numel()}; draw it for this "
                    "circuit"
                )
            self._tensors[at] = torch.from_numpy(array.copy()).reshape(like.shape).to(like)
        return self._tensors[at]

    @cached_property
    def _tensors(self) -> dict[tuple[object, ...], Tensor]:
        return {}

    def check(self, circuit: Circuit) -> None:
        """Raise `CircuitError` if the chip, with all its parts, was drawn for another circuit."""
        labels = {group.label for group in circuit.groups}
        unknown = sorted({key.split(".")[0] for key in self.names()} - labels)
        if unknown:
            raise CircuitError(f"this chip has branches {', '.join(unknown)} that the circuit lacks; draw it anew")
        known = {f"{group.label}.{name}" for group in circuit.groups for name in group.parameters()}
        unknown = sorted(set(self.names()) - known)
        if unknown:
            raise CircuitError(f"this chip has factors {', '.join(unknown)} that the circuit has no elements for")
        for group in circuit.groups:
            for name in group.parameters():
                self.adjusted(f"{group.label}.{name}", torch.empty(n_places(group), dtype=torch.float64))
        for part in (self.learning, self.converters, self.twin):
            if part is not None:
                part.check(circuit)

    def apply(self, circuit: Circuit) -> Circuit:
        """The circuit with this chip's parameters.

        Raises
        ------
        CircuitError
            If the chip was drawn for another circuit.
        """
        self.check(circuit)
        groups = tuple(self._applied(group) for group in circuit.groups)
        return replace(circuit, groups=groups, temperature=self._temperature_of(circuit, groups))

    def _temperature_of(self, circuit: Circuit, groups: tuple[Branches, ...]) -> float:
        if self.temperature is not None:
            return self.temperature
        heated = any(key.endswith(".temperature") for key in self.names())
        return common_temperature(groups, circuit.temperature) if heated else circuit.temperature

    def _applied(self, group: Branches) -> Branches:
        nominal = {
            name: torch.from_numpy(placed(group, value, "parameters"))
            for name, value in group.parameters().items()
            if self.changes(f"{group.label}.{name}")
        }
        if not nominal:
            return group
        adjusted = {name: self.adjusted(f"{group.label}.{name}", value).numpy() for name, value in nominal.items()}
        return group.with_parameters({name: value[group.places()] for name, value in adjusted.items()})

    def save(self, path: Path) -> None:
        """Write everything to one file of safetensors, whole or not at all."""
        arrays, facts = self.packed()
        header = {"format": _FORMAT, "facts": json.dumps(facts)}
        write_atomically(path, save({name: np.ascontiguousarray(arrays[name]) for name in arrays}, metadata=header))

    def packed(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """All arrays by their names in a file, and facts as JSON holds them; None for a part that is not there."""
        arrays = self._branch_arrays()
        facts: dict[str, Any] = {
            "twin": self.twin is not None,
            "temperature": [self.temperature, self.later.temperature],
        }
        facts["cells"] = None if self.cells is None else asdict(self.cells)
        if self.twin is not None:
            arrays |= {f"twin/{name}": array for name, array in self.twin._branch_arrays().items()}
        for name in _PARTS:
            part = getattr(self, name)
            own, facts[name] = ({}, None) if part is None else part.packed()
            arrays |= {f"{name}/{key}": array for key, array in own.items()}
        return arrays, facts

    def _branch_arrays(self) -> dict[str, np.ndarray]:
        factors = {f"factor/{key}": array for key, array in self.factors.items()}
        return factors | {f"value/{key}": array for key, array in self.values.items()}

    @classmethod
    def load(cls, path: Path, circuit: Circuit | None = None) -> Chip:
        """Read what `save` wrote.

        Parameters
        ----------
        path : Path
            The file.
        circuit : Circuit, optional
            The chip's; needed only for a file of the first format, whose arrays follow the circuit's elements.

        Raises
        ------
        CheckpointError
            If the file is missing, damaged, or something else, or of the first format without its circuit.
        """
        try:
            require_regular(path)
            with safe_open(path, framework="numpy") as file:
                header = file.metadata() or {}
                stored = header.get("format")
                if stored not in (_FORMAT, _BY_ELEMENT):
                    raise CheckpointError(f"{path} must be of format {_FORMAT!r}, found {stored!r}")
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            facts = json.loads(header["facts"])
            parts: dict[str, Any] = {
                name: None if facts[name] is None else kind.unpacked(_under(arrays, f"{name}/"), facts[name])
                for name, kind in _PARTS.items()
            }
            cells = None if facts["cells"] is None else Cells(**facts["cells"])
            # A chip that was saved before it had a temperature is at that of its circuit.
            kelvin, twin_kelvin = facts.get("temperature", (None, None))
            twin = None
            if facts["twin"]:
                twin = cls(_under(arrays, "twin/factor/"), _under(arrays, "twin/value/"), temperature=twin_kelvin)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} must be a whole chip, found none ({error}); draw it anew") from None
        own = _under(arrays, "factor/"), _under(arrays, "value/")
        chip = cls(*own, cells=cells, twin=twin, temperature=kelvin, **parts)
        if stored == _FORMAT:
            return chip
        if circuit is None:
            raise CheckpointError(f"{path} must be of format {_FORMAT!r}, found {stored!r}; give the chip's circuit")
        return chip._from_elements(circuit)

    def _from_elements(self, circuit: Circuit) -> Chip:
        """The chip whose arrays are in the order of the circuit's elements."""
        groups = {group.label: group for group in circuit.groups}

        def ordered(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            result = dict(arrays)
            for key, array in arrays.items():
                group = groups.get(key.rpartition(".")[0])
                # Of another circuit: `check` says so.
                if group is not None and array.shape == (len(group),):
                    result[key] = placed(group, array)
            return result

        twin = None if self.twin is None else self.twin._from_elements(circuit)
        return replace(self, factors=ordered(self.factors), values=ordered(self.values), twin=twin)


def _under(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
