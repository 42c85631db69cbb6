"""The converters at a chip's boundary: what it is driven with, and what can be read of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analog_ep.circuit.circuit import Circuit, require_temperature
from analog_ep.circuit.drawing import require_spread, stream
from analog_ep.constants import BOLTZMANN, DEFAULT_TEMPERATURE
from analog_ep.errors import CircuitError


def sampled_noise(capacitance: float, temperature: float = DEFAULT_TEMPERATURE) -> float:
    """Rms of what a sampled voltage is off, √(k_B T/C), whatever the resistance it was sampled through. [V]

    Parameters
    ----------
    capacitance : float
        Of the capacitor that holds the sample; positive, infinite for none of this noise. [F]
    temperature : float
        Of what it was sampled through. [K]

    Raises
    ------
    CircuitError
        If one of them is outside its range.

    References
    ----------
    .. [1] H. Nyquist, "Thermal Agitation of Electric Charge in Conductors," Phys. Rev. 32:110, 1928,
       doi:10.1103/PhysRev.32.110; ½ C⟨v²⟩ = ½ k_B T, by equipartition.
    """
    require_temperature("a sampled voltage", temperature)
    if not capacitance > 0:
        raise CircuitError(f"the capacitance that a voltage is sampled on must be positive, found {capacitance} F")
    return math.sqrt(BOLTZMANN * temperature / capacitance)


@dataclass(frozen=True)
class Converter:
    """A uniform quantiser between voltages and codes, both ways: what goes in comes out as the nearest level.

    Attributes
    ----------
    bits : int or None
        Resolution, 2 at least: levels n·step for n from −2^(bits−1) to 2^(bits−1) − 1 (two's complement), so that
        0 V is one. None for no quantisation.
    full_scale : float
        2^(bits−1) steps; what lies beyond the last level, or beyond ±full_scale without bits, is clipped. Positive;
        infinite for no limit. [V]
    noise : float
        Standard deviation of the Gaussian noise at the input, anew at every conversion; not negative. [V]

    Raises
    ------
    CircuitError
        If a value is outside its range, or bits are given without a finite range.
    """

    bits: int | None = None
    full_scale: float = float("inf")
    noise: float = 0.0

    def __post_init__(self):
        if self.bits is not None and not 2 <= self.bits <= 24:
            raise CircuitError(f"a converter must have 2…24 bits, found {self.bits}")
        if not self.full_scale > 0:
            raise CircuitError(f"a converter's full_scale must be positive, found {self.full_scale}")
        if self.bits is not None and self.full_scale == float("inf"):
            raise CircuitError(f"a converter of {self.bits} bits must have a finite full_scale, found none; give it")
        if not 0 <= self.noise < float("inf"):
            raise CircuitError(f"a converter's noise must be finite and not negative, found {self.noise}")

    @property
    def step(self) -> float:
        """Distance of two levels, the LSB; 0 without quantisation. [V]"""
        return 0.0 if self.bits is None else self.full_scale / 2 ** (self.bits - 1)

    def convert(self, volts: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Levels nearest to `volts`; noise is added where a generator is given. [V]"""
        if self.noise and generator is not None:
            noise = torch.randn(volts.shape, generator=generator, dtype=torch.float64)
            volts = volts + self.noise * noise.to(volts)
        if self.bits is None:
            return volts.clamp(-self.full_scale, self.full_scale)
        codes = 2 ** (self.bits - 1)
        return torch.round(volts / self.step).clamp(-codes, codes - 1) * self.step


@dataclass(frozen=True, eq=False)
class Converters:
    """DACs at the inputs, and one ADC at each node of the hidden and output layers; all phases share them.

    Attributes
    ----------
    dac : Converter
        Of the inputs.
    adc : tuple of Converter
        One for all layers, or one each.
    dac_offset : ndarray (n_inputs,)
        Added after conversion to what the inputs are driven with; one that is empty stands for none. [V]
    adc_offset : dict of str to ndarray
        Added before conversion, one a node, by the name of the layer in the circuit ("h1", …, "o"). [V]
    """

    dac: Converter = Converter()
    adc: tuple[Converter, ...] = (Converter(),)
    dac_offset: np.ndarray = field(default_factory=lambda: np.zeros(0))
    adc_offset: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def draw(
        cls,
        circuit: Circuit,
        seed: int,
        dac: Converter | None = None,
        adc: Sequence[Converter] = (),
        dac_offset: float = 0.0,
        adc_offset: float = 0.0,
    ) -> Converters:
        """Converters with Gaussian offsets for the inputs and the layers of a circuit.

        Parameters
        ----------
        circuit : Circuit
            Gives the number of inputs, and the layers.
        seed : int
            Each layer has a stream of its own.
        dac, adc : Converter, sequence of Converter
            One ADC for all layers, or one each; ideal ones where none are given.
        dac_offset, adc_offset : float
            Standard deviations. [V]

        Raises
        ------
        CircuitError
            If a spread is negative, or the number of ADCs is neither 1 nor that of the layers.
        """
        require_spread("dac_offset", dac_offset)
        require_spread("adc_offset", adc_offset)
        adcs = tuple(adc) or (Converter(),)
        if len(adcs) not in (1, len(circuit.layers)):
            raise CircuitError(f"one ADC or {len(circuit.layers)}, one per layer, are needed, found {len(adcs)}")
        layers = {name: len(nodes) for name, nodes in circuit.layers.items()} if adc_offset else {}
        return cls(
            Converter() if dac is None else dac,
            adcs,
            dac_offset * stream(seed, "dac_offset").standard_normal(circuit.n_inputs if dac_offset else 0),
            {name: adc_offset * stream(seed, f"{name}.adc_offset").standard_normal(n) for name, n in layers.items()},
        )

    def drive(self, inputs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What the inputs `(*batch, n_inputs)` are driven with. [V]"""
        driven = self.dac.convert(inputs, generator)
        return driven + torch.from_numpy(self.dac_offset).to(driven) if len(self.dac_offset) else driven

    def read(
        self,
        layers: tuple[Tensor, ...],
        generator: torch.Generator | None = None,
        known: Converters | None = None,
        names: Sequence[str] | None = None,
    ) -> tuple[Tensor, ...]:
        """What is read of the layer voltages, each `(*batch, n_units)`; offsets that are `known` are taken off. [V]

        `names` are those of the layers in the circuit, by default h1, h2, … and o.
        """
        adcs = self.adc * len(layers) if len(self.adc) == 1 else self.adc
        names = [*(f"h{n}" for n in range(1, len(layers))), "o"] if names is None else names
        read = []
        for name, adc, layer in zip(names, adcs, layers, strict=True):
            seen = adc.convert(layer + self._offset(name, layer), generator)
            read.append(seen if known is None else seen - known._offset(name, layer))
        return tuple(read)

    @property
    def reads_exactly(self) -> bool:
        """Whether the voltages are read as they are."""
        ideal = Converter()
        return all(adc == ideal for adc in self.adc) and not any(offset.any() for offset in self.adc_offset.values())

    def _offset(self, layer: str, like: Tensor) -> Tensor | float:
        offset = self.adc_offset.get(layer)
        return 0.0 if offset is None else torch.from_numpy(offset).to(like)

    def check(self, circuit: Circuit) -> None:
        """Raise `CircuitError` if they were drawn for another circuit."""
        wanted = {f"adc_offset of {name}": len(nodes) for name, nodes in circuit.layers.items()}
        wanted["dac_offset"] = circuit.n_inputs
        found = {f"adc_offset of {name}": len(offset) for name, offset in self.adc_offset.items()}
        if len(self.dac_offset):
            found["dac_offset"] = len(self.dac_offset)
        for name, count in found.items():
            if count != wanted.get(name, 0):
                raise CircuitError(
                    f"this chip has {count} values in {name}, the circuit {wanted.get(name, 0)}; draw it for this "
                    "circuit"
                )
        if len(self.adc) not in (1, len(circuit.layers)):
            raise CircuitError(f"one ADC or {len(circuit.layers)}, one per layer, are needed, found {len(self.adc)}")

    def packed(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays, and facts as JSON holds them, from which `unpacked` makes it again."""
        arrays = {f"adc_offset/{name}": offset for name, offset in self.adc_offset.items()}
        return {**arrays, "dac_offset": self.dac_offset}, {
            "dac": asdict(self.dac),
            "adc": [asdict(a) for a in self.adc],
        }

    @classmethod
    def unpacked(cls, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> Converters:
        """What `packed` gave."""
        offsets = {name.removeprefix("adc_offset/"): array for name, array in arrays.items() if "/" in name}
        adc = tuple(Converter(**values) for values in facts["adc"])
        return cls(Converter(**facts["dac"]), adc, arrays["dac_offset"], offsets)
