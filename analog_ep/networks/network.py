"""What every trainable network gives, whatever its energy."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cached_property
from typing import Generic, Self, TypeVar

import torch
from torch import Tensor

from analog_ep.circuit import Chip, Circuit
from analog_ep.devices import Clamp
from analog_ep.networks.activation import Activation
from analog_ep.networks.crossbar import Crossbar
from analog_ep.networks.described import Described
from analog_ep.networks.extent import Extent
from analog_ep.networks.layout import ArrayLayout, Drive, StageLayout
from analog_ep.networks.leaky_integrators import LeakyIntegrators
from analog_ep.networks.lines import Lines
from analog_ep.networks.operator import Operator
from analog_ep.networks.sizes import require_precision
from analog_ep.networks.stage import Stage
from analog_ep.stimulus import Nudge, as_inputs, as_targets, require_finite, require_samples

Answer = TypeVar("Answer")


class Network(Described, torch.nn.Module, ABC):
    """A network whose equilibria minimise an energy; its parameters are dimensionless.

    What depends on the equations that a network has is asked as a `Question`, which `answer` sends to the fitting one
    of its methods.
    """

    sizes: tuple[int, ...]
    """Units of the inputs, the hidden layers and the outputs."""
    parameter_scale: float
    """Physical value that a parameter of 1 stands for: g_ref [S] for conductances, 1 for plain weights."""

    @property
    def n_inputs(self) -> int:
        """Number of inputs."""
        return self.sizes[0]

    @property
    def n_outputs(self) -> int:
        """Number of outputs; in circuits these are differential."""
        return self.sizes[-1]

    @property
    def image_shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shape of an input and of an output that are images, (channels, height, width); () of those that are not."""
        return (), ()

    @property
    def n_stages(self) -> int:
        """Number of connections between layers: one less than there are layers, inputs included."""
        return len(self.sizes) - 1

    def precision(self) -> Tensor:
        """A tensor in the type and on the device of the parameters.

        Raises
        ------
        NetworkError
            If no equilibrium is solved in that type.
        """
        # Every step asks: a walk through the modules takes as long as a product with a small crossbar.
        like = next(iter(self._parameters.values()), None)
        like = next(self.parameters(), None) if like is None else like
        if like is None:
            return torch.empty(0, dtype=torch.float64)
        require_precision(like.dtype)
        return like

    def stimulus(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs `(*batch, n_inputs)` and targets `(*batch, n_outputs)`, of any real type, in its own precision.

        Raises
        ------
        StimulusError
            If they do not fit the network or each other, there is no sample, or a target is not finite.
        """
        inputs, targets = self.shaped_stimulus(inputs, targets)
        require_finite("targets", targets)
        return inputs, targets

    def shaped_stimulus(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """As `stimulus`, for a caller that sees for itself what is not finite."""
        like = self.precision()
        inputs = as_inputs(inputs, self.n_inputs, like.dtype, like.device, self.image_shapes[0])
        require_samples(inputs)
        return inputs, as_targets(targets, inputs, self.n_outputs, self.image_shapes[1])

    @abstractmethod
    def outputs_of(self, layers: tuple[Tensor, ...]) -> Tensor:
        """Outputs `(*batch, n_outputs)` from the layers. [V] in circuits"""

    @abstractmethod
    def energy(self, inputs: Tensor, layers: tuple[Tensor, ...]) -> Tensor:
        """Energy of a state, `(*batch,)`. [W] in circuits"""

    @abstractmethod
    def contrast(
        self, inputs: Tensor, layers: tuple[Tensor, ...], response: tuple[Tensor, ...], *, linear: bool = False
    ) -> dict[str, Tensor]:
        """Sum over the batch of ∂E/∂p at the state u + d less that at u, for every parameter, by name.

        p is the physical parameter, `parameter_scale` times the dimensionless one, and E is counted in units of the
        output stage's weight. `response` d is the change of the layers; the difference is formed without cancellation,
        or, where `linear` is set, to first order in d.
        """

    def answer(self, question: Question[Answer]) -> Answer:
        """What the question's method for this kind of network gives."""
        return question.network(self)

    def read(
        self,
        layers: tuple[Tensor, ...],
        chip: Chip | None,
        generator: torch.Generator | None = None,
        known: Chip | None = None,
    ) -> tuple[Tensor, ...]:
        """What a chip's converters read of the layers; offsets that are `known` are taken off. [V]

        Without converters these are the layers themselves; without a generator the converters have no noise.
        """
        return layers if chip is None else chip.read(layers, generator, known)

    def stage_parameters(self) -> list[list[torch.nn.Parameter]]:
        """The parameters of each stage, from the inputs on: what a learning rate for each stage applies to."""
        return [[parameter] for parameter in self.parameters()]


class HardwareNetwork(Network):
    """A network that is a circuit; its parameters are named as in the circuit."""

    nudge_scale: float = 1.0
    """What a nudging strength of 1 stands for in the circuit, whose unit of it is that of `Nudge`."""

    several_minima: bool = False
    """Whether the energy may have several minima: an operating point then has to begin near the one that is meant."""

    def answer(self, question: Question[Answer]) -> Answer:
        return question.circuit(self)

    def as_built(self) -> Self:
        """A float64 copy on the CPU whose elements are those of its netlist, where its own have no card."""
        return copy.deepcopy(self).double().cpu()

    @property
    def has_contrast(self) -> bool:
        """Whether `contrast` is formed: that of a circuit without an energy is refused unless it was asked for."""
        return True

    def as_measured(self) -> Self:
        """Itself, or a copy that also forms its contrast where it has no energy, as hardware would."""
        return self

    def in_circuit(self, nudge: Nudge) -> Nudge:
        """The nudge with the strength that it has in the circuit."""
        return nudge.scaled(self.nudge_scale * nudge.strength)

    @abstractmethod
    def circuit(self, chip: Chip | None = None) -> Circuit:
        """The hardware, with the parameters as they are now, and with a chip's mismatch where one is given."""

    @abstractmethod
    def node_voltages(self, inputs: Tensor, layers: tuple[Tensor, ...], chip: Chip | None = None) -> Tensor:
        """Voltages of all nodes of `circuit()`, ground first, `(*batch, n_nodes)`, from those of the layers. [V]"""

    @abstractmethod
    def layers_of(self, voltages: Tensor) -> tuple[Tensor, ...]:
        """Layer voltages, each `(*batch, n_units)`, from those of all nodes. [V]"""


class RangedNetwork(HardwareNetwork):
    """A circuit whose parameters θ = p/p_ref are physical quantities of one kind, within a range."""

    @property
    @abstractmethod
    def parameter_range(self) -> tuple[float, float]:
        """Least and largest value of p, in its unit; of all where parameters have ranges of their own."""

    def range_of(self, label: str) -> tuple[float, float]:
        """Least and largest value of the p of this name, in its unit."""
        return self.parameter_range

    def theta_range(self, label: str) -> tuple[float, float]:
        """Ends of the range of the parameter θ = p/p_ref of this name."""
        low, high = self.range_of(label)
        return low / self.parameter_scale, high / self.parameter_scale

    def answer(self, question: Question[Answer]) -> Answer:
        return question.ranged(self)

    def note_projection(self, parameters: Iterable[Tensor]) -> None:
        """Say that these parameters have just been put into their range."""

    @abstractmethod
    def weight_shares(self) -> dict[str, Tensor | float]:
        """w/w_L of each element's energy to the outputs', by parameter: one for all, or in the parameter's shape."""

    @abstractmethod
    def contrast(
        self,
        inputs: Tensor,
        layers: tuple[Tensor, ...],
        response: tuple[Tensor, ...],
        *,
        linear: bool = False,
        known: Chip | None = None,
        chip: Chip | None = None,
    ) -> dict[str, Tensor]:
        """Sum over the batch of (w/w_L) [∂φ/∂p (v + d) − ∂φ/∂p (v)], φ the co-content, for each element.

        `response` d is the change of the layers; of a conductance d (v + d/2) is formed, or, if `linear`, d v.
        What amplifiers drive follows from their inputs by the gains and offsets of the chip `known`; by the nominal
        ones without it. `chip` is what the states are of: within crossbars whose lines have resistance, the voltage at
        each device follows from its conductances.
        """


class ConductanceNetwork(RangedNetwork):
    """A circuit whose parameters are conductances θ = g/g_ref within a range, and nothing else."""

    conductance_range: tuple[float, float]
    """g_min and g_max; the smallest and the largest of all where parameters have ranges of their own. [S]"""
    reference_conductance: float
    """g_ref. [S]"""

    def answer(self, question: Question[Answer]) -> Answer:
        return question.conductances(self)

    @property
    def parameter_range(self) -> tuple[float, float]:
        return self.conductance_range

    @property
    def arrays(self) -> tuple[ArrayLayout, ...]:
        """How the elements of each parameter lie on the hardware, in the order of the parameters."""
        return tuple(ArrayLayout(name, tuple(theta.shape)) for name, theta in self.named_parameters())

    @property
    def conductances(self) -> dict[str, Tensor]:
        """Conductances by the name of their parameter, in its shape. [S]"""
        return {name: theta.detach() * self.reference_conductance for name, theta in self.named_parameters()}

    @abstractmethod
    def set_conductances(self, conductances: dict[str, Tensor]) -> None:
        """Set conductances by the name of their parameter, each in its shape. [S]

        Raises
        ------
        NetworkError
            If one is missing, has another shape, or lies outside the range; nothing is set then.
        """


class CrossbarNetwork(ConductanceNetwork):
    """Stages, such as crossbars, between layers whose nodes see their neighbours alone: a layer is solved at once.

    Attributes
    ----------
    operators, extents : tuple of Operator, tuple of Extent
        The stages as they were asked for, and how the units of each layer lie, from the inputs to the outputs.
    clamps : tuple of Clamp
        Diodes of each hidden layer that has some; `clamped_layers` says which.
    lines : Lines
        What connects the cells of crossbars with sources and nodes.
    gain, feedback : float
        Amplifiers' a and k.
    drive : "single" or "differential"
        Whether an amplifier drives a·u alone or ±a·u.
    bias_voltage : float or None
        Rows at ± this voltage end each crossbar. [V]
    """

    operators: tuple[Operator, ...]
    extents: tuple[Extent, ...]
    clamps: tuple[Clamp, ...]
    lines: Lines
    gain: float
    feedback: float
    drive: Drive
    bias_voltage: float | None

    def theta(self, label: str) -> torch.nn.Parameter:
        """The parameter θ = g/g_ref of this name, found without the checks of `get_parameter`: steps ask often."""
        return getattr(self, label)

    def answer(self, question: Question[Answer]) -> Answer:
        return question.crossbars(self)

    @cached_property
    def image_shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        first, last = (extent.shape if extent.is_maps else () for extent in (self.extents[0], self.extents[-1]))
        return first, last

    @property
    def arrays(self) -> tuple[ArrayLayout, ...]:
        return tuple(layout.array for layout in self.layouts if layout.learns)

    @property
    @abstractmethod
    def layouts(self) -> tuple[StageLayout, ...]:
        """Where the conductances of each stage lie."""

    @property
    def couplings(self) -> tuple[tuple[float, float], ...]:
        """Nominal a and k before each stage: 1 and 0 of sources, 1 and 1 where no amplifiers are."""
        behind = [(1.0, 1.0) if layout.passive else (self.gain, self.feedback) for layout in self.layouts[1:]]
        return ((1.0, 0.0), *behind)

    @property
    @abstractmethod
    def weight_ratios(self) -> tuple[float, ...]:
        """w_s / w_L of each stage's energy to the output stage's."""

    def weight_shares(self) -> dict[str, Tensor | float]:
        pairs = zip(self.layouts, self.weight_ratios, strict=True)
        return {layout.label: ratio for layout, ratio in pairs if layout.learns}

    @property
    @abstractmethod
    def clamped_layers(self) -> tuple[int, ...]:
        """Hidden layers, counted from 1, that have diodes."""

    @property
    @abstractmethod
    def spice_clamps(self) -> tuple[Clamp, ...]:
        """The clamps as a circuit has them: ideal diodes with stand-ins for the present conductances."""

    @abstractmethod
    def stages(self, chip: Chip | None = None) -> tuple[Stage, ...]:
        """The stages as the layer equations need them.

        Raises
        ------
        NetworkError
            If a conductance is not positive and finite, or the chip has mismatch that these equations do not hold.
        """

    @abstractmethod
    def rewired(self, lines: Lines) -> Self:
        """A copy with other lines."""

    @abstractmethod
    def crossbar(self, s: int, chip: Chip | None = None) -> Crossbar:
        """The conductances of stage s, from 0 on, as they are now, or as a chip has them."""

    @abstractmethod
    def amplifiers(self, s: int, chip: Chip | None, like: Tensor) -> tuple[float | Tensor, float | Tensor]:
        """Gains a and offsets [V] of the amplifiers before crossbar s, each one for all or `(n_in,)`."""

    @abstractmethod
    def layer_clamps(self, like: Tensor, chip: Chip | None = None) -> tuple[Clamp | None, ...]:
        """The clamp of each layer in the dtype of `like`; None at the outputs."""

    @abstractmethod
    def require_conductances(self) -> None:
        """Raise `NetworkError` for parameters that are no conductances, unless `note_projection` vouches for them."""


class UnitNetwork(HardwareNetwork):
    """Layers of leaky integrators with symmetric weights, each unit driven by the rates of its neighbours.

    Attributes
    ----------
    activation : Activation
        ρ, from a state to a rate.
    hardware : LeakyIntegrators
        What the units are made of.
    """

    several_minima = True
    activation: Activation
    hardware: LeakyIntegrators

    def answer(self, question: Question[Answer]) -> Answer:
        return question.units(self)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of layers 1 … L in the circuit."""
        return (*(f"h{layer}" for layer in range(1, self.n_stages)), "o")

    @property
    @abstractmethod
    def weights(self) -> tuple[torch.nn.Parameter, ...]:
        """W_1 … W_L."""

    @property
    @abstractmethod
    def biases(self) -> tuple[torch.nn.Parameter, ...]:
        """b_1 … b_L."""

    @abstractmethod
    def rest(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """The state in which every unit is at 0, each layer `(*batch, n_units)`, in the parameters' dtype."""

    @abstractmethod
    def force(
        self,
        inputs: Tensor,
        layers: tuple[Tensor, ...],
        nudge: Nudge | None = None,
        free_outputs: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """−∂F/∂u of each layer, `(*batch, n_units)`: du/dt of the leaky integrators, F = E + β C.

        A nudge's force −β ∂C/∂u acts on the outputs; a frozen one takes its error at `free_outputs`, by default, and
        for an elastic nudge, at the outputs of `layers`.
        """


class Question(ABC, Generic[Answer]):
    """What depends on the equations that a network has: one method for each kind that has an answer of its own.

    A method that is not given answers as for the more general kind: crossbars in layers as any network of conductances,
    those and layers of units as any circuit, a circuit as any network.
    """

    @abstractmethod
    def network(self, network: Network) -> Answer:
        """Of a network of which nothing more is known."""

    def circuit(self, network: HardwareNetwork) -> Answer:
        """Of one that is a circuit."""
        return self.network(network)

    def ranged(self, network: RangedNetwork) -> Answer:
        """Of a circuit whose parameters are physical quantities within a range."""
        return self.circuit(network)

    def conductances(self, network: ConductanceNetwork) -> Answer:
        """Of a circuit whose parameters are conductances."""
        return self.ranged(network)

    def crossbars(self, network: CrossbarNetwork) -> Answer:
        """Of crossbars in layers."""
        return self.conductances(network)

    def units(self, network: UnitNetwork) -> Answer:
        """Of leaky integrators in layers."""
        return self.circuit(network)
