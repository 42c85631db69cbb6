"""What the comparison of PyTorch with ngspice found, and what counts as agreement."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import torch
from rich.table import Table
from torch import Tensor

from analog_ep.learning.gradients.branch_gradient import Likeness
from analog_ep.ngspice.process import EngineReport
from analog_ep.support.shown import Tabled

RESOLVED = 1e-9
"""Voltage below which a difference of two of ngspice's solutions is its rounding. [V]"""


@dataclass(frozen=True)
class Tolerances:
    """What counts as agreement.

    Attributes
    ----------
    voltage : float
        Largest difference of a node voltage, in any phase. [V]
    response : float
        Largest difference of a response, relative to the largest response of its layer.
    cosine : float
        Smallest cosine between the gradients of a crossbar.
    ratio : float
        Largest distance from 1 of the ratio of the norms of a crossbar's gradients by the same two nudges.
    bias : float
        The same of a gradient by finite nudges, or in the dtype of the training, and the exact one.
    trained : float
        Largest difference of a layer voltage from that of the network as it was trained, relative to the largest
        voltage of the layer.
    clamp : float
        Largest distance from an ideal clamp, relative to the largest voltage of the layer.
    accuracy : float
        Largest difference of two accuracies.
    deck : float
        Largest difference of a printed value of an exported netlist, relative to the largest of its kind.
    transient : float
        The same of a ΔG that a transient prints, which ends some time constants before it has settled.
    judge : float
        Largest difference of an entry of a gradient from the judge's, relative to the largest of its crossbar.
    """

    voltage: float = 1e-8
    response: float = 1e-3
    cosine: float = 0.9999
    ratio: float = 2e-5
    bias: float = 1e-2
    trained: float = 1e-3
    clamp: float = 1e-4
    accuracy: float = 5e-4
    deck: float = 1e-6
    transient: float = 1e-3
    judge: float = 1e-6

    def of_deck(self, kind: str) -> float:
        """What a kind of netlist may print otherwise."""
        return self.transient if kind == "transient" else self.deck


@dataclass(frozen=True)
class Classes:
    """How the trained network and ngspice, given its netlist, classify the same samples.

    Attributes
    ----------
    torch, ngspice : float
        Share of the samples whose class each gets right.
    differ : int
        Samples to which they give different classes; outputs that are equal to `RESOLVED` in both are a tie, which
        rounding decides.
    samples : int
        How many there are.
    """

    torch: float
    ngspice: float
    differ: int
    samples: int

    def to_dict(self) -> dict[str, float]:
        """The figures by the names that they have in JSON."""
        return {
            "accuracy_torch": self.torch,
            "accuracy_ngspice": self.ngspice,
            "classes_differ": self.differ,
            "accuracy_samples": self.samples,
        }

    @classmethod
    def of(cls, ours: Tensor, theirs: Tensor, targets: Tensor) -> Self:
        """From outputs and targets `(n_samples, n_outputs)`."""
        first, second, wanted = (values.cpu().argmax(-1) for values in (ours, theirs, targets))
        right = [float((found == wanted).double().mean()) for found in (first, second)]
        margins = (_lead(ours, first, second), _lead(theirs, second, first))
        differ = (first != second) & (torch.maximum(*margins) > RESOLVED)
        return cls(right[0], right[1], int(differ.sum()), len(wanted))


def _lead(outputs: Tensor, of: Tensor, before: Tensor) -> Tensor:
    """By how much one output of each sample is above another. [V]"""
    volts = outputs.cpu().double()
    return (volts.gather(-1, of[:, None]) - volts.gather(-1, before[:, None]))[:, 0]


@dataclass(frozen=True)
class DeckCheck:
    """How far what an exported netlist prints lies from PyTorch's solution.

    Attributes
    ----------
    error : float
        Largest, relative to the largest value of its kind.
    worst : str
        The kind of value that has it.
    """

    error: float
    worst: str


