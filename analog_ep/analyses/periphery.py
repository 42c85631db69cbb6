"""What a sample takes beside the crossbars: drivers, amplifiers, charging, converters, writes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analog_ep.analyses.power import Power, outflow
from analog_ep.circuit import Circuit, CurrentLaw, VoltageLaw
from analog_ep.constants import BOLTZMANN
from analog_ep.errors import StimulusError

ENERGY_PER_STEP = 10e-15
"""Walden's figure of merit of converters, by default. [J]"""

USUAL_BITS = 8
"""Of converters that the spec leaves ideal."""

DIGITAL = {
    "TPU, 28 nm, 8 bits, at work (arXiv:1704.04760)": 92 / 40,
    "multiply and add alone, 45 nm, 8 bits (doi:10.1109/ISSCC.2014.6757323)": 2 / 0.23,
}
"""Digital hardware, in TOPS/W: 92 TOPS peak at 40 W; 0.2 pJ and 0.03 pJ for two operations."""

CORE, DRIVERS, AMPLIFIERS, CHARGING, DACS, ADCS, WRITES = (
    "crossbars and junctions",
    "drivers' headroom",
    "amplifiers' supply",
    "charging of nodes",
    "DACs",
    "ADCs",
    "writes",
)
"""Where energy goes, in the order of tables."""


@dataclass(frozen=True)
class Periphery:
    r"""Supply, amplifiers and converters.

    A source, such as the driver of a row or the bias of a clamp, takes its current from the nearer rail at VDD/2 about
    mid-rail: what it does not deliver is its headroom. An amplifier's output stage does so too, beside its quiescent
    current; one in class A is biased at the largest current that any of them delivers, and takes nothing else. A
    conversion of b bits takes the larger of Walden's figure of merit [1]_ and the limit of thermal noise [2]_,

    .. math:: E = \max(F \cdot 2^b, \; 8 k_B T \cdot \tfrac{3}{2} 2^{2b}),

    a DAC as much as an ADC, which has one inside.

    Attributes
    ----------
    supply : float
        VDD. [V]
    amplifier_current : float or None
        Quiescent, of each output of an amplifier; None for class A. [A]
    dac_bits, adc_bits : int
        Resolution.
    energy_per_step : float
        F. The best converters that were published reach 2.2e-15 [3]_. [J]
    write_energy : float
        Of one change of one cell. [J]
    capacitance : float
        Of every node, rows included. [F]

    References
    ----------
    .. [1] R. H. Walden, "Analog-to-digital converter survey and analysis," IEEE J. Sel. Areas Commun. 17:539, 1999,
       doi:10.1109/49.761034.
    .. [2] B. Murmann, "Energy limits in A/D converters," IEEE FTFC, 2013, doi:10.1109/FTFC.2013.6577781.
    .. [3] P. Harpe, E. Cantatore, A. van Roermund, "A 2.2/2.7 fJ/conversion-step 10/12b 40 kS/s SAR ADC with
       data-driven noise reduction," IEEE ISSCC, 2013, doi:10.1109/ISSCC.2013.6487730.
    """

    supply: float
    amplifier_current: float | None = None
    dac_bits: int = USUAL_BITS
    adc_bits: int = USUAL_BITS
    energy_per_step: float = ENERGY_PER_STEP
    write_energy: float = 0.0
    capacitance: float = 1e-12

    def __post_init__(self):
        values = {"supply voltage": self.supply, "energy of a conversion step": self.energy_per_step}
        values |= {} if self.amplifier_current is None else {"amplifiers' current": self.amplifier_current}
        for name, value in values.items():
            if not 0 < value < math.inf:
                raise StimulusError(f"the {name} must be positive and finite, found {value:g}")
        if not 0 <= self.write_energy < math.inf:
            raise StimulusError(f"the energy of a write must be finite and not negative, found {self.write_energy:g} J")

    def conversion(self, bits: int, kelvin: float) -> float:
        """Energy of one conversion. [J]"""
        return max(self.energy_per_step * 2**bits, 8 * BOLTZMANN * kelvin * 1.5 * 2 ** (2 * bits))

    def conversions(self, kelvin: float) -> tuple[float, float]:
        """Energy of one conversion of a DAC, and of an ADC. [J]"""
        return self.conversion(self.dac_bits, kelvin), self.conversion(self.adc_bits, kelvin)

    def phase(
        self, circuit: Circuit, voltages: np.ndarray, power: Power, op_amps: np.ndarray | None = None
    ) -> dict[str, float]:
        """Power of a phase, mean over the samples, by where it goes. [W]

        Parameters
        ----------
        circuit : Circuit
            With ideal amplifiers, or with others whose outputs are given.
        voltages : ndarray (n_samples, n_nodes)
            Node voltages, ground first. [V]
        power : Power
            Of these voltages.
        op_amps : ndarray (n_op_amps,), optional
            Output nodes of operational amplifiers; what they deliver goes through resistors and junctions.

        Raises
        ------
        StimulusError
            If a node is beyond the rails.
        """
        largest = float(np.abs(voltages).max())
        if largest > self.supply / 2 * (1 + 1e-9):
            raise StimulusError(
                f"all nodes must stay within half the supply, {self.supply / 2:g} V, found {largest:.3g} V; give a "
                f"supply voltage of {2 * largest:.3g} V at least"
            )
        leaving, rail = outflow(circuit, voltages), self.supply / 2
        sources, outputs = _held(circuit)
        drawn = np.abs(leaving[:, sources]).sum(axis=1).mean() * rail
        drawn += sum(
            float(np.abs(group.current()).sum()) * rail for group in circuit.of_kind(CurrentLaw) if not group.controls()
        )
        delivered = leaving[:, outputs]
        if op_amps is not None and len(op_amps):
            supplied = {law.label for law in circuit.of_kind(CurrentLaw) if law.has_own_supply}
            loads = circuit.with_groups([group for group in circuit.groups if group.label not in supplied])
            delivered = np.concatenate([delivered, outflow(loads, voltages)[:, op_amps]], axis=1)
        own = sum(watts for name, watts in power.delivered.items() if name != power.amplifiers)
        return {
            CORE: power.total,
            DRIVERS: float(drawn) - own,
            AMPLIFIERS: self._amplifiers(delivered) - power.delivered[power.amplifiers],
        }

    def _amplifiers(self, leaving: np.ndarray) -> float:
        """What the supply gives to all amplifiers whose outputs deliver these currents. [W]"""
        if not leaving.size:
            return 0.0
        if self.amplifier_current is None:
            return leaving.shape[1] * self.supply * float(np.abs(leaving).max())
        quiescent = leaving.shape[1] * self.supply * self.amplifier_current
        return quiescent + float(np.abs(leaving).sum(axis=1).mean()) * self.supply / 2

    def charging(self, change: np.ndarray) -> float:
        """Energy C v² of all nodes that move by these voltages `(n_samples, n_nodes)`, mean over the samples. [J]"""
        return self.capacitance * float(np.square(change).sum(axis=1).mean())


