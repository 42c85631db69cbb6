"""What is done with a trained run: the comparison with ngspice, and netlists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from analog_ep.checking import (
    MOST_BRANCHES,
    CrossCheck,
    HopfieldCrossCheck,
    check_decks,
    cross_check,
    decks_left_out,
    hopfield_cross_check,
)
from analog_ep.checking.agreement import Classes
from analog_ep.checking.judge import judged_gradients
from analog_ep.circuit import Chip
from analog_ep.circuit.reading import driven
from analog_ep.datasets import targets_of
from analog_ep.designs.checking import Comparison
from analog_ep.dynamics.ngspice_settling import NgspiceSettling
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.errors import CheckpointError, DataError, StimulusError
from analog_ep.export import (
    write_adjoint_netlist,
    write_asymmetric_netlist,
    write_netlist,
    write_settling_netlist,
    write_transient_netlist,
)
from analog_ep.learning.checkpoint import Checkpoint
from analog_ep.netlist.deck import Phase
from analog_ep.netlist.dialects import DialectName
from analog_ep.networks import ConductanceNetwork, CrossbarNetwork, HardwareNetwork, Network, Question, UnitNetwork
from analog_ep.networks.needs import ranged_of
from analog_ep.ngspice.batch import Progress
from analog_ep.runs.building import (
    build_conductances,
    build_cost,
    build_dataset,
    build_gradient,
    build_network,
    build_nudge,
    build_resistive,
    build_solver,
)
from analog_ep.runs.choosing import CHECKPOINT, stored_spec
from analog_ep.runs.folder import stored_chip
from analog_ep.runs.teaching import tolerances_of
from analog_ep.spec import Spec

_USUAL_SAMPLES = 100
"""Test samples that a check compares."""

_PART = 500
"""Test samples a run of ngspice: how often the progress is told."""

Array = Literal["first", "twin"]
"""The array that runs the free phase, and of two nudged ones the earlier; or its twin, which runs the later one."""


def trained_network(path: Path, dtype: torch.dtype = torch.float64) -> tuple[Spec, CrossbarNetwork]:
    """Spec and resistive network of a run, with the conductances of its last checkpoint.

    Parameters
    ----------
    path : Path
        The run folder.
    dtype : torch.dtype
        Type of the parameters; they were trained in the spec's own.

    Raises
    ------
    CheckpointError
        If the folder has no usable checkpoint.
    SpecError
        If the network is not resistive.
    """
    spec, checkpoint = stored_spec(path), Checkpoint.load(path / CHECKPOINT)
    network = build_resistive(spec, dtype)
    checkpoint.load_parameters(network)
    return spec, network


def trained_conductances(path: Path) -> tuple[Spec, ConductanceNetwork]:
    """Spec and network of conductances, in float64, of a run; see `trained_network`.

    Raises
    ------
    CheckpointError
        If the folder has no usable checkpoint.
    SpecError
        If the network is none of conductances.
    """
    spec, checkpoint = stored_spec(path), Checkpoint.load(path / CHECKPOINT)
    network = build_conductances(spec, torch.float64)
    checkpoint.load_parameters(network)
    return spec, network


def check_own_netlist(path: Path) -> list[Comparison]:
    """Compare PyTorch with ngspice on the user's own netlist, with what a run learnt; none where the run has none.

    Raises
    ------
    CheckpointError
        If the folder has no usable checkpoint.
    """
    spec, network, _ = trained_circuit(path)
    return spec.network.check_own(network)


def export_own_netlist(path: Path, out: Path) -> list[Path]:
    """Write the user's own netlist, byte for byte but for what a run learnt; none where the run has none.

    Raises
    ------
    CheckpointError
        If the folder has no usable checkpoint.
    """
    spec, network, _ = trained_circuit(path)
    return spec.network.save_own(network, out)


def trained_circuit(path: Path) -> tuple[Spec, HardwareNetwork, Chip | None]:
    """Spec, network of any kind in float64, and chip of a run.

    Raises
    ------
    CheckpointError
        If the folder has no usable checkpoint, or its chip is missing or damaged.
    """
    spec, checkpoint = stored_spec(path), Checkpoint.load(path / CHECKPOINT)
    network = build_network(spec, torch.float64)
    checkpoint.load_parameters(network)
    return spec, network, stored_chip(path, spec, network)


def test_samples(spec: Spec, network: Network, which: slice, chip: Chip | None) -> tuple[Tensor, Tensor]:
    """Inputs `(n, n_inputs)` [V], as a chip's DACs drive them, and targets `(n, n_outputs)` of some test samples.

    Raises
    ------
    DataError
        If the data cannot be loaded, or have fewer samples than `which` asks for.
    """
    dataset = build_dataset(spec, network)
    available = len(dataset.test_labels)
    stop = available if which.stop is None else which.stop
    if not 0 <= which.start < stop <= available:
        last = max(which.start, stop - 1)
        raise DataError(f"{dataset.name} has test samples 0…{available - 1}, found {which.start}…{last} asked for")
    inputs = driven(dataset.test_inputs[which].to(next(network.parameters())), chip)
    return inputs, targets_of(dataset.test_labels[which], build_cost(spec), network.n_outputs, like=inputs)


def cross_checked(
    path: Path,
    samples: int | None = None,
    progress: Progress | None = None,
    array: Array = "first",
    processes: int = 1,
    accuracy: bool = False,
    judge: bool = False,
    decks: bool = True,
) -> CrossCheck | HopfieldCrossCheck:
    """Compare PyTorch with ngspice on a run's network and the first test samples, with the spec's nudge.

    Of a resistive network also run the netlists that `export` writes of one sample. Beyond `MOST_BRANCHES` those are
    left out, and ngspice runs reduced ones, which the result says. A Hopfield network is nudged as its variant of
    equilibrium propagation nudges it: "random" shows both signs.

    Parameters
    ----------
    path : Path
        The run folder.
    samples : int, optional
        Number of test samples; by default 100, or all where there are fewer.
    progress : callable, optional
        See `analog_ep.equilibrium.ngspice.Ngspice`; told anew in each phase.
    array : "first" or "twin"
        Which array of the run's chip.
    processes : int
        Runs of ngspice at a time.
    accuracy : bool
        Whether ngspice classifies the whole test part, with reduced netlists: see `Ngspice`.
    judge : bool
        Whether the gradient is compared with neospice's too, see `adjoint_gradients`.
    decks : bool
        Whether the netlists that `export` writes are run.

    Raises
    ------
    CheckpointError
        If the folder has no usable checkpoint, or its chip no twin array.
    CircuitError, JudgeNotFoundError
        If the judge is asked for and cannot read the circuit, or is missing.
    DataError
        If there are fewer samples.
    StimulusError
        If the accuracy of a Hopfield network is asked for.
    NgspiceError
        If there is no ngspice, or it fails.
    """
    spec, network, chip = trained_circuit(path)
    if samples is None:
        samples = min(_USUAL_SAMPLES, len(build_dataset(spec, network).test_labels))
    inputs, targets = test_samples(spec, network, slice(0, samples), chip)
    return network.answer(
        _RunCheck(path, spec, inputs, targets, array_of(chip, array), progress, processes, accuracy, judge, decks)
    )


@dataclass(frozen=True, eq=False)
class _RunCheck(Question[CrossCheck | HopfieldCrossCheck]):
    """The comparison of a run's network, in float64, on some test samples."""

    path: Path
    spec: Spec
    inputs: Tensor
    targets: Tensor
    chip: Chip | None
    progress: Progress | None
    processes: int
    accuracy: bool
    judge: bool
    decks: bool

    def network(self, network: Network) -> CrossCheck:
        raise StimulusError(f"the check of a run needs a circuit of conductances, found a {type(network).__name__}")

    def conductances(self, network: ConductanceNetwork) -> CrossCheck:
        spec, chip, gradient = self.spec, self.chip, self.spec.gradient
        trained = build_network(spec)
        Checkpoint.load(self.path / CHECKPOINT).load_parameters(trained)
        exact = None if chip is None else replace(chip, converters=None, learning=None, twin=None)
        circuit = network.circuit(chip)
        # First, since it is soon done and may be refused.
        judged = judged_gradients(network, self.inputs, self.targets, build_cost(spec), exact) if self.judge else {}
        reduced = circuit.n_branches > MOST_BRANCHES
        result = cross_check(
            trained,
            self.inputs,
            self.targets,
            nudging=gradient.nudging,
            cost=build_cost(spec),
            kind=gradient.kind,
            chip=chip,
            reference=Ngspice(progress=self.progress, processes=self.processes, reduced=reduced, forms_nudges=True),
            method=build_gradient(spec, trained, exact, exact),
            tolerances=tolerances_of(spec),
        )
        nudge = build_nudge(spec, self.targets[0])
        decks = check_decks(network, self.inputs[0], nudge, chip) if self.decks else {}
        classes = _classes(spec, trained, chip, self.progress, self.processes) if self.accuracy else None
        # Of targets the largest output says nothing.
        compared = None if spec.data.outputs else result.classes
        left_out = decks_left_out(circuit, chip) if self.decks else {}
        result = replace(result, decks=decks, decks_left_out=left_out, reduced=reduced)
        return replace(result, test_classes=classes, classes=compared, judge=judged)

    def units(self, network: UnitNetwork) -> HopfieldCrossCheck:
        if self.accuracy:
            raise StimulusError(
                "the accuracy of the whole test part needs a ResistiveNetwork, found a HopfieldNetwork, whose samples "
                "settle one by one; raise the number of samples instead"
            )
        if self.judge:
            raise StimulusError("the judge of gradients reads no Hopfield circuits; leave the judge out")
        gradient = self.spec.gradient
        return hopfield_cross_check(
            network,
            self.inputs,
            self.targets,
            strengths=[sign * gradient.nudging for sign in gradient.signs],
            cost=build_cost(self.spec),
            kind=gradient.kind,
            settling=NgspiceSettling(processes=self.processes, progress=self.progress),
        )