@dataclass(frozen=True)
class CrossCheck(Tabled):
    """How far PyTorch and ngspice agree.

    Attributes
    ----------
    max_voltage_error : float
        Over all nodes, samples and phases. [V]
    max_response_error : float
        Of the responses, relative to the largest response of their layer.
    gradients : dict of str to (Likeness, Likeness)
        Per crossbar, of ngspice's gradient and PyTorch's by equilibrium propagation, and of ngspice's and the exact
        one. ngspice's is that of its own outputs, nudges and voltages, by `branch_gradient`.
    method : dict of str to Likeness
        Per crossbar, of the gradient by the method that trains the network, in its own dtype, and the exact one.
    method_name : str
        Which method.
    trained_error : float
        Of a layer's voltages in the free phase: ngspice's less those of the network as it is, with its own diodes,
        dtype and solver, relative to the largest of the layer.
    classes : Classes or None
        By the network as it is and by ngspice, over the samples that were compared; None where they have no classes.
    test_classes : Classes or None
        The same over the whole test part, where it was asked for.
    samples, nodes : int
        How many were compared.
    hidden_swing : tuple of float
        Per hidden layer, the median over its nodes of the peak-to-peak voltage over the samples. [V]
    conducting : tuple of float
        Per hidden layer, the share of nodes and samples at which a diode conducts; None where it has none.
    clamp_distance : float
        Largest distance of a node from where an ideal diode would clamp it, 0 for other diodes. [V]
    clamp_share : float
        The same relative to the largest voltage of the layer.
    exact : Likeness
        Of ngspice's whole gradient and the exact one.
    irreciprocity : str
        Why the circuit does not have the energy whose weights the contrast uses; empty where it has it. A one-way
        source leaves none, and a chip whose amplifiers differ has another one or none: then the phases do not give the
        exact gradient, and the cosines with implicit differentiation say how far they are from it.
    tolerances : Tolerances
        What `passed` asks for.
    needs_no_energy : bool
        Whether the method is judged without an energy too: it is exact, or compared with itself in float64.
    decks : dict of str to DeckCheck
        Exported netlists that were run, by their kind; none where the network alone was checked.
    decks_left_out : dict of str to str
        Kinds that were not run, and why not.
    reduced : bool
        Whether ngspice ran the network with Norton equivalents in place of its first crossbar: the same voltages.
    engine : EngineReport or None
        What ran the netlists; None where another solver stood in its place.
    judge : dict of str to float
        Per crossbar, the largest difference of an entry of the gradient from `adjoint_gradients`, relative to the
        largest entry; none where no judge was asked.
    """

    max_voltage_error: float
    max_response_error: float
    gradients: dict[str, tuple[Likeness, Likeness]]
    method: dict[str, Likeness]
    method_name: str
    trained_error: float
    classes: Classes | None
    samples: int
    nodes: int
    hidden_swing: tuple[float, ...]
    conducting: tuple[float | None, ...]
    clamp_distance: float
    clamp_share: float
    exact: Likeness
    irreciprocity: str
    tolerances: Tolerances
    needs_no_energy: bool = False
    test_classes: Classes | None = None
    decks: dict[str, DeckCheck] = field(default_factory=dict)
    decks_left_out: dict[str, str] = field(default_factory=dict)
    reduced: bool = False
    engine: EngineReport | None = None
    judge: dict[str, float] = field(default_factory=dict)

    @property
    def reciprocal(self) -> bool:
        """Whether the circuit has the energy whose weights the contrast uses."""
        return not self.irreciprocity

    @property
    def cosines(self) -> dict[str, tuple[float, float]]:
        """Per crossbar, the cosine of ngspice's gradient with PyTorch's and with the exact one."""
        return {name: (ours.cosine, exact.cosine) for name, (ours, exact) in self.gradients.items()}

    @property
    def min_gradient_cosine(self) -> float:
        """Smallest of all cosines."""
        return min(min(pair) for pair in self.cosines.values())

    @property
    def gradient_norm_ratio(self) -> float:
        """Of all ratios of norms of ngspice's gradient the one that is farthest from 1."""
        found = [likeness.ratio for pair in self.gradients.values() for likeness in pair]
        return max(found, key=lambda ratio: abs(ratio - 1))

    @property
    def predictions_identical(self) -> bool:
        """Whether the network as it is and ngspice give every sample that was compared the same class."""
        return self.classes is None or not self.classes.differ

    @property
    def accuracy(self) -> float:
        """Share of the samples whose class ngspice gets right; NaN without classes."""
        return float("nan") if self.classes is None else self.classes.ngspice

    @property
    def passed(self) -> bool:
        """Whether everything is within tolerance."""
        limits, whole = self.tolerances, self.test_classes
        return (
            self.max_voltage_error <= limits.voltage
            and self.max_response_error <= limits.response
            and self.trained_error <= limits.trained
            and self.clamp_share <= limits.clamp
            and all(self._alike(ours, limits.ratio) for ours, _ in self.gradients.values())
            and all(self._alike(exact, limits.bias) for exact in self._exactly())
            and self.predictions_identical
            and (whole is None or abs(whole.torch - whole.ngspice) <= limits.accuracy)
            and all(deck.error <= limits.of_deck(kind) for kind, deck in self.decks.items())
            and all(difference <= limits.judge for difference in self.judge.values())
        )

    def _exactly(self) -> list[Likeness]:
        """What must be like the exact gradient: the contrasts of a reciprocal circuit, and a method that is exact."""
        by_phases = [exact for _, exact in self.gradients.values()] if self.reciprocal else []
        return by_phases + (list(self.method.values()) if self.reciprocal or self.needs_no_energy else [])

    def _alike(self, found: Likeness, ratio: float) -> bool:
        return found.cosine >= self.tolerances.cosine and abs(found.ratio - 1) <= ratio

    def to_json(self) -> str:
        """The figures as a JSON object; accuracies are those of the whole test part where it was asked for."""
        classes = self.classes if self.test_classes is None else self.test_classes
        return json.dumps(
            {
                "max_voltage_error": self.max_voltage_error,
                "max_response_error": self.max_response_error,
                "min_gradient_cosine": self.min_gradient_cosine,
                "gradient_norm_ratio": self.gradient_norm_ratio,
                "predictions_identical": self.predictions_identical,
                "samples": self.samples,
                "nodes": self.nodes,
                "passed": self.passed,
                "reciprocal": self.reciprocal,
                "irreciprocity": self.irreciprocity,
                "gradient_cosine_exact": self.exact.cosine,
                "gradient_norm_ratio_exact": self.exact.ratio,
                **({} if self.classes is None else {"accuracy": self.classes.ngspice}),
                **({} if classes is None else classes.to_dict()),
                "trained_error": self.trained_error,
                "hidden_swing": list(self.hidden_swing),
                "conducting": list(self.conducting),
                "clamp_distance": self.clamp_distance,
                "clamp_share": self.clamp_share,
                "cosines": {name: list(pair) for name, pair in self.cosines.items()},
                "norm_ratios": {n: [ours.ratio, exact.ratio] for n, (ours, exact) in self.gradients.items()},
                "method": self.method_name,
                "method_cosines": {name: likeness.cosine for name, likeness in self.method.items()},
                "method_norm_ratios": {name: likeness.ratio for name, likeness in self.method.items()},
                "decks_left_out": self.decks_left_out,
                "reduced": self.reduced,
                **({} if self.engine is None else self.engine.to_dict()),
                **({"judge": self.judge} if self.judge else {}),
                "decks": {kind: {"error": deck.error, "worst": deck.worst} for kind, deck in self.decks.items()},
            }
        )

    def table(self) -> Table:
        """The figures as a table for a terminal."""
        program = "ngspice" if self.engine is None else self.engine.program
        table = Table(f"PyTorch against {program}", "found", "allowed", title="Cross-check")
        limits = self.tolerances
        table.add_row("samples, nodes compared", f"{self.samples}, {self.nodes}", "")
        table.add_row("largest node voltage error", f"{self.max_voltage_error:.2e} V", f"{limits.voltage:.0e} V")
        table.add_row("largest response error", f"{self.max_response_error:.2e}", f"{limits.response:.0e}")
        table.add_row("largest error of the trained network", f"{self.trained_error:.2e}", f"{limits.trained:.0e}")
        for row in self._gradient_rows():
            table.add_row(*row)
        for what, classes in (("samples", self.classes), ("whole test part", self.test_classes)):
            if classes is not None:
                accuracies = f"{classes.torch:.2%}, {classes.ngspice:.2%}"
                allowed = "" if what == "samples" else f"±{limits.accuracy:.2%}"
                table.add_row(f"accuracy, {what}: trained network, {program}", accuracies, allowed)
                of = f"{classes.differ} of {classes.samples}"
                table.add_row(f"classes that differ, {what}", of, "0" if what == "samples" else "")
        for layer, (swing, share) in enumerate(zip(self.hidden_swing, self.conducting, strict=True), start=1):
            if share is None:
                table.add_row(f"hidden layer {layer}, without diodes: swing", f"{swing:.3f} V", "")
            else:
                table.add_row(f"hidden layer {layer}: swing, diodes conducting", f"{swing:.3f} V, {share:.1%}", "")
        if self.clamp_distance:
            found = f"{self.clamp_distance:.2e} V, {self.clamp_share:.1e}"
            table.add_row("largest distance from an ideal clamp, of the layer", found, f"{limits.clamp:.0e}")
        for name, difference in self.judge.items():
            table.add_row(f"gradient of {name}: from neospice's adjoint", f"{difference:.1e}", f"{limits.judge:.0e}")
        for kind, deck in self.decks.items():
            table.add_row(f"exported netlist, {kind}: {deck.worst}", f"{deck.error:.1e}", f"{limits.of_deck(kind):.0e}")
        for kind, reason in self.decks_left_out.items():
            table.add_row(f"exported netlist, {kind}: not run", reason, "")
        if self.reduced:
            table.add_row(f"netlist in {program}", "with Norton equivalents", "")
        if self.engine is not None:
            table.add_row("engine", str(self.engine), "")
        if self.irreciprocity:
            table.add_row("no energy", self.irreciprocity, "")
            found = f"{self.exact.cosine:.6f}, {self.exact.ratio:.6f}"
            table.add_row("gradient of the phases and the exact one: cosine, ratio", found, "")
        table.add_row("agreement", "yes" if self.passed else "NO", "")
        return table

    def _gradient_rows(self) -> Iterator[tuple[str, str, str]]:
        limits = self.tolerances
        exactly = f"{limits.cosine}, ±{limits.bias:.0e}" if self.reciprocal else "not reciprocal"
        for name, (ours, exact) in self.gradients.items():
            yield f"gradient cosine, ratio of norms, {name}: EP", _shown(ours), f"{limits.cosine}, ±{limits.ratio:.0e}"
            yield f"gradient cosine, ratio of norms, {name}: implicit", _shown(exact), exactly
        for name, found in self.method.items():
            yield f"{self.method_name}, as trained, {name}: implicit", _shown(found), exactly


def _shown(found: Likeness) -> str:
    return f"{found.cosine:.8f}, {found.ratio:.6f}"