def _held(circuit: Circuit) -> tuple[np.ndarray, np.ndarray]:
    """Nodes that grounded independent sources hold, and outputs of amplifiers."""
    sources, outputs = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for group in circuit.of_kind(VoltageLaw):
        rows = group.rows()
        if rows.is_source:
            sources.append(np.maximum(rows.positive, rows.negative))
        elif rows.drawn_from is not None:
            outputs.append(rows.positive)
    return np.concatenate(sources), np.concatenate(outputs)


@dataclass(frozen=True)
class Conversions:
    """How often converters work for one sample.

    Attributes
    ----------
    inputs : int
        Converted once a sample.
    outputs : int
        Nodes that are read for an inference.
    nodes : int
        Nodes that are read in every phase of a training step.
    nudges : int
        Currents that are set in every nudged phase.
    cells : int
        That a step may write.
    batch : int
        Samples that share a step's writes.
    """

    inputs: int
    outputs: int
    nodes: int
    nudges: int
    cells: int
    batch: int


@dataclass(frozen=True)
class PhaseEnergy:
    """Where the power of a phase goes [W], for how long [s], and what charges its nodes [J]."""

    watts: dict[str, float]
    seconds: float
    charging: float

    @property
    def joules(self) -> dict[str, float]:
        """Energy by where it goes, without converters."""
        return {name: watts * self.seconds for name, watts in self.watts.items()} | {CHARGING: self.charging}


def inference_energy(
    periphery: Periphery, free: PhaseEnergy, inputs: int, outputs: int, kelvin: float
) -> dict[str, float]:
    """Energy of an inference that converts so many inputs and reads so many nodes, by where it goes. [J]"""
    dac, adc = periphery.conversions(kelvin)
    return free.joules | {DACS: inputs * dac, ADCS: outputs * adc}


def energies(
    periphery: Periphery, free: PhaseEnergy, nudged: PhaseEnergy, phases: int, n: Conversions, kelvin: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Energy of an inference, and of a training step of one sample, by where it goes. [J]"""
    dac, adc = periphery.conversions(kelvin)
    inference = inference_energy(periphery, free, n.inputs, n.outputs, kelvin)
    step = {name: joules + phases * nudged.joules[name] for name, joules in free.joules.items()}
    step |= {DACS: (n.inputs + phases * n.nudges) * dac, ADCS: (1 + phases) * n.nodes * adc}
    step[WRITES] = n.cells * periphery.write_energy / n.batch
    return inference, step