def _classes(
    spec: Spec, network: HardwareNetwork, chip: Chip | None, progress: Progress | None, processes: int
) -> Classes:
    """Classes of the whole test part, by the network as it was trained and by ngspice."""
    dataset = build_dataset(spec, network)
    if dataset.n_classes is None:
        raise DataError("an accuracy needs classes, data.labels, found targets, data.outputs; leave it out")
    count = len(dataset.test_labels)
    inputs, targets = test_samples(spec, network.double(), slice(0, count), chip)
    dtype = getattr(torch, spec.training.dtype)
    solver = Ngspice(reduced=True, progress=progress, processes=processes, timeout=None, max_points=_PART)
    theirs = solve(network, inputs, solver=solver, chip=chip)
    ours = solve(network.to(dtype), inputs.to(dtype), solver=build_solver(spec), chip=chip)
    return Classes.of(ours.outputs, theirs.outputs, targets)


def array_of(chip: Chip | None, array: Array) -> Chip | None:
    """The chip of an array: itself, or its twin."""
    if array == "first":
        return chip
    if chip is None or chip.twin is None:
        raise CheckpointError("the run's chip must have twin arrays, found one array; leave out the choice")
    return chip.twin


def export_deck(
    path: Path, sample: int, phase: Phase, out: Path, dialect: DialectName = "ngspice", array: Array = "first"
) -> None:
    """Write a run's network with one test sample as a deck for a simulator alone; see `write_netlist`.

    Parameters
    ----------
    path : Path
        The run folder.
    sample : int
        Index in the test part.
    phase : "free", "nudged" or "both"
        What the deck solves.
    out : Path
        Where to write it.
    dialect : str
        The simulator, see `write_netlist`.
    array : "first" or "twin"
        Which array of the run's chip.

    Raises
    ------
    CheckpointError
        If the folder has no usable checkpoint, or its chip no twin array.
    DataError
        If there is no such sample.
    """
    spec, network, chip = trained_circuit(path)
    inputs, targets = (values[0] for values in test_samples(spec, network, slice(sample, sample + 1), chip))
    nudge = None if phase == "free" else build_nudge(spec, targets)
    write_netlist(network, inputs, nudge, path=out, phase=phase, chip=array_of(chip, array), dialect=dialect)


