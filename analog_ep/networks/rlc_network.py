"""A linear circuit whose resistors, capacitors and inductors learn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit import Circuit, TunableAdmittance
from analog_ep.errors import NetworkError


class Tuned(NamedTuple):
    """Elements of one group that learn: the group as it is described, its parameter, and places in that."""

    group: TunableAdmittance
    parameter: str
    index: Tensor


class RLCNetwork(torch.nn.Module):
    """Conductances, capacitances and inductances of a circuit as parameters θ = p/p_ref, p_ref what they begin with.

    Every group with a `parameter` learns; groups with the same name share it, and elements with the same index are one
    quantity. A name stands for quantities of one kind.

    Parameters
    ----------
    circuit : Circuit
        With outputs, and `Conductances`, `Capacitors` or `Inductors` that carry parameters.
    bounds : mapping of str to (float, float)
        Least and largest value of each parameter, in its unit. [S], [F], [H]

    Attributes
    ----------
    references : dict of str to Tensor (n_parameters,)
        p_ref, in the unit of the kind.

    Raises
    ------
    NetworkError
        If nothing learns, bounds are missing or no range, a value lies outside them, or indices leave gaps or begin
        with different values.
    """

    def __init__(self, circuit: Circuit, bounds: Mapping[str, tuple[float, float]]):
        super().__init__()
        self._described, self.references = circuit, {}
        self._groups = list(_tuned(circuit))
        names = {each.parameter for each in self._groups}
        if not names or names != set(bounds):
            raise NetworkError(
                f"bounds must be given for every parameter of the circuit, found parameters {sorted(names)} and bounds "
                f"of {sorted(bounds)}; give elements that learn a parameter and an index"
            )
        self._bounds = {name: (float(low), float(high)) for name, (low, high) in bounds.items()}
        for name in sorted(names):
            self.references[name] = _first_values(name, self._groups, self._bounds[name])
            self.register_parameter(name, torch.nn.Parameter(torch.ones_like(self.references[name])))

    def values(self) -> dict[str, Tensor]:
        """P of every parameter, in its unit."""
        return {name: theta.detach() * self.references[name] for name, theta in self.named_parameters()}

    def circuit(self) -> Circuit:
        """The circuit with the values as they are now."""
        values = {name: each.numpy() for name, each in self.values().items()}
        return self._described.with_groups(group.tuned(values) for group in self._described.groups)

    def tuned(self) -> Iterator[tuple[Tuned, TunableAdmittance]]:
        """Every group that learns, as described and with the present values."""
        values = {name: each.numpy() for name, each in self.values().items()}
        return ((each, each.group.tuned(values)) for each in self._groups)

    @torch.no_grad()
    def clip(self) -> None:
        """Put every parameter into its bounds."""
        for name, theta in self.named_parameters():
            low, high = self._bounds[name]
            theta.copy_(theta.clamp(low / self.references[name], high / self.references[name]))


def _tuned(circuit: Circuit) -> Iterator[Tuned]:
    for group in circuit.of_kind(TunableAdmittance):
        if group.parameter is not None:
            yield Tuned(group, group.parameter, torch.from_numpy(np.array(group.index)))


def _first_values(name: str, groups: list[Tuned], bounds: tuple[float, float]) -> Tensor:
    own = [each for each in groups if each.parameter == name]
    if len({each.group.tuned_field for each in own}) > 1:
        raise NetworkError(f"{name}: one parameter must stand for elements of one kind, found several; name them apart")
    index = torch.cat([each.index for each in own])
    begin = torch.cat([torch.from_numpy(np.array(getattr(each.group, each.group.tuned_field))) for each in own])
    values = torch.full((int(index.max()) + 1,), torch.nan, dtype=torch.float64)
    values[index] = begin
    if bool(values.isnan().any()) or bool((values[index] != begin).any()):
        raise NetworkError(f"{name}: indices must run without a gap, with one value each, found {index.tolist()}")
    low, high = bounds
    if not 0 < low < high < float("inf") or bool(((values < low) | (values > high)).any()):
        found = f"values of {float(values.min()):g} to {float(values.max()):g}"
        raise NetworkError(
            f"{name}: bounds must be a positive range about the first values, found {bounds} and {found}"
        )
    return values
