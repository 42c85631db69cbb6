"""Which nudgings hardware can use: predictions against ngspice's finite nudges and against reads that are drawn."""

import json
import math

import numpy as np
import pytest
import torch
from resistive import resistive_network

from analog_ep import cli
from analog_ep.analyses.analyse import Conditions, analyse
from analog_ep.analyses.conditions import FOLDER
from analog_ep.analyses.nudging import LayerBand, NudgedBatch, NudgingReport, nudging_report
from analog_ep.analyses.read_errors import Reads, float32_variance, level_variance
from analog_ep.equilibrium.ngspice import Ngspice
from analog_ep.errors import StimulusError
from analog_ep.learning import EquilibriumPropagation
from analog_ep.learning.gradients.ngspice_small_signal import NgspiceSmallSignal
from analog_ep.runs.building import build_cost, build_dataset, build_gradient, build_nudge
from analog_ep.runs.chips import build_chip
from analog_ep.runs.folder import Run
from analog_ep.spec import default_spec, with_values

SAMPLES = 8


def iris(**tables):
    network = {"sizes": [4, 6, 3], **tables.pop("network", {})}
    return with_values(default_spec("iris"), network=network, **tables)


def subject(spec):
    """Network, inputs, targets and batch of a spec."""
    net, data, cost = resistive_network(spec, torch.float64), build_dataset(spec), build_cost(spec)
    inputs = data.test_inputs[:SAMPLES].double()
    targets = cost.encode(data.test_labels[:SAMPLES], 3, like=inputs)
    return net, inputs, targets, NudgedBatch(net, inputs, build_nudge(spec, targets), spec.gradient.compared_signs)


@pytest.mark.ngspice
@pytest.mark.parametrize(("variant", "sizes"), [("centered", [4, 6, 3]), ("positive", [4, 6, 5, 3])])
def test_the_bias_is_that_of_finite_nudges_in_ngspice(variant, sizes):
    spec = iris(gradient={"variant": variant}, network={"sizes": sizes})
    net, inputs, targets, batch = subject(spec)
    cost, solver, reads = build_cost(spec), Ngspice(reduced=True), Reads.same(len(net.layouts), 0.0)
    exact = NgspiceSmallSignal(net, cost, solver).gradients(inputs, targets)[1]
    for share in (0.3, 1.0, 3.0, 10.0, 30.0):
        strength = share * batch.largest
        predicted = batch.biases(strength, batch.responses(strength), reads)
        method = EquilibriumPropagation(net, strength, cost, variant, solver=solver)
        measured = method.gradients(inputs, targets)[1]
        for name, bias in predicted.items():
            found = float((measured[name] - exact[name]).norm() / exact[name].norm())
            assert bias > 1e-7
            assert bias == pytest.approx(found, rel=0.05)


@pytest.mark.ngspice
def test_reads_out_of_range_bias_the_gradient():
    spec = iris(converters={"adc_range": [0.15, 0.1]}, gradient={"nudging": 1e-6})
    net, inputs, targets, batch = subject(spec)
    chip = build_chip(spec, net)
    assert chip is not None
    assert chip.converters is not None
    exact = NgspiceSmallSignal(net, build_cost(spec), Ngspice(reduced=True)).gradients(inputs, targets)[1]
    measured = build_gradient(spec, net, chip).gradients(inputs, targets)[1]
    predicted = batch.biases(1e-6, batch.responses(1e-6), Reads.of(chip.converters, 2))
    for name, bias in predicted.items():
        assert bias > 0.05
        assert bias == pytest.approx(float((measured[name] - exact[name]).norm() / exact[name].norm()), rel=0.05)


LEVELS = {"adc_range": 8.0, "adc_bits": 11, "adc_offset": 0.1}
READS = {
    "thermal": ("centered", {"adc_capacitance": 1e-13}, 6),
    "levels": ("positive", LEVELS, 12),
    "both": ("centered", {**LEVELS, "adc_noise": 1e-3}, 6),
}


@pytest.mark.parametrize(("variant", "converters", "draws"), READS.values(), ids=READS)
def test_the_errors_are_those_of_reads_that_are_drawn(variant, converters, draws):
    """Offsets that are known shift the levels of every draw, and do nothing else."""
    plain = iris(gradient={"variant": variant})
    net, inputs, targets, batch = subject(plain)
    chip = build_chip(iris(converters=converters), net)
    assert chip is not None
    assert chip.converters is not None
    report = nudging_report(batch, Reads.of(chip.converters, 2), 1e-7)
    # A response far below a level shows in too few draws.
    shown = np.flatnonzero(report.layers[0].response > 0.05 * report.layers[0].step)[
        :: 1 if "adc_bits" in converters else 2
    ]
    assert len(shown) >= 5
    for n in shown[:5]:
        strength = float(report.nudgings[n])
        quiet = EquilibriumPropagation(net, strength, build_cost(plain), variant).gradients(inputs, targets)[1]
        power = dict.fromkeys(quiet, 0.0)
        for seed in range(draws):
            spec = iris(
                converters=converters, gradient={"variant": variant, "nudging": strength}, training={"seed": seed}
            )
            drawn = build_chip(spec, net)
            found = build_gradient(spec, net, drawn, drawn).gradients(inputs, targets)[1]
            for name, value in found.items():
                power[name] += float((value - quiet[name]).square().sum()) / draws
        for layer in report.layers:
            exact = float(batch.gradient[layer.label].norm()) * net.reference_conductance
            assert layer.error[n] == pytest.approx(math.sqrt(power[layer.label]) / exact, rel=0.2)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.2, 1.0])