_TRANSPOSED = {"adjoint": write_adjoint_netlist, "asymmetric": write_asymmetric_netlist}


def export_transposed(
    path: Path,
    sample: int,
    phase: Literal["adjoint", "asymmetric"],
    out: Path,
    dialect: DialectName = "ngspice",
    array: Array = "first",
) -> None:
    """Write a run with one test sample as the adjoint network, or with the correction of asymmetric EP.

    Arguments and errors are those of `export_deck`; see `write_adjoint_netlist` and `write_asymmetric_netlist`.
    """
    spec, network, chip = trained_circuit(path)
    ranged_of(network, f"the {phase} phase needs conductances that learn", "export another phase")
    inputs, targets = (values[0] for values in test_samples(spec, network, slice(sample, sample + 1), chip))
    nudge = build_nudge(spec, targets)
    _TRANSPOSED[phase](network, inputs, nudge, path=out, chip=array_of(chip, array), dialect=dialect)


def export_transient(
    path: Path,
    samples: slice,
    out: Path,
    capacitance: float | None = None,
    rate: float | None = None,
    dialect: DialectName = "ngspice",
) -> None:
    """Write phases of a run's network over time as a deck that a simulator runs alone.

    Of a resistive network the whole cycle, test samples in turn: see `write_transient_netlist`. Of a Hopfield network
    one sample that settles from rest, free and nudged: see `write_settling_netlist`.

    Parameters
    ----------
    path : Path
        The run folder.
    samples : slice
        Which of the test part.
    out : Path
        Where to write it.
    capacitance : float, optional
        Of every node that neither a source nor an amplifier holds, by default 1 pF; a Hopfield network has its own. [F]
    rate : float, optional
        Factor from −∂C/∂g to ΔG, see `write_transient_netlist`.
    dialect : str
        The simulator to write for, "ngspice" or "vacask".

    Raises
    ------
    CheckpointError
        If the folder has no usable checkpoint.
    DataError
        If there are no such samples.
    StimulusError, EnergyUnavailableError, CircuitError
        See `write_transient_netlist`; also if a Hopfield network is given several samples, a capacitance or a
        rate.
    """
    spec, network, chip = trained_circuit(path)
    network.answer(_Transient(spec, samples, out, capacitance, rate, chip, dialect))


