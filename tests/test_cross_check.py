"""The check says no to every fault that is put into what it certifies."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from analog_ep import (
    CoupledLearning,
    CrossEntropy,
    HopfieldNetwork,
    IdealDiode,
    Ngspice,
    Nudge,
    ResistiveNetwork,
    ShockleyDiode,
    SmallSignal,
    SquaredError,
    cross_check,
)
from analog_ep.analyses.response import small_signal_gradient
from analog_ep.checking import check_decks, decks_left_out
from analog_ep.checking import decks as checking_decks
from analog_ep.errors import ConvergenceError
from analog_ep.learning.gradients import propagation
from analog_ep.learning.gradients.ngspice_small_signal import NgspiceSmallSignal
from analog_ep.netlist import deck_sections, nudge_cards, transient_deck

pytestmark = pytest.mark.ngspice

NUDGING = 1e-6


def network(dtype: torch.dtype = torch.float64, **keywords) -> ResistiveNetwork:
    return ResistiveNetwork([4, 6, 3], dtype=dtype, **keywords)


def samples(count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = 2 * torch.rand(count, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return inputs, torch.eye(3, dtype=torch.float64)[torch.arange(count) % 3]


@pytest.mark.parametrize("diode", [None, IdealDiode()], ids=["shockley", "ideal"])
@pytest.mark.parametrize("cost", [SquaredError(), CrossEntropy(0.25)], ids=["squared", "entropy"])
def test_a_network_as_it_is_trained_agrees(diode, cost):
    net = network(torch.float32, diode=diode)
    found = cross_check(net, *samples(), nudging=NUDGING, cost=cost, method=SmallSignal(net, cost))
    assert found.passed
    assert 0 < found.trained_error < 1e-5
    assert abs(found.gradient_norm_ratio - 1) < 1e-6
    assert (found.clamp_distance > 0) == (diode is not None)
    figures = json.loads(found.to_json())
    assert figures["accuracy_torch"] == figures["accuracy_ngspice"]
    assert (figures["classes_differ"], figures["gradient_norm_ratio"]) == (0, found.gradient_norm_ratio)


def test_a_soft_stand_in_is_another_network():
    found = cross_check(network(diode=IdealDiode(on_conductance=1e-4)), *samples(), nudging=NUDGING)
    assert found.max_voltage_error < 1e-10
    assert found.clamp_share > 1e-2
    assert not found.passed


def test_responses_of_exactly_zero_agree():
    net = ResistiveNetwork([4, 5, 3], conductance_range=(1e-7, 1e-6), initial_range=(1e-6, 1e-6), dtype=torch.float64)
    found = cross_check(net, *samples(), nudging=NUDGING)
    assert found.gradients["stage1"][0].ratio == 1
    assert found.passed


def test_a_method_that_follows_no_cost_is_compared_with_itself():
    net = network(torch.float32)
    found = cross_check(net, *samples(), nudging=NUDGING, method=CoupledLearning(net, 0.1))
    assert found.method_name == "CoupledLearning"
    assert found.passed


def _weights(monkeypatch):
    ratios = ResistiveNetwork.weight_ratios
    assert isinstance(ratios, property)
    monkeypatch.setattr(ResistiveNetwork, "weight_ratios", property(lambda net: (1.0,) * net.n_stages))


def _doubled(monkeypatch):
    mean = propagation.mean_gradients
    monkeypatch.setattr(propagation, "mean_gradients", lambda *a: {n: 2 * g for n, g in mean(*a).items()})


def _summed(monkeypatch):
    mean = propagation.mean_gradients
    monkeypatch.setattr(
        propagation, "mean_gradients", lambda net, total, x: {n: len(x) * g for n, g in mean(net, total, x).items()}
    )


def _nudged_otherwise(monkeypatch):
    current = Nudge.current
    monkeypatch.setattr(Nudge, "current", lambda self, outputs: (1 + 1e-4) * current(self, outputs))


def _cost_otherwise(monkeypatch):
    gradient = SquaredError.gradient
    monkeypatch.setattr(SquaredError, "gradient", lambda self, o, y: (1 + 1e-4) * gradient(self, o, y))


FAULTS = [_weights, _doubled, _summed]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_faults_in_the_gradient_are_seen(fault, monkeypatch):
    net = network()
    fault(monkeypatch)
    found = cross_check(net, *samples(), nudging=NUDGING)
    assert not found.passed
    assert found.min_gradient_cosine > 0.999999, "a cosine does not see them"


@pytest.mark.parametrize("fault", [_nudged_otherwise, _cost_otherwise], ids=["nudge", "cost"])
def test_a_nudge_that_is_not_what_ngspice_forms_itself_is_seen(fault, monkeypatch):
    net = network()
    fault(monkeypatch)
    # Where the nudge is large beside the other currents at an output, Kirchhoff's law already misses the difference.
    with pytest.raises(ConvergenceError, match="Kirchhoff's current law"):
        cross_check(net, *samples(), nudging=NUDGING)
    found = cross_check(net, *samples(), nudging=NUDGING, reference=Ngspice(rtol=1e-3, forms_nudges=True))
    assert abs(found.gradients["stage1"][0].ratio - 1) == pytest.approx(1e-4, rel=0.01)
    assert not found.passed


def test_a_fault_of_the_trained_dtype_alone_is_seen(monkeypatch):
    net = network(torch.float32)
    small_signal = SmallSignal(net)
    gradients = small_signal.gradients
    monkeypatch.setattr(
        small_signal, "gradients", lambda x, y: (None, {n: 1.05 * g for n, g in gradients(x, y)[1].items()})
    )
    found = cross_check(net, *samples(), nudging=NUDGING, method=small_signal)
    assert found.method["stage1"].ratio == pytest.approx(1.05)
    assert not found.passed


def decks(kind: str = "frozen", diode=None, hidden: int = 6) -> dict[str, float]:
    net = ResistiveNetwork([4, hidden, 3], dtype=torch.float64, diode=diode or ShockleyDiode(1e-9))
    inputs, targets = samples(1)
    # All diodes of the layer have to conduct or block by volts, or a fault in them is none.
    found = check_decks(net, 10 * inputs[0], Nudge(NUDGING, targets[0], SquaredError(), kind))  # pyright: ignore
    return {deck: check.error for deck, check in found.items()}


def passes(errors: dict[str, float]) -> bool:
    return errors.pop("transient") <= 1e-3 and max(errors.values()) <= 1e-6


@pytest.mark.parametrize("kind", ["frozen", "elastic"])
@pytest.mark.parametrize("diode", [None, IdealDiode()], ids=["shockley", "ideal"])
def test_every_kind_of_exported_netlist_prints_what_pytorch_finds(kind, diode):
    errors = decks(kind, diode)
    assert set(errors) == {"free", "nudged", "both", "transient"}
    assert passes(errors)


def test_netlists_that_are_not_run_are_named(monkeypatch):
    net = ResistiveNetwork([4, 6, 3], dtype=torch.float64, diode=ShockleyDiode(1e-9))
    circuit = net.circuit()
    assert decks_left_out(circuit) == {}
    monkeypatch.setattr(checking_decks, "MOST_TRANSIENT_BRANCHES", circuit.n_branches - 1)
    assert set(decks()) == {"free", "nudged", "both"}
    monkeypatch.setattr(checking_decks, "MOST_BRANCHES", circuit.n_branches - 1)
    assert decks() == {}
    left_out = decks_left_out(circuit)
    assert set(left_out) == {"free", "nudged", "both", "transient"}
    reason = f"{circuit.n_branches} branches, at most {circuit.n_branches - 1} are run"
    assert set(left_out.values()) == {reason}
    found = replace(cross_check(net, *samples(), nudging=NUDGING), decks_left_out=left_out, reduced=True)
    assert json.loads(found.to_json())["decks_left_out"] == left_out
    rows = [str(cell) for column in found.table().columns for cell in column.cells]
    assert {"exported netlist, transient: not run", reason, "with Norton equivalents"} <= set(rows)


LIBRARY_FAULTS = {
    "gain": ("amplifier.lib", "{a}", "{1.01*a}"),
    "feedback": ("amplifier.lib", "{k}", "{1.01*k}"),
    "emission": ("diode_clamp.lib", "n={n}", "n={1.01*n}"),
    "saturation": ("diode_clamp.lib", "is={is}", "is={1.05*is}"),
    "side": ("diode_clamp.lib", "d_clamp node bias", "d_clamp bias node"),
    "store": ("sample_hold.lib", "{c}", "{1e6*c}"),
}


@pytest.mark.parametrize("fault", LIBRARY_FAULTS)
def test_faults_in_a_library_are_seen(fault, monkeypatch, tmp_path):
    file, right, wrong = LIBRARY_FAULTS[fault]
    for library in Path(deck_sections.netlists_folder()).glob("*.lib"):
        (tmp_path / library.name).write_text(library.read_text(encoding="ascii"), encoding="ascii")
    text = (tmp_path / file).read_text(encoding="ascii")
    assert right in text
    (tmp_path / file).write_text(text.replace(right, wrong), encoding="ascii")
    monkeypatch.setattr(deck_sections, "netlists_folder", lambda: tmp_path)
    assert not passes(decks())


def _nudge_cards(monkeypatch):
    frozen = nudge_cards._frozen
    monkeypatch.setattr(nudge_cards, "_frozen", lambda *a: [repr(1.001 * float(i)) for i in frozen(*a)])


def _factor(monkeypatch):
    right = transient_deck.contrast_factors
    monkeypatch.setattr(
        transient_deck, "contrast_factors", lambda *a: {label: 2 * values for label, values in right(*a).items()}
    )


def _expression(monkeypatch):
    right = transient_deck.current_expressions
    monkeypatch.setattr(
        transient_deck, "current_expressions", lambda *a: [f"1.01*({expression})" for expression in right(*a)]
    )


@pytest.mark.parametrize("fault", [_nudge_cards, _factor, _expression], ids=lambda fault: fault.__name__.strip("_"))
@pytest.mark.parametrize("alone", [True, False], ids=["changes", "responses"])
def test_faults_in_a_deck_are_seen(fault, alone, monkeypatch):
    if not alone:
        monkeypatch.setattr(transient_deck.write_transient_deck, "__kwdefaults__", _with_few_branches())
    assert passes(decks())
    fault(monkeypatch)
    assert not passes(decks())


def _with_few_branches() -> dict[str, object]:
    defaults = transient_deck.write_transient_deck.__kwdefaults__
    assert defaults is not None
    return {**defaults, "most_branches": 10}


def test_accuracies_that_differ_by_more_than_the_tolerance_are_no_agreement():
    found = cross_check(network(), *samples(), nudging=NUDGING)
    assert found.classes is not None
    whole = replace(found.classes, torch=0.98, ngspice=0.9796, differ=4, samples=10_000)
    assert replace(found, test_classes=whole).passed
    assert not replace(found, test_classes=replace(whole, ngspice=0.979)).passed
    assert json.loads(replace(found, test_classes=whole).to_json())["accuracy_ngspice"] == 0.9796


@pytest.mark.parametrize("fault", [None, _weights, _doubled], ids=["none", "weights", "doubled"])
def test_the_study_of_a_gradient_sees_its_size(fault, monkeypatch):
    net = network()
    if fault is _doubled:
        gradients = NgspiceSmallSignal.gradients
        monkeypatch.setattr(
            NgspiceSmallSignal,
            "gradients",
            lambda *a: (torch.zeros(()), {n: 2 * g for n, g in gradients(*a)[1].items()}),
        )
    elif fault is not None:
        fault(monkeypatch)
    found = small_signal_gradient(net, SquaredError(), *samples(2))
    assert found.passed == (fault is None)
    assert min(found.cosines.values()) > 0.999999
    assert json.loads(found.to_json())["norm_ratios"] == found.norm_ratios


@pytest.mark.parametrize("fault", [None, _doubled, _summed], ids=["none", "doubled", "summed"])
def test_the_check_of_a_hopfield_network_sees_the_size_of_its_gradient(fault, monkeypatch):
    net = HopfieldNetwork([4, 5, 3], activation="sigmoid", seed=1, dtype=torch.float64)
    if fault is not None:
        fault(monkeypatch)
    found = cross_check(net, *samples(3), nudging=0.3, kind="elastic")
    assert found.passed == (fault is None)
    assert found.max_contrast_error <= 1e-6


def test_the_check_of_a_hopfield_network_sees_another_contrast(monkeypatch):
    contrast = HopfieldNetwork.contrast
    monkeypatch.setattr(
        HopfieldNetwork, "contrast", lambda *a, **k: {n: 1.02 * value for n, value in contrast(*a, **k).items()}
    )
    net = HopfieldNetwork([4, 5, 3], activation="sigmoid", seed=1, dtype=torch.float64)
    assert not cross_check(net, *samples(3), nudging=0.3, kind="elastic").passed