@pytest.mark.parametrize("change", [0.0, 0.03, 0.5, 1.3, 20.25])
def test_the_variance_of_levels_is_that_of_a_quantiser(noise, change):
    drawn = np.random.default_rng(7)
    start = drawn.uniform(0, 1, 400_000)
    reads = [np.round(volts + noise * drawn.standard_normal(start.size)) for volts in (start, start + change)]
    total = float(np.var(reads[1] - reads[0]))
    step = 2.5e-3
    predicted = float(level_variance(torch.tensor(change * step, dtype=torch.float64), noise * step, step)) / step**2
    assert predicted + 2 * noise**2 == pytest.approx(total, rel=0.02, abs=1e-3)


def test_single_precision_is_as_numpy_has_it():
    volts = np.random.default_rng(1).uniform(0.1, 4.0, 200_000)
    error = volts - volts.astype(np.float32)
    expected = 2 * np.square(error).mean()
    assert float(float32_variance(torch.from_numpy(volts)).mean()) == pytest.approx(expected, rel=0.02)


def test_the_band_is_the_longest_stretch():
    values = np.zeros(7)
    layer = LayerBand("s", values, 0.0, 0.0, values, values, values, values, values)
    report = NudgingReport(np.arange(1.0, 8.0), 1.0, (-1, 1), "frozen", 1, (layer,))
    assert report.band(np.array([1, 0, 1, 1, 0, 0, 1], bool)) == (3.0, 4.0)
    assert report.band(np.zeros(7, bool)) is None
    assert report.usable == (1.0, 7.0)


def test_unstable_nudges_have_no_bias_to_speak_of():
    spec = iris(gradient={"kind": "elastic"})
    report = nudging_report(subject(spec)[3], Reads.same(2, 1e-4, 1e-3), 1e-7)
    assert math.isinf(report.layers[0].bias[-1])
    assert json.loads(report.to_json())["layers"]["stage1"]["bias"][-1] is None
    assert not report.layers[0].nudge_noise.any()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    spec = iris(converters={"adc_bits": 10, "adc_range": 1.0, "adc_capacitance": 1e-13}, training={"epochs": 1})
    path = tmp_path_factory.mktemp("runs") / "run"
    Run.create(path, spec)
    return path


@pytest.mark.pictures
def test_the_study_is_written_and_says_the_same(run, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["analyse", str(run), "nudging", "--samples", "5", "--json"])
    assert not ended.value.code
    said = json.loads(capsys.readouterr().out)
    assert said["samples"] == 5
    assert said["own"] in said["nudgings"]
    for stage in ("stage1", "stage2"):
        figures = said["layers"][stage]
        assert figures["noise"] == pytest.approx(203.5e-6, rel=1e-3)
        assert figures["step"] == 1.0 / 512
        needed = 5 * np.square(figures["error"])
        assert figures["samples_needed"] == pytest.approx(np.maximum(1, np.ceil(needed)))
    assert {file.suffix for file in (run / FOLDER).glob("nudging_0_samples=5.*")} == {".json", ".txt", ".png"}
    assert (run / FOLDER / "nudging_0_samples=5.png").read_bytes().startswith(b"\x89PNG")


def test_without_converters_the_conditions_count(tmp_path):
    Run.create(tmp_path / "run", iris(training={"batch_size": 4}))
    report = analyse(tmp_path / "run", "nudging", 3, Conditions(capacitance=4e-12, lsb=2e-3))
    assert isinstance(report, NudgingReport)
    assert report.samples == 4
    assert [layer.step for layer in report.layers] == [2e-3, 2e-3]
    assert report.layers[0].noise == pytest.approx(32.2e-6, rel=1e-3)


@pytest.mark.parametrize(("nudging", "warned"), [(1e-9, ["stage1", "stage2"]), (1e-2, [])])
def test_training_warns_of_responses_that_converters_do_not_see(tmp_path, capsys, nudging, warned):
    converters = {"adc_bits": 10, "adc_range": 1.0, "adc_capacitance": 1e-13}
    spec = iris(converters=converters, gradient={"nudging": nudging}, training={"epochs": 1})
    (tmp_path / "spec.toml").write_text(spec.to_toml())
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", str(tmp_path / "spec.toml"), "--out", str(tmp_path / "run")])
    assert not ended.value.code
    lines = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(lines) == len(warned)
    for line, stage in zip(lines, warned, strict=True):
        assert f"nodes behind {stage} by the noise of two reads, 0.00029 V and one step of its converter, 0.002" in line
        assert f"at {nudging:g}; raise it, see: analog-ep analyse RUN nudging" in line


def test_nothing_to_nudge_is_refused():
    spec = iris(cost={"function": "squared_error"})
    net, inputs = subject(spec)[:2]
    outputs = EquilibriumPropagation(net, 1e-6).solver.solve(net, inputs).outputs
    batch = NudgedBatch(net, inputs, build_nudge(spec, outputs), (1,))
    with pytest.raises(StimulusError, match="needs outputs and costs that are not 0"):
        nudging_report(batch, Reads.same(2, 0.0), 1e-6)
