"""Specs: what is accepted, what each error says, and that the objects built are those described."""

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from pydantic import BaseModel, ValidationError
from resistive import resistive_network

from analog_ep.devices import HardClamp, IdealDiode, PiecewiseLinearDiode, ShockleyDiode
from analog_ep.equilibrium import Relaxation
from analog_ep.errors import DataError, SpecError
from analog_ep.learning import CoupledLearning, EquilibriumPropagation, SmallSignal
from analog_ep.runs.building import build_cost, build_dataset, build_gradient, build_nudge, build_solver, build_update
from analog_ep.spec import Spec, default_spec, load_spec, parse_spec, with_values
from analog_ep.spec.keys import known_keys, place_of
from analog_ep.spec.op_amps import OpAmpsSpec
from analog_ep.spec.tables import NETWORKS
from analog_ep.stimulus import CrossEntropy, SquaredError

NETWORK = {"sizes": [2, 6, 4, 2]}


def spec(**tables: Any):
    return parse_spec({"network": NETWORK, **tables}, "test")


@pytest.mark.parametrize("name", ["digits", "iris", "xor", "mnist"])
def test_shipped_specs_load_and_survive_a_round_trip(name: str, tmp_path: Path):
    shipped = default_spec(name)
    assert shipped.data.source == name
    (tmp_path / "spec.toml").write_text(shipped.to_toml())
    assert load_spec(tmp_path / "spec.toml") == shipped


