"""Deep resistive networks: crossbars, diode layers and bidirectional amplifiers."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Self

import torch
from torch import Tensor

from analog_ep.circuit import Chip, Circuit
from analog_ep.devices import Clamp, Diode, IdealDiode, ShockleyDiode
from analog_ep.errors import NetworkError
from analog_ep.networks.chip_clamp import chip_clamp
from analog_ep.networks.crossbar import Crossbar
from analog_ep.networks.diagram import network_html
from analog_ep.networks.following import Following, source_voltages
from analog_ep.networks.junctions import clamp_of_layer, fill_junctions
from analog_ep.networks.kept import KeptCircuit
from analog_ep.networks.layout import Drive, StageLayout
from analog_ep.networks.lines import IdealLines, Lines
from analog_ep.networks.network import CrossbarNetwork
from analog_ep.networks.operators import checked_stages, extents_of, layouts_of
from analog_ep.networks.resistive_circuit import crossbar_siemens, resistive_circuit
from analog_ep.networks.sizes import require_precision
from analog_ep.networks.stage import Stage
from analog_ep.networks.values import positive_number, positive_range, require_positive

_Clamped = Diode | IdealDiode | Clamp
"""What a hidden layer is held by: its clamp, or the diode of an alternating one."""


class ResistiveNetwork(CrossbarNetwork):
    """Layered resistive network with diode layers and bidirectional amplifiers (Kendall et al. 2020).

    The inputs drive the first crossbar as ±x. Each hidden node has a diode clamp and an amplifier that drives the next
    crossbar, with +a·u alone or with the pair ±a·u. The outputs are differential, o = v₊ − v₋, and carry no diodes.

    Parameters
    ----------
    sizes : sequence of int
        Units of the inputs, the hidden layers and the outputs, such as [64, 100, 10].
    diode : Diode, IdealDiode, Clamp or a sequence of them, one per hidden layer that has diodes
        A bare device stands for alternating clamps at 0 V: even nodes held below it, odd ones above.
    gain : float
        Amplifiers' a; positive.
    feedback : float, optional
        Amplifiers' k; positive; by default 1/a (Kendall et al. 2020). k = a is an ideal transformer.
    drive : "differential" or "single"
        Whether an amplifier drives ±a·u or a·u alone.
    bias_voltage : float or None
        Every crossbar has two rows at ±this voltage; None for none. [V]
    conductance_range : (float, float)
        g_min and g_max, 0 < g_min < g_max. [S]
    reference_conductance : float, optional
        g_ref of the parameters θ = g/g_ref; by default g_max. [S]
    initial_range : (float, float), optional
        Range of the uniform initial conductances; by default the lower half of `conductance_range`. [S]
    wires : Wires, optional
        Resistance of the crossbars' lines; by default they have none.
    seed : int
        Seed of the initial conductances.
    dtype : torch.dtype
        Type of the parameters.

    Attributes
    ----------
    stage1, stage2, … : Parameter (n_rows, n_columns)
        θ of each crossbar; rows +u, −u, bias; the output crossbar's columns are v₊ of all outputs, then v₋.

    Raises
    ------
    NetworkError
        If sizes, gains or conductances are not as above.

    References
    ----------
    .. [1] Kendall et al., "Training End-to-End Analog Neural Networks with Equilibrium Propagation," 2020,
       arXiv:2006.01981.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        diode: _Clamped | Sequence[_Clamped] | None = None,
        gain: float = 4.0,
        feedback: float | None = None,
        drive: Drive = "differential",
        bias_voltage: float | None = 1.0,
        conductance_range: tuple[float, float] = (1e-7, 1e-4),
        reference_conductance: float | None = None,
        initial_range: tuple[float, float] | None = None,
        wires: Lines | None = None,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        inputs, self.operators = checked_stages(sizes)
        self.extents = extents_of(inputs, self.operators)
        self.sizes = tuple(extent.size for extent in self.extents)
        require_precision(dtype)
        self.gain = positive_number("gain", gain)
        self.feedback = positive_number("feedback", 1 / self.gain if feedback is None else feedback)
        if drive not in ("single", "differential"):
            raise NetworkError(f'drive must be "single" or "differential", found {drive!r}')
        self.drive: Drive = drive
        self.bias_voltage = None if bias_voltage is None else positive_number("bias_voltage", bias_voltage)
        low, high = self.conductance_range = positive_range("conductance_range", conductance_range)
        if low == high:
            raise NetworkError(f"conductance_range must be 0 < low < high, found {(low, high)} S; nothing could learn")
        reference = high if reference_conductance is None else reference_conductance
        self.reference_conductance = positive_number("reference_conductance", reference)
        limits = torch.finfo(dtype)
        self._require_squares(limits)
        if not limits.tiny <= low / self.reference_conductance < high / self.reference_conductance <= limits.max:
            raise NetworkError(
                f"conductance_range over the reference must lie within {dtype}, found {(low, high)} S over "
                f"{self.reference_conductance:g} S; use a narrower range or float64"
            )
        self.initial_range = positive_range("initial_range", initial_range or (low, 0.5 * (low + high)))
        if not low <= self.initial_range[0] <= self.initial_range[1] <= high:
            raise NetworkError(f"initial_range must lie in {(low, high)} S, found {self.initial_range}")
        # The hardware is described on the CPU; `layer_clamps` takes it to where the voltages are.
        self.lines = IdealLines()
        self.clamps = self._clamps(ShockleyDiode() if diode is None else diode)
        self._projected: dict[str, tuple[int, int]] = {}
        self._formed, self._kept = _Formed(), KeptCircuit()
        self.lines = self._laid(self.lines if wires is None else wires)
        self._draw(torch.Generator().manual_seed(seed), dtype)

    def _repr_html_(self) -> str:
        return network_html(self)

    def _laid(self, lines: Lines) -> Lines:
        """The lines, where the stages can have them."""
        for layout, kind in zip(self.layouts, self.operators, strict=True):
            if not (lines.ideal or layout.is_crossbar):
                raise NetworkError(
                    f"{layout.label}: wires need a stage in which every row meets every column, found "
                    f"{type(kind).__name__}; leave them out, or take dense stages"
                )
        return lines

    def _draw(self, generator: torch.Generator, dtype: torch.dtype) -> None:
        low, high = self.initial_range
        for layout in self._learning():
            siemens = low + (high - low) * torch.rand(layout.shape, generator=generator, dtype=torch.float64)
            theta = (siemens / self.reference_conductance).to(dtype)
            self.register_parameter(layout.label, torch.nn.Parameter(theta))

    def _require_squares(self, limits: torch.finfo) -> None:
        """Voltages enter the energy as squares, and the layers' energies with powers of a/k."""
        named = {"gain": self.gain, "feedback": self.feedback, "bias_voltage": self.bias_voltage}
        for name, value in named.items():
            if value is not None and not limits.tiny**0.5 <= value <= limits.max**0.5:
                raise NetworkError(f"{name} must have a square within {limits.dtype}, found {value:g}")
        decades = abs(math.log10(self.gain / self.feedback)) * sum(not s.passive for s in self.layouts[1:])
        if decades >= math.log10(limits.max):
            raise NetworkError(
                f"the layers' energies must have weights within {limits.dtype}, found a gain over feedback of "
                f"{self.gain / self.feedback:g} in {self.n_stages} stages: 10^{decades:.0f}; bring the two nearer"
            )

    def _clamps(self, diode: _Clamped | Sequence[_Clamped]) -> tuple[Clamp, ...]:
        hidden = [self.extents[layer] for layer in self.clamped_layers]
        given = tuple(diode) if isinstance(diode, Sequence) else (diode,) * len(hidden)
        if len(given) != len(hidden):
            raise NetworkError(f"one clamp per hidden layer is needed, {len(hidden)}, found {len(given)}")
        return tuple(clamp_of_layer(one, extent) for one, extent in zip(given, hidden, strict=True))

    @cached_property
    def clamped_layers(self) -> tuple[int, ...]:
        return tuple(layer for layer, kind in enumerate(self.operators[:-1], start=1) if kind.clamped)

    def rewired(self, lines: Lines) -> Self:
        twin = copy.deepcopy(self)
        twin.lines = twin._laid(lines)
        vars(twin).pop("_skeleton", None)
        return twin

    @cached_property
    def layouts(self) -> tuple[StageLayout, ...]:
        return layouts_of(self.extents, self.operators, self.drive == "differential", self.bias_voltage is not None)

    def _learning(self) -> list[StageLayout]:
        return [layout for layout in self.layouts if layout.learns]

    @torch.no_grad()
    def set_conductances(self, conductances: dict[str, Tensor]) -> None:
        low, high = self.conductance_range
        for layout in self._learning():
            value = conductances.get(layout.label)
            if value is None or tuple(value.shape) != layout.shape:
                found = "nothing" if value is None else f"shape {tuple(value.shape)}"
                raise NetworkError(f"{layout.label} needs conductances of shape {layout.shape}, found {found}")
            # θ in single precision carries the bounds only to 1e-7.
            if not bool(((value >= low * (1 - 1e-6)) & (value <= high * (1 + 1e-6))).all()):
                worst = value[~((value >= low) & (value <= high))].flatten()[0]
                raise NetworkError(f"{layout.label}: conductances must lie in {low:g}…{high:g} S, found {worst:g}")
        for layout in self._learning():
            self.theta(layout.label).copy_(conductances[layout.label] / self.reference_conductance)

    @torch.no_grad()
    def require_conductances(self) -> None:
        for layout in self._learning():
            theta: Tensor = getattr(self, layout.label)
            if self._projected.get(layout.label) == (theta._version, theta.data_ptr()):
                continue
            require_positive(layout.label, theta, self.reference_conductance)

    def note_projection(self, parameters: Iterable[Tensor]) -> None:
        labels = {id(self.theta(layout.label)): layout.label for layout in self._learning()}
        for theta in parameters:
            if id(theta) in labels:
                self._projected[labels[id(theta)]] = theta._version, theta.data_ptr()

    @property
    def weight_ratios(self) -> tuple[float, ...]:
        ratio = self.gain / self.feedback
        amplified = [not layout.passive for layout in self.layouts]
        return tuple(ratio ** sum(amplified[s + 1 :]) for s in range(self.n_stages))

    @torch.no_grad()
    def stages(self, chip: Chip | None = None) -> tuple[Stage, ...]:
        self.require_conductances()
        for key in () if chip is None else chip.names():
            if not key.startswith(("stage", "clamp", "amplifier")) or key.endswith("_bias.volts"):
                raise NetworkError(f"the layer equations hold no mismatch of {key}; solve with Newton or Ngspice")
        stages = [self._stage(s, chip) for s in range(self.n_stages)]
        for s, behind in enumerate(stages[1:]):
            if behind.load_bias is not None:
                stages[s] = replace(stages[s], bias=stages[s].bias + behind.feedback * behind.load_bias)
        if chip is not None:
            self._add_offsets(stages, chip)
        return tuple(stages)

    def _add_offsets(self, stages: list[Stage], chip: Chip) -> None:
        """Currents that the amplifiers' offsets drive into the layer behind them and draw from the one before."""
        for s in range(1, self.n_stages):
            stage = stages[s]
            gain, offset = self.amplifiers(s, chip, stage.load)
            if not isinstance(offset, Tensor):
                continue
            driven = gain * offset
            stages[s] = replace(stage, bias=stage.bias + stage.carried(driven))
            before = stages[s - 1]
            stages[s - 1] = replace(before, bias=before.bias + stage.returned_drive(driven))

    def _stage(self, s: int, chip: Chip | None) -> Stage:
        crossbar = self.crossbar(s, chip)
        if s == 0:
            return crossbar.stage(1.0, 0.0, drives=False)
        gain, feedback = (
            self._amplifier(s, name, nominal, chip, crossbar.siemens)
            for name, nominal in zip(("gain", "feedback"), self.couplings[s], strict=True)
        )
        return crossbar.stage(gain, feedback, drives=True)

    def crossbar(self, s: int, chip: Chip | None = None) -> Crossbar:
        """Crossbar s, from 0 on, with the conductances as they are now, or as a chip has them."""
        layout, lines, bias = self.layouts[s], self.lines, self.bias_voltage or 0.0
        if lines.ideal:
            return lines.crossbar(layout, partial(self._siemens, s, chip), bias, chip)
        siemens, last = self._siemens(s, chip), self._formed.get(s)
        if last is not None and last[0] is chip and last[1].has(siemens):
            return last[1]
        crossbar = lines.crossbar(layout, lambda: siemens, bias, chip)
        self._formed[s] = chip, crossbar
        return crossbar

    def _siemens(self, s: int, chip: Chip | None) -> Tensor:
        siemens, label = self._nominal(s), self.layouts[s].label
        if chip is not None:
            siemens = chip.adjusted(f"{label}.siemens", siemens)
            require_positive(label, siemens)
        return siemens

    def _nominal(self, s: int) -> Tensor:
        """Conductances of stage s in the shape of its parameter, whether they learn or not. [S]"""
        layout = self.layouts[s]
        if layout.learns:
            return self.theta(layout.label).detach() * self.reference_conductance
        siemens = self.operators[s].siemens
        return self.precision().new_full(layout.shape, self.conductance_range[1] if siemens is None else siemens)

    def _amplifier(self, s: int, name: str, nominal: float, chip: Chip | None, like: Tensor) -> float | Tensor:
        key = f"amplifier{s}.{name}"
        if chip is None or not chip.changes(key):
            return nominal
        return chip.adjusted(key, torch.full((self.sizes[s],), nominal, dtype=like.dtype, device=like.device))

    def amplifiers(self, s: int, chip: Chip | None, like: Tensor) -> tuple[float | Tensor, float | Tensor]:
        """Gains a and offsets [V] of the amplifiers before stage s + 1, each one for all or `(n_in,)`."""
        gain, _ = self.couplings[s]
        return self._amplifier(s, "gain", gain, chip, like), self._amplifier(s, "offset", 0.0, chip, like)

    @property
    def spice_clamps(self) -> tuple[Clamp, ...]:
        pairs = zip(self.clamped_layers, self.clamps, strict=True)
        return tuple(clamp.for_spice(self._node_conductance(layer)) for layer, clamp in pairs)

    def _node_conductance(self, layer: int) -> float:
        """Largest sum of the conductances at a node of a hidden layer, that of the amplifiers' load included. [S]"""
        own, behind = (self._in_reference(s) for s in (layer - 1, layer))
        gain, feedback = self.couplings[layer]
        total = self.layouts[layer - 1].column_sums(own) + gain * feedback * self.layouts[layer].row_sums(behind)
        return float(total.max()) * self.reference_conductance

    def _in_reference(self, s: int) -> Tensor:
        """Conductances of stage s in units of g_ref, in float64 on the CPU."""
        layout = self.layouts[s]
        if layout.learns:
            return self.theta(layout.label).detach().double().cpu()
        return self._nominal(s).double().cpu() / self.reference_conductance

    def layer_clamps(self, like: Tensor, chip: Chip | None = None) -> tuple[Clamp | None, ...]:
        clamps: list[Clamp | None] = [None] * self.n_stages
        for layer, clamp in zip(self.clamped_layers, self.clamps, strict=True):
            own = clamp if chip is None else chip_clamp(clamp, self.sizes[layer], f"clamp{layer}", chip)
            clamps[layer - 1] = own.to(like)
        return tuple(clamps)

    @property
    def parameter_scale(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """g_ref. [S]"""
        return self.reference_conductance

    def as_built(self) -> Self:
        """A float64 copy with the clamps of its circuit: piecewise-linear diodes stand for ideal ones."""
        twin = super().as_built()
        twin.clamps = self.spice_clamps
        return twin

    def circuit(self, chip: Chip | None = None) -> Circuit:
        made_of = (self.gain, self.feedback, self.drive, self.bias_voltage, *self.clamps, self.lines, self.operators)
        return self._kept.circuit(crossbar_siemens(self), lambda: resistive_circuit(self), chip, made_of)

    @cached_property
    def _skeleton(self) -> Circuit:
        """The circuit for its nodes and indices; its conductances are those at the first use."""
        return self.circuit()

    def layers_of(self, voltages: Tensor) -> tuple[Tensor, ...]:
        return tuple(voltages[..., torch.from_numpy(nodes)] for nodes in self._skeleton.layers.values())

    def outputs_of(self, layers: tuple[Tensor, ...]) -> Tensor:
        return layers[-1][..., : self.n_outputs] - layers[-1][..., self.n_outputs :]

    @torch.no_grad()
    def node_voltages(self, inputs: Tensor, layers: tuple[Tensor, ...], chip: Chip | None = None) -> Tensor:
        skeleton = self._skeleton if chip is None else chip.apply(self._skeleton)
        voltages = source_voltages(skeleton, inputs, inputs.dtype)
        for nodes, layer in zip(skeleton.layers.values(), layers, strict=True):
            voltages[..., torch.from_numpy(nodes)] = layer
        voltages = Following.of(skeleton).volts(voltages)
        fill_junctions(voltages, layers, self.layer_clamps(voltages, chip), self._skeleton)
        self._fill_lines(voltages, inputs, layers, chip)
        return voltages

    def _fill_lines(self, voltages: Tensor, inputs: Tensor, layers: tuple[Tensor, ...], chip: Chip | None) -> None:
        """Nodes within crossbars whose lines have resistance."""
        before = inputs
        for s, (layout, layer) in enumerate(zip(self.layouts, layers, strict=True)):
            if s:
                gain, offset = self.amplifiers(s, chip, layers[s - 1])
                before = gain * (layers[s - 1] + offset)
            first = self.lines.first_node(layout)
            inner = None if first is None else self.crossbar(s, chip).inner_voltages(before, layer)
            if first is not None and inner is not None:
                start = self._skeleton.node(first)
                voltages[..., start : start + inner.shape[-1]] = inner

    @torch.no_grad()
    def energy(self, inputs: Tensor, layers: tuple[Tensor, ...]) -> Tensor:
        clamps = self.layer_clamps(inputs)
        before, weight = inputs, 1.0
        total = torch.zeros(inputs.shape[:-1], dtype=inputs.dtype, device=inputs.device)
        for s, layer in enumerate(layers):
            content = self.crossbar(s).energy(before, layer)
            clamp = clamps[s]
            if clamp is not None:
                content = content + clamp.cocontent(layer).sum(-1)
            total = total + weight * content
            if s + 1 < self.n_stages:
                gain, feedback = self.couplings[s + 1]
                before, weight = gain * layer, weight * feedback / gain
        return total

    @torch.no_grad()
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
        if not linear:
            # d (v + d/2) is the linear form about the middle of the step.
            layers = tuple(layer + 0.5 * change for layer, change in zip(layers, response, strict=True))
        before, before_change = inputs, None
        ratios = self.weight_ratios
        result: dict[str, Tensor] = {}
        for s, layout in enumerate(self.layouts):
            # The contrast is linear in the responses, which are smaller than it is.
            scaled = None if before_change is None else ratios[s] * before_change
            change = ratios[s] * response[s]
            if layout.learns:
                result[layout.label] = self.crossbar(s, chip).contrast(before, scaled, layers[s], change)
            if s + 1 < self.n_stages:
                gain, offset = self.amplifiers(s + 1, known, layers[s])
                before, before_change = gain * (layers[s] + offset), gain * response[s]
        return result


class _Formed(dict[int, tuple[Chip | None, Crossbar]]):
    """The crossbars with wires that were formed last, and the chip; a copy of the network forms its own."""

    def __deepcopy__(self, memo: object) -> _Formed:
        return _Formed()