@dataclass(frozen=True, eq=False)
class _Transient(Question[None]):
    """The deck of a run's phases over time."""

    spec: Spec
    samples: slice
    out: Path
    capacitance: float | None
    rate: float | None
    chip: Chip | None
    dialect: DialectName

    def network(self, network: Network) -> None:
        raise StimulusError(f"a netlist needs a network that is a circuit, found a {type(network).__name__}")

    def circuit(self, network: HardwareNetwork) -> None:
        inputs, targets = test_samples(self.spec, network, self.samples, self.chip)
        farads, nudge = 1e-12 if self.capacitance is None else self.capacitance, build_nudge(self.spec, targets)
        write_transient_netlist(
            network,
            inputs,
            nudge,
            path=self.out,
            capacitance=farads,
            rate=self.rate,
            chip=self.chip,
            dialect=self.dialect,
        )

    def units(self, network: UnitNetwork) -> None:
        given = self.capacitance is not None or self.rate is not None
        if given or self.samples.stop - self.samples.start > 1:
            raise StimulusError(
                "the transient of a Hopfield network shows one sample with the spec's network.capacitance and no "
                "change, found another number of samples, a capacitance or a rate; leave them out"
            )
        inputs, targets = test_samples(self.spec, network, self.samples, self.chip)
        nudge = build_nudge(self.spec, targets[0])
        write_settling_netlist(network, inputs[0], nudge, path=self.out, dialect=self.dialect)
