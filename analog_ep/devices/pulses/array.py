"""Pulsed devices of one crossbar: drawn once, then pulsed, read and left to rest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from analog_ep.devices.pulses.device import PulseModel
from analog_ep.devices.pulses.kernels import follow_lines, pulse_rounds
from analog_ep.devices.pulses.window import ConductanceMap
from analog_ep.devices.selection import Exposure
from analog_ep.errors import CheckpointError, DeviceParameterError
from analog_ep.support.compiled import runs_compiled

_AT_ONCE = 2**22
"""Most pulses at a time, unless one device has more: the states after all of them are in memory together."""

_BISECTIONS = 60
"""Halvings of a device's range, to the last bit of double precision."""


class PulsedArray:
    """Devices of one model with their drawn parameters, their hidden states and their history.

    The state of a device stays within its own drawn bounds; what is read of it, write noise and reference included,
    is held in the window of the map, as a circuit with that range would see it.

    Parameters
    ----------
    model : PulseModel
        Nominal parameters.
    conductances : Tensor
        Initial conductances, of any shape; dtype and device of all that follows. [S]
    conductance_map : ConductanceMap
        From what is read of a state to siemens.
    seed : int
        Of the drawn parameters and of the noise.

    Attributes
    ----------
    shape : torch.Size
        Shape of the array; everything per device below is flat, `(n_devices,)`.
    hidden : Tensor (n_devices,)
        States w.
    drawn : dict of str to Tensor, () or (n_devices,)
        Drawn parameters; see `PulseModel.draw`.
    """

    def __init__(self, model: PulseModel, conductances: Tensor, conductance_map: ConductanceMap, seed: int):
        self.model, self.map, self.shape, self.seed = model, conductance_map, conductances.shape, seed
        like = conductances.detach()
        drawn = model.draw(like.numel(), torch.Generator().manual_seed(seed))
        self.drawn = {name: value.to(like) for name, value in drawn.items()}
        self._steps = {name: value for name, value in self.drawn.items() if name not in _AT_REST}
        self._lines = self._directed_lines()
        self._bounds = torch.stack([self.drawn[name].expand(like.numel()) for name in ("low", "high")])
        self._offset = model.read_offset(self.drawn)
        self._write_noise = model.write_noise * model.mean_step
        self.generator = torch.Generator(like.device).manual_seed(seed + 1)
        # Row 0 counts depressing pulses, row 1 potentiating ones.
        self._counts = torch.zeros((2, like.numel()), dtype=torch.int64, device=like.device)
        # Sum of the states before every pulse, depressing ones counted by their V² beside that of potentiating ones.
        self._pulsed_states = torch.zeros((), dtype=torch.float64, device=like.device)
        up, down = model.voltages
        self._uneven = up != -down
        self._weights = torch.tensor([(down / up) ** 2, 1.0], dtype=torch.float64, device=like.device)
        self.hidden = torch.zeros_like(like.flatten())
        self._noise = torch.zeros_like(self.hidden) if self._write_noise else None
        self._stuck: Tensor | None = None
        self.set_conductances(conductances)

    @classmethod
    def over(cls, model: PulseModel, conductances: Tensor, bounds: tuple[float, float], seed: int) -> PulsedArray:
        """Devices whose nominal bounds stand for `bounds` = (g_min, g_max). [S]"""
        return cls(model, conductances, ConductanceMap(model.w_min, model.w_max, *bounds), seed)

    def _directed_lines(self) -> Tensor | None:
        """Step and slope where steps are straight, (2, 2 n_devices), depressing first; only the steps if constant."""
        lines = self.model.straight_steps(self.drawn)
        if lines is None:
            return None
        n = self.shape.numel()
        tables = torch.stack([torch.cat([value.expand(n) for value in pair]) for pair in zip(*lines, strict=True)])
        return tables if bool(tables[1].any()) else tables[:1]

    @property
    def conductances(self) -> Tensor:
        """What is read, in the array's shape. [S]"""
        read = self.hidden - self._offset
        if self._noise is not None:
            noise = self._noise if self._stuck is None else self._noise.masked_fill(self._stuck, 0.0)
            read = read + noise
        return self.map.conductance(read.clamp(self.map.w_min, self.map.w_max)).reshape(self.shape)

    def set_conductances(self, conductances: Tensor, where: Tensor | None = None) -> None:
        """Put the devices as near to conductances [S] as their bounds allow, without pulses; those `where` it holds."""
        states = self._bounded(self.map.state(conductances.detach().flatten().to(self.hidden)) + self._offset)
        if where is None:
            self.hidden = states
            self._disturb()
            return
        index = nonzero(where.flatten())
        self.hidden = self.hidden.index_copy(0, index, states.index_select(0, index))
        if self._noise is not None:
            self._noise = self._noise.index_copy(0, index, self._write_noise * self._normal(len(index)))

    def stick(self, conductances: Tensor) -> None:
        """Make devices stay at conductances for good, whatever pulses they get; NaN for those that are sound.

        A stuck device is read there without noise, inside the window of the map; its pulses are counted and take their
        energy, as nobody who gives them knows better.

        Parameters
        ----------
        conductances : Tensor
            In the array's shape; below the window for open cells, whose pulses take less; above it, its end counts. [S]
        """
        states = self.map.state(conductances.detach().flatten().to(self.hidden))
        stuck = states.clamp(max=self.map.w_max) + self._offset
        self._stuck = ~torch.isnan(stuck)
        for name, bound in zip(("low", "high"), self._bounds, strict=True):
            self.drawn[name] = self._steps[name] = torch.where(self._stuck, stuck, bound)
        self._bounds = torch.stack([self.drawn["low"], self.drawn["high"]])
        self.hidden = self._bounded(self.hidden)

    @property
    def read_offset(self) -> Tensor:
        """What is subtracted from each state when it is read, scalar or `(n_devices,)`."""
        return self._offset

    @property
    def step(self) -> float:
        """Conductance that one pulse is taken to change. [S]"""
        return self.model.mean_step * self.map.slope

    @property
    def symmetry_conductances(self) -> Tensor:
        """What is read of each device, without noise, where steps up and down are equal, in the array's shape. [S]

        Where one direction is the stronger all the way, the bound at which that ends; where none is, the middle.
        """
        low, high = (self.drawn[name].expand_as(self.hidden).clone() for name in ("low", "high"))
        drawn = self._steps
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            pull = self.model.potentiation(middle, drawn) - self.model.depression(middle, drawn)
            low, high = torch.where(pull >= 0, middle, low), torch.where(pull <= 0, middle, high)
        read = ((low + high) / 2 - self._offset).clamp(self.map.w_min, self.map.w_max)
        return self.map.conductance(read).reshape(self.shape)

    @property
    def potentiations(self) -> Tensor:
        """Potentiating pulses that each device has had, in the array's shape, int64."""
        return self._counts[1].reshape(self.shape)

    @property
    def depressions(self) -> Tensor:
        """Depressing pulses that each device has had, in the array's shape, int64."""
        return self._counts[0].reshape(self.shape)

    @property
    def energy(self) -> Tensor:
        """Of all pulses so far, scalar, float64. [J]"""
        per_device = self._weights @ self._counts.double()
        total = per_device.sum()
        states = self._pulsed_states - (self._offset * per_device).sum(dtype=torch.float64)
        conductance = total * self.map.g_min + self.map.slope * (states - total * self.map.w_min)
        return self.model.voltages[0] ** 2 * self.model.pulse_width * conductance

    @property
    def worn_out(self) -> Tensor:
        """Which devices have had as many pulses as they endure, in the array's shape."""
        return (self._counts.sum(0) >= self.model.endurance).reshape(self.shape)

    def pulse(self, counts: Tensor) -> None:
        """Give every device some whole pulses, one after the other.

        Parameters
        ----------
        counts : Tensor of an integer dtype, the array's shape
            Positive to potentiate, negative to depress.

        Raises
        ------
        DeviceParameterError
            If the shape is another, or the counts are not whole.
        """
        if counts.shape != self.shape or counts.is_floating_point():
            raise DeviceParameterError(
                f"pulses must be whole numbers of shape {tuple(self.shape)}, found {counts.dtype} of "
                f"{tuple(counts.shape)}"
            )
        index = nonzero(counts.flatten())
        self.pulse_at(index, counts.flatten().index_select(0, index).long())

    def pulse_at(self, index: Tensor, counts: Tensor) -> None:
        """Give the devices at `index`, flat, none twice, `counts` pulses, signed; int64, `(n,)`."""
        if math.isfinite(self.model.endurance):
            left = (self.model.endurance - self._counts.sum(0).index_select(0, index)).long()
            counts = torch.clamp(counts, -left, left)
            able = nonzero(counts)
            index, counts = index.index_select(0, able), counts.index_select(0, able)
        sizes = counts.abs().cpu().numpy()
        rounds, places = pulse_rounds(sizes)
        if rounds[-1] > _AT_ONCE and len(sizes) > 1:
            for half in zip(index.chunk(2), counts.chunk(2), strict=True):
                self.pulse_at(*half)
            return
        if self._lines is not None and runs_compiled(self.hidden):
            self._follow_compiled(index, counts, self._lines, rounds, places)
            return
        lengths = np.diff(rounds).tolist()
        order = None if lengths == [len(sizes)] else torch.from_numpy(_most_first(sizes, rounds)).to(index.device)
        if order is not None:
            index, counts = index.index_select(0, order), counts.index_select(0, order)
        # Places in tables of both directions, depressing pulses first.
        directed = torch.add(index, counts.clamp(0, 1), alpha=self.hidden.numel())
        self._counts.view(-1).scatter_add_(0, directed, counts.abs())
        if lengths:
            self._respond(index, directed, counts, lengths)

    def _follow_compiled(
        self, index: Tensor, counts: Tensor, lines: Tensor, rounds: np.ndarray, places: np.ndarray
    ) -> None:
        """Straight steps, with the noise that `_respond` would draw."""
        factors = self.hidden.new_empty(int(rounds[-1]) if self.model.step_noise else 0)
        factors.normal_(1, self.model.step_noise, generator=self.generator)
        state, bounds, history, passed = self.hidden, self._bounds, self._counts, self._pulsed_states
        tables = (table.numpy() for table in (factors, state, bounds, lines, self._weights, history, passed))
        follow_lines(index.numpy(), counts.numpy(), rounds, places, *tables)
        if self._noise is not None:
            order = torch.from_numpy(_most_first(counts.abs().numpy(), rounds))
            self._noise.scatter_(0, index.index_select(0, order), self._write_noise * self._normal(len(order)))

    def _respond(self, index: Tensor, directed: Tensor, counts: Tensor, lengths: list[int]) -> None:
        """Pulse after pulse; devices with the most come first, so that those that still get one are a leading part."""
        first = self.hidden.index_select(0, index)
        after = first.new_empty(sum(lengths))
        parts = after.split(lengths) if len(lengths) > 1 else (after,)
        if self._lines is None:
            self._follow_curves(first, index, counts > 0, zip(lengths, parts, strict=True))
        else:
            noise = self.model.step_noise
            if noise:
                after.normal_(1, noise, generator=self.generator)
            else:
                after.fill_(1)
            lines, bounds = self._lines.index_select(1, directed), self._bounds.index_select(1, index)
            _follow_lines(first, zip(lengths, parts, strict=True), *bounds.unbind(), *lines.unbind())
        last, before = after, self._sum_weighted(first, counts)
        if len(lengths) > 1:
            # Backwards, where a part ends beyond the next one, its devices have had all their pulses.
            last = torch.cat([part[n:] for part, n in zip(parts[::-1], (0, *lengths[:0:-1]), strict=True)])
            ordered = torch.cat([counts[:n] for n in lengths]) if self._uneven else counts
            before += self._sum_weighted(after, ordered) - self._sum_weighted(last, counts)
        self._pulsed_states += before
        self.hidden.scatter_(0, index, last)
        if self._noise is not None:
            self._noise.scatter_(0, index, self._write_noise * self._normal(len(index)))

    def _sum_weighted(self, states: Tensor, counts: Tensor) -> Tensor:
        """Sum of states before pulses whose directions are those of `counts`; see `_pulsed_states`."""
        if not self._uneven:
            return states.sum()
        return (states * self._weights[(counts > 0).long()].to(states)).sum()

    def _follow_curves(self, state: Tensor, index: Tensor, up: Tensor, parts: Iterable[tuple[int, Tensor]]) -> None:
        """Put states after each pulse into the parts, one part a pulse."""
        drawn = {name: _at(value, index) for name, value in self._steps.items()}
        for n, part in parts:
            own = {name: value if value.dim() == 0 else value[:n] for name, value in drawn.items()}
            moved = state[:n] + self.model.respond(state[:n], up[:n], own, self.generator)
            state = torch.clamp(moved, own["low"], own["high"], out=part)

    def disturb(self, seen: Sequence[Exposure]) -> None:
        """Move the devices as pulses for others do, by `PulseModel.disturbance`: without noise, and not counted.

        Parameters
        ----------
        seen : sequence of Exposure
            Pulses that devices see, in the array's shape. They act in parts that move no device by more than a fourth
            of a step, unless single pulses do.
        """
        able = ~self.worn_out.flatten()
        for each in seen:
            voltage = each.fraction * self.model.voltages[0 if each.up else 1]
            counts = (each.counts.flatten() * able).to(self.hidden)
            once = counts * self.model.disturbance(self.hidden, voltage, self._steps)
            parts = math.ceil(4 * float(once.abs().max()) / self.model.mean_step)
            parts = min(parts, int(counts.max()))
            for _ in range(parts):
                change = self.model.disturbance(self.hidden, voltage, self._steps)
                self.hidden = self._bounded(self.hidden + counts / parts * change)

    def rest(self) -> None:
        """Let the states decay and diffuse for one of the model's rests."""
        state = self.hidden
        if "decay" in self.drawn:
            state = state + self.drawn["decay"] * (self.drawn["rest"] - state)
        if "walk" in self.drawn:
            state = state + self.drawn["walk"] * self._normal(len(state))
        if state is not self.hidden:
            self.hidden = self._bounded(state)
            self._disturb()

    def forget(self, kept: float, diffusion: float) -> None:
        """Let what is read decay towards g_min, and walk at random, whatever the model's own rests do.

        Parameters
        ----------
        kept : float
            Share of g − g_min that is left, 0…1.
        diffusion : float
            Standard deviation of the walk, relative to g_max − g_min.
        """
        floor = self.map.w_min + self._offset
        state = floor + kept * (self.hidden - floor)
        if diffusion:
            state = state + diffusion * (self.map.w_max - self.map.w_min) * self._normal(len(state))
        self.hidden = self._bounded(state)
        self._disturb()

    def drift(self, since: float, until: float) -> None:
        """Let the conductances drift from one time after programming to another, g ∝ (t/t_0)^−ν, within the window.

        Parameters
        ----------
        since, until : float
            Times after programming, 0 < since <= until. [s]
        """
        if not 0 < since <= until < math.inf:
            raise DeviceParameterError(f"drift needs times 0 < since <= until, found {since} and {until} s")
        factor = (until / since) ** -self.drawn["drift"]
        drifted = self.map.conductance(self.hidden - self._offset) * factor
        self.hidden = self._bounded(self.map.state(drifted.clamp(self.map.g_min, self.map.g_max)) + self._offset)
        self._disturb()

    def _bounded(self, state: Tensor) -> Tensor:
        return torch.clamp(state, self.drawn["low"], self.drawn["high"])

    def _disturb(self) -> None:
        if self._noise is not None:
            self._noise = self._write_noise * self._normal(len(self.hidden))

    def _normal(self, n: int) -> Tensor:
        return torch.randn(n, generator=self.generator, dtype=self.hidden.dtype, device=self.hidden.device)

    def state_dict(self) -> dict[str, Tensor]:
        """States, counts and the noise generator's state; the drawn parameters follow from the seed."""
        state = {"hidden": self.hidden, "counts": self._counts, "pulsed_states": self._pulsed_states}
        if self._noise is not None:
            state["noise"] = self._noise
        return {name: value.clone() for name, value in state.items()} | {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave.

        Raises
        ------
        CheckpointError
            If it is of other pulsed devices, or of ones that drew their noise on a CPU where these draw it on a GPU;
            nothing is restored then.
        """
        own = self.state_dict()
        if len(state.get("generator", own["generator"])) != len(own["generator"]):
            raise CheckpointError(
                f"noise must go on where it was drawn, found that of another kind of device than {self.hidden.device}; "
                "resume on the one that the run began on"
            )
        found = {name: tuple(value.shape) for name, value in state.items()}
        wanted = {name: tuple(value.shape) for name, value in own.items()}
        if found != wanted:
            raise CheckpointError(f"the pulsed devices must have states of shapes {wanted}, found {found}")
        self.hidden = state["hidden"].to(self.hidden, copy=True)
        self._counts = state["counts"].to(self._counts, copy=True)
        self._pulsed_states = state["pulsed_states"].to(self._pulsed_states, copy=True)
        if self._noise is not None:
            self._noise = state["noise"].to(self.hidden, copy=True)
        self.generator.set_state(state["generator"].cpu())


_AT_REST = {"rest", "decay", "walk", "drift"}
"""Drawn parameters that no pulse needs."""


def _at(value: Tensor, index: Tensor) -> Tensor:
    return value if value.dim() == 0 else value.index_select(0, index)


def _follow_lines(
    state: Tensor,
    parts: Iterable[tuple[int, Tensor]],
    low: Tensor,
    high: Tensor,
    step: Tensor,
    slope: Tensor | None = None,
) -> None:
    """Put states after steps of step + slope w, times the factors in the parts, into the parts, one part a pulse."""
    for n, part in parts:
        state = state[:n]
        mean = step[:n] if slope is None else torch.addcmul(step[:n], slope[:n], state)
        torch.addcmul(state, mean, part, out=part)
        state = torch.clamp(part, low[:n], high[:n], out=part)


def _most_first(sizes: np.ndarray, rounds: np.ndarray) -> np.ndarray:
    """Order of numbers of pulses, (n,), from the largest to the smallest but 0; the rounds are theirs."""
    # NumPy sorts short integers by radix, ten times as fast as by comparisons.
    short = sizes.astype(np.int8 if len(rounds) <= 128 else np.int64)
    return np.negative(short).argsort(kind="stable")[: rounds[1] if len(rounds) > 1 else 0]


def nonzero(values: Tensor) -> Tensor:
    """Indices of the entries (n,) that are not 0, int64."""
    if values.device.type != "cpu":
        return values.nonzero().squeeze(1)
    # Twice as fast as PyTorch's own, which counts first.
    return torch.from_numpy(np.flatnonzero((values != 0).numpy()))
