"""The training of a designer's netlist in TOML: the netlist, the table of its data, cost, gradient and training."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError, model_validator

from analog_ep.errors import SpecError
from analog_ep.spec.table import TABLE
from analog_ep.support.files import read_bounded

KIND = "circuit"
_MOST_BYTES = 2**20
_Pair = Annotated[list[PositiveFloat], Field(min_length=2, max_length=2)]
_Names = Annotated[list[str], Field(min_length=1)]


class _Table(BaseModel):
    model_config = TABLE


class CircuitSpec(_Table):
    """A netlist as a network: see `analog_ep.designs.read_netlist`; what is left out is marked in the deck.

    Attributes
    ----------
    netlist : str
        Path from the spec's folder.
    trainable : list of str
        Resistors, with ``*`` and ``?``.
    bounds : [float, float]
        Range of their conductances. [S]
    inputs : list of str
        Voltage sources.
    outputs : list of str
        Nodes, or pairs such as "a,b".
    """

    kind: Literal["circuit"]
    netlist: str
    trainable: _Names | None = None
    bounds: _Pair | None = None
    inputs: _Names | None = None
    outputs: _Names | None = None


class TableSpec(_Table):
    """A CSV file of samples.

    Attributes
    ----------
    table : str
        Path from the spec's folder.
    inputs : list of str
        Columns that drive the inputs, in their order. [V]
    outputs : list of str
        Columns with the targets of the outputs, in their order. [V]
    labels : str
        A column of classes 0, 1, … in place of targets.
    """

    table: str
    inputs: _Names
    outputs: _Names | None = None
    labels: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> TableSpec:
        if (self.outputs is None) == (self.labels is None):
            raise ValueError("outputs or labels must be given, one of them")
        return self


class CircuitCostSpec(_Table):
    """The cost: squared error, or the cross-entropy of classes with its scale of the outputs. [V]"""

    function: Literal["squared_error", "cross_entropy"] = "squared_error"
    logit_scale: PositiveFloat = 0.1


class CircuitGradientSpec(_Table):
    """`ImplicitDifferentiation`, for any circuit, or `SmallSignal`, equilibrium propagation in the limit of no nudge,
    for one that has an energy.
    """

    method: Literal["implicit", "small_signal"] = "implicit"


class CircuitTrainingSpec(_Table):
    """Epochs, samples a step (0 for all), Adam's rate in units of the largest conductance, the seed of shuffles."""

    epochs: PositiveInt = 100
    batch_size: NonNegativeInt = 0
    learning_rate: PositiveFloat = 0.01
    seed: NonNegativeInt = 0


class DesignSpec(_Table):
    """All that a training of a netlist needs."""

    network: CircuitSpec
    data: TableSpec
    cost: CircuitCostSpec = CircuitCostSpec()
    gradient: CircuitGradientSpec = CircuitGradientSpec()
    training: CircuitTrainingSpec = CircuitTrainingSpec()

    def to_toml(self) -> str:
        """The spec as text, without what is None."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))


def is_design_spec(path: Path) -> bool:
    """Whether a file is a spec whose network is of kind "circuit"."""
    try:
        tables = tomllib.loads(read_bounded(path, _MOST_BYTES).decode())
    except (OSError, ValueError, RecursionError):
        return False
    network = tables.get("network")
    return isinstance(network, dict) and network.get("kind") == KIND


def load_design_spec(path: Path) -> DesignSpec:
    """Read a spec.

    Raises
    ------
    SpecError
        If it cannot be read, has an unknown key, lacks one, or holds a value that is not allowed.
    """
    try:
        tables = tomllib.loads(read_bounded(path, _MOST_BYTES).decode())
    except OSError as error:
        raise SpecError(f"the spec {path} must be a readable file, found: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path} must be TOML in UTF-8, found: {error}") from None
    return parse_design_spec(tables, str(path))


def parse_design_spec(tables: dict[str, Any], origin: str) -> DesignSpec:
    """Check the tables of a spec; `origin` begins the message of an error."""
    try:
        return DesignSpec.model_validate(tables)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise SpecError(f"{origin}: {key} is required, found nothing") from None
        if first["type"] == "extra_forbidden":
            raise SpecError(f"{origin}: {key} is not a known key; take it out") from None
        if first["type"] == "value_error":
            raise SpecError(f"{origin}: {key}: {first.get('ctx', {}).get('error')}") from None
        words = first["msg"].replace("Input should", "must")
        raise SpecError(f"{origin}: {key} {words}, found {str(first['input'])[:60]!r}") from None
