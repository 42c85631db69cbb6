"""A training run in TOML: data, network, diodes, cost, gradient method, relaxation, training and update."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from analog_ep.cards import pulsed_device, require_device
from analog_ep.devices.pulses import PulseModel
from analog_ep.devices.selection import WriteScheme
from analog_ep.errors import CardError, DataError, DeviceParameterError
from analog_ep.learning.updates.schemes import Scheme, update_scheme
from analog_ep.spec.chip import ChipSpec, ConvertersSpec
from analog_ep.spec.circuit import CircuitSpec
from analog_ep.spec.convolutional import ConvolutionalSpec
from analog_ep.spec.costs import CostSpec, CrossEntropySpec
from analog_ep.spec.data import DataSpec
from analog_ep.spec.diodes import DiodeSpec, ShockleySpec, with_models
from analog_ep.spec.gradients import GRADIENTS, EquilibriumPropagationSpec, GradientSpec, GradientTable
from analog_ep.spec.hopfield import HopfieldSpec
from analog_ep.spec.network import NetworkTable
from analog_ep.spec.relaxation import RelaxationSpec, idle_keys
from analog_ep.spec.resistive import NetworkSpec
from analog_ep.spec.self_learning import SelfLearningSpec
from analog_ep.spec.table import TABLE, listed, quoted
from analog_ep.spec.transistors import TransistorsSpec
from analog_ep.spec.wires import WiresSpec


class _Table(BaseModel):
    model_config = TABLE


def _with_kind(value: Any) -> Any:
    """A network is resistive where it does not say what it is."""
    return {"kind": "resistive", **value} if isinstance(value, dict) else value


AnyNetworkSpec = Annotated[
    Annotated[
        NetworkSpec | ConvolutionalSpec | HopfieldSpec | CircuitSpec | TransistorsSpec, Field(discriminator="kind")
    ],
    BeforeValidator(_with_kind),
]

NETWORKS: dict[str, type[NetworkTable]] = {
    "resistive": NetworkSpec,
    "convolutional": ConvolutionalSpec,
    "hopfield": HopfieldSpec,
    "circuit": CircuitSpec,
    "transistors": TransistorsSpec,
}
"""Tables of all kinds of networks by name."""


class TrainingSpec(_Table):
    """How long, in which steps, from which seed.

    Attributes
    ----------
    epochs : int
        Passes over the training part.
    batch_size : int
        Samples a step; 0 for all.
    optimizer : "adam" or "sgd"
        Of `torch.optim`; what it proposes is kept within the range of the conductances, or written by devices.
    learning_rate : list of float
        One rate for all crossbars, or one each, of a circuit for each parameter; of the dimensionless θ = g/g_ref.
    momentum : float
        Momentum of sgd.
    weight_decay : float
        Share of every θ that a step of rate 1 takes off, apart from the gradient (AdamW's, arXiv:1711.05101; of sgd the
        same as a penalty). What both cells of a pair ±u have in common loads a node and carries no signal: it shrinks.
    schedule : "constant" or "cosine"
        Cosine: each step's rate falls along half a period, to zero at the end of the last epoch.
    input_noise : float
        Standard deviation of the Gaussian noise that each training input gets anew at every step, in the unit of the
        scaled features; it stands in for the noise of the input lines, and regularises.
    shift, flip : int, bool
        Pixels by which each training image moves at most, drawn anew at every step, and whether half of them are
        mirrored; of networks whose inputs are images.
    seed : int
        Seed of the split, the initial conductances, the shuffles, the noise and the random signs.
    dtype : "float32" or "float64"
        Type of the parameters and of the training; checks and netlists are in float64.
    """

    epochs: PositiveInt = 30
    batch_size: NonNegativeInt = 32
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: Annotated[list[PositiveFloat], BeforeValidator(listed), Field(min_length=1)] = [0.01]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: NonNegativeFloat = 0.0
    schedule: Literal["constant", "cosine"] = "cosine"
    input_noise: NonNegativeFloat = 0.0
    shift: NonNegativeInt = 0
    flip: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    dtype: Literal["float32", "float64"] = "float32"

    @model_validator(mode="after")
    def _momentum(self) -> TrainingSpec:
        if self.optimizer != "sgd" and self.momentum:
            raise ValueError(f'momentum has a meaning only with optimizer = "sgd", found {self.momentum}')
        return self


class UpdateSpec(_Table):
    """How devices are written; without this table conductances change as the optimiser proposes, within their range.

    Attributes
    ----------
    device : str
        A pulse model, a preset, a memristor, a card of one, or a CSV of pulses; see `analog_ep.cards.pulsed_device`.
    parameters : dict
        Fields of the model that differ from its own.
    scheme : str
        See `analog_ep.learning.updates.schemes.SCHEMES`.
    options : dict
        Fields of the scheme that differ from its own.
    write_scheme : "V/2" or "V/3", optional
        Voltages of a crossbar's lines in a pulse: other devices move by what they see of it. Without it they do not.
    held : "negative" or "positive", optional
        Row of each pair ±u whose devices are held fixed.
    """

    device: str
    parameters: dict[str, bool | int | float | list[float]] = {}
    scheme: str = "fixed"
    options: dict[str, bool | int | float | str] = {}
    write_scheme: WriteScheme | None = None
    held: Literal["negative", "positive"] | None = None

    @model_validator(mode="after")
    def _named(self) -> UpdateSpec:
        try:
            require_device(self.device)
        except (CardError, DataError) as error:
            raise ValueError(f"device: {error}") from None
        update_scheme(self.scheme)
        for key, build in (("parameters", self._device), ("options", self._scheme)):
            try:
                build()
            except DeviceParameterError as error:
                raise ValueError(f"{key}: {error}") from None
        return self

    def _device(self) -> PulseModel:
        return pulsed_device(self.device, **self.parameters)

    def _scheme(self) -> Scheme:
        return update_scheme(self.scheme, **self.options)


NOT_OF_OWN_CIRCUITS = (
    "twin",
    "levels",
    "retention",
    "diffusion",
    "comparator",
    "learning_bias",
    "learning_bias_mean",
)
"""What a chip may have only where an update from outside writes it."""


class Spec(_Table):
    """One training run. `diode` is one table for all hidden layers, or one each; it and all else of a circuit belong to
    resistive networks.
    """

    data: DataSpec = DataSpec()
    network: AnyNetworkSpec
    diode: Annotated[list[DiodeSpec], BeforeValidator(with_models), Field(min_length=1)] = [ShockleySpec()]
    wires: WiresSpec | None = None
    cost: CostSpec = CrossEntropySpec()
    gradient: GradientSpec = EquilibriumPropagationSpec()
    training: TrainingSpec = TrainingSpec()
    update: UpdateSpec | None = None
    chip: ChipSpec | None = None
    converters: ConvertersSpec | None = None
    relaxation: RelaxationSpec | None = None
    self_learning: SelfLearningSpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_kind(cls, value: Any) -> Any:
        return _with_defaults(value) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _of_the_data(self) -> Spec:
        if self.data.outputs is not None and self.cost.function != "squared_error":
            raise ValueError(
                f'cost.function must be "squared_error" with data.outputs, found "{self.cost.function}"; or name a '
                "column of classes: data.labels"
            )
        return self

    @model_validator(mode="after")
    def _of_the_network(self) -> Spec:
        for name in self.network.idle_tables:
            if name in self.model_fields_set:
                raise ValueError(
                    f'{name} has no meaning with network.kind = "{self.network.kind}"; leave the table out'
                )
        if self.network.image_shape is None and (self.training.shift or self.training.flip):
            raise ValueError(
                f'training.shift and training.flip need network.kind = "convolutional", found "{self.network.kind}"'
            )
        self.network.refuse(self.relaxation, self.gradient, self.cost.function)
        return self

    @model_validator(mode="after")
    def _of_the_method(self) -> Spec:
        for key, allowed, found in self._unmet(self.gradient):
            needed = " or ".join(quoted(value) for value in allowed)
            others = ", ".join(quoted(name) for name, table in GRADIENTS.items() if not any(self._unmet(table)))
            raise ValueError(
                f'gradient.method = "{self.gradient.method}" needs {key} = {needed}, found {quoted(found)}; methods '
                f"that fit are {others}"
            )
        return self

    def _unmet(self, gradient: GradientTable | type[GradientTable]) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
        """Keys that must have another value for a method: what they may have, and what was found."""
        for key, allowed in gradient.needs.items():
            table, _, name = key.partition(".")
            for each in listed(getattr(self, table)):
                if hasattr(each, name) and getattr(each, name) not in allowed:
                    yield key, allowed, getattr(each, name)

    @model_validator(mode="after")
    def _counts(self) -> Spec:
        hidden, stages = self.network.diode_layers, self.network.stages
        if len(self.diode) not in (1, hidden):
            raise ValueError(f"diode must be one table or {hidden}, one per hidden layer, found {len(self.diode)}")
        rates = self.training.learning_rate
        if stages is not None and len(rates) not in (1, stages):
            raise ValueError(f"training.learning_rate must be one rate or {stages}, one per crossbar, found {rates}")
        if self.update is not None and self.update.held:
            self.network.refuse_held()
        return self

    @model_validator(mode="after")
    def _of_the_wires(self) -> Spec:
        if self.wires is not None and not self.wires.known and (self.chip or self.converters):
            raise ValueError("wires.known must be true with [chip] or [converters], found false; leave one of them out")
        return self

    @model_validator(mode="after")
    def _learns_by_itself(self) -> Spec:
        if self.self_learning is None:
            if self.gradient.solver == "ngspice-learning":
                raise ValueError('gradient.solver = "ngspice-learning" needs a [self_learning] table; add one')
            return self
        for key, needed, found in (
            ("gradient.method", "ep", self.gradient.method),
            ("gradient.variant", "positive", getattr(self.gradient, "variant", "positive")),
            ("training.optimizer", "sgd", self.training.optimizer),
            ("training.schedule", "constant", self.training.schedule),
            ("training.batch_size", 1, self.training.batch_size),
            ("training.momentum", 0.0, self.training.momentum),
            ("training.weight_decay", 0.0, self.training.weight_decay),
            ("training.input_noise", 0.0, self.training.input_noise),
            ("training.shift", 0, self.training.shift),
            ("training.flip", False, self.training.flip),
            ("number of rates in training.learning_rate", 1, len(self.training.learning_rate)),
        ):
            if found != needed:
                raise ValueError(
                    f"self_learning circuits learn from one sample at a time by a positive nudge: {key} must be "
                    f"{quoted(needed)}, found {quoted(found)}"
                )
        for name in ("update", "converters"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"{name} has no meaning with self_learning, whose circuits are what writes; leave it out"
                )
        for name in NOT_OF_OWN_CIRCUITS if self.chip is not None else ():
            if name == "twin" and self.self_learning.form == "twin":
                continue
            if getattr(self.chip, name) != ChipSpec.model_fields[name].default:
                raise ValueError(f"chip.{name} has no meaning with self_learning, whose circuits write; leave it out")
        return self

    @model_validator(mode="after")
    def _warm(self) -> Spec:
        if self.chip is not None and self.chip.temperature is not None:
            for diode in self.diode:
                diode.require_at(self.chip.temperature)
        return self

    @model_validator(mode="after")
    def _measured(self) -> Spec:
        found = quoted(self.gradient.method)
        for name in ("chip", "converters"):
            table = getattr(self, name)
            if table is not None and not self.gradient.on_chips:
                others = ", ".join(quoted(name) for name, table in GRADIENTS.items() if table.on_chips)
                raise ValueError(f"{name} has no meaning with gradient.method = {found}; methods that fit are {others}")
            if table is not None and table.needs_phases and not self.gradient.measures:
                measuring = " or ".join(quoted(name) for name, table in GRADIENTS.items() if table.measures)
                raise ValueError(
                    f"{name} has what only phases that are run can show: gradient.method must be {measuring}, found "
                    f"{found}"
                )
        ranges = [] if self.converters is None else self.converters.adc_range or []
        layers = self.network.read_layers
        if len(ranges) not in (0, 1, layers):
            raise ValueError(f"converters.adc_range must be one range or {layers}, one per layer, found {ranges}")
        return self

    def with_files(self, change: Callable[[str], str]) -> Spec:
        """The same spec with other paths of the files that it names."""
        return self._with(self.data.with_paths(change), self.network.with_paths(change))

    def keep(self, folder: Path) -> Spec:
        """Copy the files that it names into a run folder, and give the spec with their paths from there."""
        return self._with(self.data.keep(folder), self.network.keep(folder))

    def same_files(self, other: Spec) -> bool:
        """Whether the files that two specs name hold the same, wherever they are."""
        return all(
            mine.contents() == theirs.contents()
            for mine, theirs in ((self.data, other.data), (self.network, other.network))
        )

    def _with(self, data: DataSpec, network: NetworkTable) -> Spec:
        return self.model_copy(update={"data": data, "network": network})

    def to_dict(self) -> dict[str, Any]:
        """Tables of plain values; optional keys that are not set are left out, and those that have no meaning."""
        others: dict[str, Any] = dict.fromkeys(self.network.idle_tables, True)
        if self.relaxation is not None:
            others["relaxation"] = set(idle_keys(self.network.kind, self.relaxation.method))
        return self.model_dump(mode="json", exclude_none=True, exclude=others)

    def to_toml(self) -> str:
        """The spec as `analog_ep.spec.load_spec` reads it."""
        return tomli_w.dumps(self.to_dict())

    def differences(self, other: Spec) -> list[str]:
        """Dotted names of the keys in which two specs differ."""
        mine, theirs = _flat(self.to_dict()), _flat(other.to_dict())
        return sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key))


def _with_defaults(tables: dict[str, Any]) -> dict[str, Any]:
    """Tables with what a kind of network, or data with targets, take for granted."""
    network, data = tables.get("network"), tables.get("data")
    kind = network.get("kind", "resistive") if isinstance(network, dict) else ""
    known = NETWORKS.get(kind) if isinstance(kind, str) else None
    usual = {} if known is None else dict(known.own_defaults)
    if isinstance(data, dict) and "outputs" in data:
        usual["cost"] = {"function": "squared_error"}
    result = dict(tables)
    for name, defaults in usual.items():
        given = tables.get(name, {})
        tags = {tag: defaults[tag] for tag in ("function", "method") if tag in defaults}
        if isinstance(given, dict) and all(given.get(tag, value) == value for tag, value in tags.items()):
            result[name] = defaults | given
    return result


def _flat(tables: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tables.items():
        if isinstance(value, dict):
            flat.update({f"{name}.{key}": entry for key, entry in value.items()})
        else:
            flat[name] = value
    return flat