@pytest.mark.parametrize("name", ["digits", "iris", "xor"])
def test_shipped_specs_fit_their_data(name: str):
    shipped = default_spec(name)
    dataset, network = build_dataset(shipped), resistive_network(shipped)
    assert (dataset.n_features, dataset.n_classes) == (network.n_inputs, network.n_outputs)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"network": {}}, "network.sizes is required, found nothing"),
        ({"network": 3}, "network must be a table, found 3"),
        ({"netwrk": {}}, "netwrk is not a known key; known are data, network, diode, wires, cost, gradient"),
        ({"network": {**NETWORK, "gian": 2}}, "network.gian is not a known key; known are kind, sizes, gain, feedback"),
        ({"network": {**NETWORK, "gain": -1}}, "network.gain must be greater than 0, found -1"),
        ({"network": {**NETWORK, "gain": "4"}}, "network.gain must be a number, found '4'"),
        ({"network": {**NETWORK, "gain": float("inf")}}, "network.gain must be a finite number, found inf"),
        ({"network": {**NETWORK, "bias": 1}}, "network.bias must be true or false, found 1"),
        ({"network": {"sizes": [2]}}, r"network.sizes must have at least 2 entries, found \[2\]"),
        ({"network": {"sizes": [2, 0]}}, r"network.sizes\[1\] must be greater than 0, found 0"),
        ({"network": {"sizes": [2, 2.5]}}, r"network.sizes\[1\] must be an integer, found 2.5"),
        (
            {"network": {**NETWORK, "conductance_range": [1e-4, 1e-7]}},
            r"network.conductance_range must be \[low, high\] with low < high, found \[0.0001, 1e-07\]",
        ),
        (
            {"network": {**NETWORK, "initial_range": [1e-9, 1e-5]}},
            r"network.initial_range must lie in conductance_range \[1e-07, 0.0001\], found \[1e-09, 1e-05\]",
        ),
        (
            {"diode": {"model": "zener"}},
            "diode.model must be one of 'shockley', 'piecewise', 'ideal', 'card', found 'zener'",
        ),
        ({"diode": {}}, "diode.model is required, found nothing"),
        ({"diode": {"model": "shockley", "ideality": 0}}, "diode.ideality must be greater than 0, found 0"),
        (
            {"diode": [{"model": "ideal"}, {"model": "shockley", "ideality": 0}]},
            r"diode\[1\].ideality must be greater than 0, found 0",
        ),
        ({"diode": {"model": "ideal", "idealty": 1}}, "diode.idealty is not a known key; known are .*on_conductance"),
        (
            {"diode": {"model": "ideal", "ideality": 1}},
            'diode.ideality has a meaning only with model = "shockley", found 1 beside model = "ideal"; leave it out',
        ),
        (
            {"diode": {"model": "ideal", "clamp": "upper", "lower": 1.0}},
            'diode.lower has no meaning with clamp = "upper", found 1.0',
        ),
        ({"diode": [{"model": "ideal"}] * 3}, "diode must be one table or 2, one per hidden layer, found 3"),
        ({"cost": {"function": "hinge"}}, "cost.function must be one of 'cross_entropy', 'squared_error', found 'hin"),
        (
            {"cost": {"function": "squared_error", "logit_scale": 1.0}},
            'cost.logit_scale has a meaning only with function = "cross_entropy", found 1.0 beside',
        ),
        (
            {"gradient": {"method": "small_signal", "variant": "random"}},
            'gradient.variant has a meaning only with method = "ep" or "asymmetric", found "random"',
        ),
        (
            {"gradient": {"method": "ep", "amplitude": 0.5}},
            'gradient.amplitude has a meaning only with method = "coupled", found 0.5',
        ),
        (
            {"gradient": {"method": "coupled"}},
            'gradient.method = "coupled" needs cost.function = "squared_error", found "cross_entropy"',
        ),
        ({"gradient": {"method": "ep", "nudging": -1e-6}}, "gradient.nudging must be greater than 0, found -1e-06"),
        ({"training": {"optimizer": "lbfgs"}}, "training.optimizer must be 'adam' or 'sgd', found 'lbfgs'"),
        ({"training": {"learning_rate": [0.1, 0.1]}}, "training.learning_rate must be one rate or 3, one per crossbar"),
        ({"training": {"learning_rate": 0}}, "training.learning_rate must be greater than 0, found 0"),
        (
            {"training": {"learning_rate": [1, 1, 0.0]}},
            r"training.learning_rate\[2\] must be greater than 0, found 0.0",
        ),
        ({"training": {"weight_decay": -0.1}}, "training.weight_decay must be greater than or equal to 0, found -0.1"),
        ({"training": {"momentum": 0.9}}, 'training.momentum has a meaning only with optimizer = "sgd", found 0.9'),
        (
            {"relaxation": {"strict": False}},
            "relaxation.strict has no meaning with a resistive network, found false; leave it out",
        ),
        ({"relaxation": {"strict": True}}, "relaxation.strict has no meaning with a resistive network, found true"),
        ({"relaxation": {"method": "euler"}}, 'relaxation.method = "euler" needs network.kind = "hopfield"'),
        (
            {"relaxation": {"rtol": 1e-5}, "gradient": {"solver": "ngspice"}},
            'relaxation has no meaning with gradient.solver = "ngspice"; leave the table out',
        ),
        ({"training": {"epochs": 0}}, "training.epochs must be greater than 0, found 0"),
        ({"training": {"seed": -1}}, "training.seed must be greater than or equal to 0, found -1"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tables: dict[str, Any], words: str):
    with pytest.raises(SpecError, match=f"^test: {words}") as caught:
        parse_spec({"network": NETWORK, **tables}, "test")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"netwrk": {}}, "netwrk is not a known key; known are data, .*, self_learning; try 'network'$"),
        ({"network": {**NETWORK, "gian": 2}}, "network.gian is not .*, op_amps; try 'gain'$"),
        ({"training": {"epoch": 2}}, "training.epoch is not a known key; known are epochs, .*, dtype; try 'epochs'$"),
        ({"training": {"gain": 2}}, "training.gain is not .*, dtype; try network.gain$"),
        ({"seed": 2}, "seed is not a known key; known are data, .*; try chip.seed or training.seed$"),
        ({"colour": 2}, "colour is not a known key; known are data, .*, self_learning$"),
        ({"chip": {"twins": True}}, "chip.twins is not a known key; known are seed, .*; try 'twin'$"),
        ({"converters": {"bits": 8}}, "converters.bits is not .* known are dac_bits, .*; try 'dac_bits'$"),
        ({"data": {"sources": "iris"}}, "data.sources is not a known key; known are source, .*; try 'source'$"),
        ({"gradient": {"varient": "random"}}, "gradient.varient is not .* known are method, .*; try 'variant'$"),
        ({"cost": {"function": "squared_error", "volts": 1}}, "cost.volts is not .*; known are function, target_volt"),
        (
            {"diode": [{"model": "ideal"}, {"model": "card", "card": "nxp_1n4148", "temprature": 1}]},
            r"diode\[1\].temprature is not a known key; known are clamp, .*card, temperature; try 'temperature'$",
        ),
        (
            {"update": {"device": "linear_step", "sheme": "fixed"}},
            "update.sheme is not a known key; known are device, .*, held; try 'scheme'$",
        ),
    ],
)
def test_an_unknown_key_is_told_with_the_keys_of_its_table_and_the_nearest(tables: dict[str, Any], words: str):
    with pytest.raises(SpecError, match=f"^test: {words}"):
        parse_spec({"network": NETWORK, **tables}, "test")


def models_in(annotation: Any) -> set[type[BaseModel]]:
    """Every model that an annotation names, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}.union(*(models_in(field.annotation) for field in annotation.model_fields.values()))
    return set().union(*(models_in(each) for each in get_args(annotation)))


def test_every_table_of_a_spec_tells_its_keys():
    told = set()
    for name, field in Spec.model_fields.items():
        for model in models_in(field.annotation):
            names = model.model_fields.keys() & {"kind", "model", "function", "method"}
            tag = {key: get_args(model.model_fields[key].annotation)[0] for key in names}
            table = {**tag, "kolour": 1}
            if name == "network" and model is OpAmpsSpec:
                table = {"sizes": [1, 2, 1], "op_amps": table}
            elif name == "network" and "kind" not in tag:
                ranges = {"gate_range": [1.0, 2.0], "initial_range": [1.0, 2.0]}
                table = {"kind": "transistors", "sizes": [1, 1], "device": table, **ranges}
            elif name == "network" and tag["kind"] not in NETWORKS:
                table = {"kind": "convolutional", "shape": [1, 2, 2], "stage": [table]}
            with pytest.raises(ValidationError) as caught:
                Spec.model_validate({"network": NETWORK, name: table})
            (found,) = (each["loc"] for each in caught.value.errors() if each["type"] == "extra_forbidden")
            assert known_keys(place_of(Spec, found)) == list(model.model_fields), found
            told.add(model)
    assert len(told) > 20


def test_broken_files(tmp_path: Path):
    with pytest.raises(SpecError, match=r"the spec .*missing.toml must be a readable file, found: No such file"):
        load_spec(tmp_path / "missing.toml")
    (tmp_path / "broken.toml").write_text("[network\nsizes = 3")
    with pytest.raises(SpecError, match=r"broken.toml must be TOML, found: .*line 1"):
        load_spec(tmp_path / "broken.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match=r"binary.toml must be TOML in UTF-8"):
        load_spec(tmp_path / "binary.toml")


def test_optional_keys_that_are_not_set_stay_out_of_the_file():
    assert "feedback" not in spec().to_toml()
    assert "feedback = 2.0" in spec(network={**NETWORK, "feedback": 2.0}).to_toml()


def test_with_values_checks_again_and_differences_name_the_keys():
    first = spec()
    second = with_values(first, training={"epochs": 3}, network={"gain": 2.0})
    assert first.differences(second) == ["network.gain", "training.epochs"]
    with pytest.raises(SpecError, match=r"the command: training.epochs must be greater than 0, found 0"):
        with_values(first, training={"epochs": 0})


def test_solver_is_the_one_described():
    assert build_solver(spec()) == Relaxation()
    described = spec(relaxation={"rtol": 1e-4, "response_rtol": 1e-3, "max_steps": 20})
    assert build_solver(described) == Relaxation(1e-4, 1e-3, 20)


def test_network_is_the_one_described():
    described = spec(
        network={
            **NETWORK,
            "gain": 3.0,
            "feedback": 3.0,
            "drive": "single",
            "bias": False,
            "conductance_range": [1e-6, 1e-4],
            "initial_range": [2e-6, 3e-6],
        },
        training={"dtype": "float64", "seed": 4},
    )
    network = resistive_network(described)
    assert (network.gain, network.feedback, network.drive, network.bias_voltage) == (3.0, 3.0, "single", None)
    assert network.conductance_range == (1e-6, 1e-4)
    for siemens in network.conductances.values():
        assert siemens.dtype == torch.float64
        assert bool(((siemens >= 2e-6) & (siemens <= 3e-6)).all())
    same, other = resistive_network(described), resistive_network(with_values(described, training={"seed": 5}))
    assert torch.equal(network.get_parameter("stage1"), same.get_parameter("stage1"))
    assert not torch.equal(network.get_parameter("stage1"), other.get_parameter("stage1"))


def test_feedback_is_one_over_gain_where_it_is_not_given():
    assert resistive_network(spec(network={**NETWORK, "gain": 5.0})).feedback == 0.2


def test_each_hidden_layer_may_have_diodes_of_its_own():
    described = spec(
        diode=[
            {"model": "shockley", "saturation_current": 1e-12, "clamp": "pair", "upper": 0.3, "lower": -0.2},
            {"model": "piecewise", "thresholds": [0.3], "increments": [1e-3], "clamp": "lower", "lower": -0.1},
        ]
    )
    pair, lower = resistive_network(described).clamps
    assert pair.diode == ShockleyDiode(saturation_current=1e-12)
    assert (pair.upper, pair.lower) == (0.3, -0.2)
    assert lower.diode == PiecewiseLinearDiode((0.3,), (1e-3,))
    assert (lower.upper, lower.lower) == (None, -0.1)


def test_one_table_serves_all_hidden_layers():
    clamps = resistive_network(spec(diode={"model": "ideal", "upper": 0.2, "forward_voltage": 0.1})).clamps
    assert [clamp.diode for clamp in clamps] == [IdealDiode(forward_voltage=0.1)] * 2
    assert isinstance(clamps[0], HardClamp)
    low, high = clamps[0].limits
    expected = torch.tensor([0.3, torch.inf, 0.3, torch.inf, 0.3, torch.inf], dtype=torch.float64)
    assert torch.allclose(torch.as_tensor(high), expected)
    assert torch.isneginf(torch.as_tensor(low)[::2]).all()


def test_a_network_without_a_hidden_layer_needs_no_diode():
    assert resistive_network(spec(network={"sizes": [2, 2]})).clamps == ()


def test_costs():
    assert build_cost(spec(cost={"function": "cross_entropy", "logit_scale": 0.2})) == CrossEntropy(0.2)
    assert build_cost(spec(cost={"function": "squared_error", "target_voltage": 2.0})) == SquaredError(2.0)


def test_gradient_methods_and_their_nudges():
    described = spec(gradient={"method": "ep", "nudging": 2e-6, "variant": "random", "kind": "elastic"})
    method = build_gradient(described, resistive_network(described))
    assert isinstance(method, EquilibriumPropagation)
    assert (method.nudging, method.variant, method.kind) == (2e-6, "random", "elastic")
    nudge = build_nudge(described, torch.zeros(2))
    assert (nudge.strength, nudge.kind) == (2e-6, "elastic")
    linear = spec(gradient={"method": "small_signal"})
    assert isinstance(build_gradient(linear, resistive_network(linear)), SmallSignal)
    held = spec(gradient={"method": "coupled", "amplitude": 0.3}, cost={"function": "squared_error"})
    method = build_gradient(held, resistive_network(held))
    assert isinstance(method, CoupledLearning)
    assert method.amplitude == 0.3


def test_optimisers_and_their_rates():
    rates = [0.1, 0.2, 0.3]
    described = spec(training={"optimizer": "sgd", "learning_rate": rates, "momentum": 0.5})
    update = build_update(described, resistive_network(described))
    assert [group["lr"] for group in update.param_groups] == rates
    assert [group["momentum"] for group in update.param_groups] == [0.5] * 3
    described = spec(training={"learning_rate": 0.05})
    assert [group["lr"] for group in build_update(described, resistive_network(described)).param_groups] == [0.05] * 3


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_weight_decay_takes_its_share_whatever_the_gradient(optimizer):
    """Without a gradient a step of rate η leaves 1 − η λ of every θ, down to the least conductance."""
    described = spec(training={"optimizer": optimizer, "learning_rate": [0.1], "weight_decay": 0.5})
    network = resistive_network(described)
    update = build_update(described, network)
    before = [theta.detach().clone() for theta in network.parameters()]
    for theta in network.parameters():
        theta.grad = torch.zeros_like(theta)
    update.step()
    low = network.theta_range("stage1")[0]
    for theta, old in zip(network.parameters(), before, strict=True):
        torch.testing.assert_close(theta.detach(), (old * (1 - 0.1 * 0.5)).clamp(min=low))


def test_data_must_fit_the_ends_of_the_network():
    with pytest.raises(DataError, match=r"digits has 64 features a sample, network.sizes begins with 2"):
        build_dataset(spec(data={"source": "digits"}))
    with pytest.raises(DataError, match=r"digits has 10 classes, network.sizes ends with 3"):
        build_dataset(spec(network={"sizes": [64, 3]}, data={"source": "digits"}))


def test_validation_and_scaling_reach_the_data():
    data = {"source": "digits", "validation": 100, "scaling": "centred", "input_voltage": 3.0}
    dataset = build_dataset(spec(network={"sizes": [64, 10]}, data=data))
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (1337, 100)
    assert torch.allclose(dataset.train_inputs.mean(0), torch.zeros(64), atol=1e-5)
    assert float(dataset.train_inputs.max() - dataset.train_inputs.min()) > 3.0
