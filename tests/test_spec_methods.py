"""Every gradient method as a spec names it: what it serves, what it refuses, and that it trains and resumes."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from safetensors.torch import load_file
from torch import Tensor

from analog_ep import cli, learning
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.errors import CheckpointError, SpecError
from analog_ep.learning import HolomorphicEquilibriumPropagation, StochasticEquilibriumPropagation
from analog_ep.learning.gradients.method import GradientMethod
from analog_ep.networks import ResistiveNetwork
from analog_ep.runs.building import build_gradient, build_network, build_solver
from analog_ep.runs.chips import build_chip
from analog_ep.runs.choosing import CHECKPOINT, SPEC, choose_spec
from analog_ep.runs.folder import Run
from analog_ep.spec import RelaxationSpec, Spec, load_spec, load_stored_spec, parse_spec, with_values
from analog_ep.spec.gradients import GRADIENTS, GradientTable
from analog_ep.spec.merging import merged
from analog_ep.spec.study import load_study

NETWORKS: dict[str, dict[str, Any]] = {
    "shockley": {"network": {"sizes": [2, 2, 2]}},
    "ideal": {"network": {"sizes": [2, 2, 2]}, "diode": {"model": "ideal"}},
    "hard_sigmoid": {"network": {"kind": "hopfield", "sizes": [2, 2, 2]}},
    "tanh": {"network": {"kind": "hopfield", "sizes": [2, 2, 2], "activation": "tanh"}},
}

SERVED = {
    "ep": set(NETWORKS),
    "small_signal": set(NETWORKS),
    "implicit": set(NETWORKS),
    "adjoint": {"shockley", "ideal"},
    "asymmetric": {"shockley", "ideal"},
    "coupled": set(NETWORKS),
    "contrastive_hebbian": set(NETWORKS),
    "recurrent_backprop": {"hard_sigmoid", "tanh"},
    "contrastive_divergence": {"hard_sigmoid"},
    "holomorphic": {"tanh"},
    "harmonic": set(NETWORKS),
    "lock_in": set(NETWORKS),
    "stochastic": {"shockley", "tanh"},
}
"""Networks of each method: neither ideal diodes nor states within bounds let a state diffuse."""

PAIRS = [(method, network) for method, networks in SERVED.items() for network in sorted(networks)]
EXACT = [pair for pair in PAIRS if pair[0] in ("ep", "small_signal", "implicit", "recurrent_backprop", "holomorphic")]
EXACT += [pair for pair in PAIRS if pair[0] in ("adjoint", "asymmetric")]
EXACT += [pair for pair in PAIRS if pair[0] in ("harmonic", "lock_in")]


def tables_of(method: str, network: str, cost: str = "squared_error", **gradient: Any) -> dict[str, Any]:
    hopfield = "kind" in NETWORKS[network]["network"]
    options: dict[str, Any] = {"method": method, "nudging": 0.05 if hopfield or method == "holomorphic" else 1e-8}
    if method == "stochastic":
        options |= {"temperature": 0.05 if hopfield else 1e-9, "chains": 8, "burn_in": 5, "steps": 5}
    return {
        "data": {"source": "xor"},
        **NETWORKS[network],
        "cost": {"function": cost},
        "gradient": options | gradient,
        "training": {"batch_size": 4, "learning_rate": 0.05, "input_noise": 0.1, "dtype": "float64", "epochs": 2},
    }


def test_every_method_of_the_package_has_a_table():
    built = set()
    for method, network in PAIRS:
        spec = parse_spec(tables_of(method, network), "test")
        built.add(type(build_gradient(spec, build_network(spec))).__name__)
    offered = {name for name in learning.__all__ if issubclass_of_method(getattr(learning, name))}
    # What ngspice linearises is small_signal with its solver.
    assert offered - {"GradientMethod", "NgspiceSmallSignal"} <= built
    assert set(SERVED) == set(GRADIENTS)


def issubclass_of_method(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, GradientMethod)


@pytest.mark.parametrize(("method", "network"), list(itertools.product(SERVED, NETWORKS)))
def test_a_method_serves_a_network_or_names_those_that_do(method: str, network: str):
    for cost in ("squared_error", "cross_entropy"):
        tables = tables_of(method, network, cost)
        held = method in ("coupled", "contrastive_hebbian", "holomorphic")
        if network in SERVED[method] and not (held and cost == "cross_entropy"):
            require_gradient(parse_spec(tables, "test"))
        else:
            refused(tables, f'gradient.method = "{method}" needs ')


def require_gradient(spec: Spec):
    network = build_network(spec)
    inputs, targets = torch.tensor([[0.5, -0.3], [0.2, 0.7]]).double(), torch.eye(2).double()
    cost, gradients = build_gradient(spec, network).gradients(inputs, targets)
    assert bool(torch.isfinite(cost))
    assert {name: (g.shape, g.dtype) for name, g in gradients.items()} == {
        name: (p.shape, p.dtype) for name, p in network.named_parameters()
    }
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients.values())


def by_ngspice(method: str, table: type[GradientTable]) -> bool:
    return "shockley" in SERVED[method] and "gradient.solver" not in table.needs


def refused(tables: dict[str, Any], words: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_spec(tables, "test")
    message = str(caught.value)
    assert message.startswith(f"test: {words}")
    assert "\n" not in message
    return message


@pytest.mark.ngspice
@pytest.mark.parametrize("method", [name for name, table in GRADIENTS.items() if by_ngspice(name, table)])
def test_ngspice_finds_the_gradients_of_torch(method: str):
    spec = parse_spec(tables_of(method, "shockley"), "test")
    network = build_network(spec)
    inputs, targets = torch.tensor([[0.5, -0.3]]).double(), torch.tensor([[1.0, 0.0]]).double()
    ours, theirs = (
        build_gradient(with_values(spec, gradient={"solver": solver}), network).gradients(inputs, targets)[1]
        for solver in ("torch", "ngspice")
    )
    for name, gradient in ours.items():
        torch.testing.assert_close(theirs[name], gradient, rtol=0, atol=1e-4 * float(gradient.abs().max()))


@pytest.mark.parametrize(("method", "network"), EXACT)
def test_the_gradient_is_that_of_finite_differences(method: str, network: str):
    spec = parse_spec(tables_of(method, network), "test")
    net, inputs = build_network(spec), torch.tensor([[0.6, -0.4], [0.3, 0.8]]).double()
    with torch.no_grad():
        for number, parameter in enumerate(net.parameters()):
            # Away from units that a bound holds, where nothing could be told from zero.
            parameter.copy_(parameter + 0.2 * (number % 2)) if "kind" in NETWORKS[network]["network"] else None
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).double()
    method_of_spec = build_gradient(spec, net)
    _, found = method_of_spec.gradients(inputs, targets)
    expected = differences(spec, net, lambda outputs: method_of_spec.cost.value(outputs, targets).mean(), inputs)
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    assert largest > 1e-3
    for name, gradient in expected.items():
        # What is left is the bias in β² of the centered estimate.
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=3e-3 * largest)


def differences(
    spec: Spec, network: Any, cost: Callable[[Tensor], Tensor], inputs: Tensor, step: float = 1e-5
) -> dict[str, Tensor]:
    """Central differences of the cost of the equilibrium by every parameter."""
    solver, result = build_solver(spec), {}
    for name, parameter in network.named_parameters():
        result[name] = torch.zeros_like(parameter)
        flat, slopes = parameter.data.view(-1), result[name].view(-1)
        for index, value in enumerate(flat.tolist()):
            costs = []
            for sign in (1, -1):
                flat[index] = value + sign * step
                costs.append(cost(solve(network, inputs, solver=solver).outputs))
            flat[index] = value
            slopes[index] = (costs[0] - costs[1]) / (2 * step)
    return result


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`analog-ep train` without a picture; what it says on standard error."""
    monkeypatch.setattr("analog_ep.runs.folder.learning_curve", lambda *_: b"")

    def run(*arguments: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main(["train", *map(str, arguments)])
        # The interpreter itself prints a string on standard error.
        return capsys.readouterr().err + (ended.value.code if isinstance(ended.value.code, str) else "")

    return run


@pytest.mark.parametrize(("method", "network"), PAIRS)
def test_train_stops_and_resumes_to_the_same_bits(method: str, network: str, tmp_path: Path, train: Callable[..., str]):
    spec = tmp_path / "given.toml"
    options: dict[str, Any] = {"harmonics": 3} if method == "harmonic" else {}
    tables = tables_of(method, network, **options)
    spec.write_text(parse_spec(merged(tables, {"training": {"dtype": "float32"}}), "test").to_toml())
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert train(spec, "--out", whole) == ""
    interrupted(part, load_spec(spec))
    assert train("--resume", "--out", part) == ""
    ours, theirs = load_file(whole / CHECKPOINT), load_file(part / CHECKPOINT)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    start = build_network(load_spec(spec)).state_dict()
    assert any(not torch.equal(ours[f"parameter.{name}"], value) for name, value in start.items())


class _Interrupting:
    def batch_done(self, epoch: int, batch: int, n_batches: int) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    def epoch_done(self, record: object) -> None:
        pass


def interrupted(path: Path, spec: Spec) -> None:
    with pytest.raises(KeyboardInterrupt):
        Run.create(path, spec).train([_Interrupting()])


def foreign() -> Iterator[tuple[str, str, Any]]:
    """Every method with every option of another one, at that one's default value."""
    for method, table in GRADIENTS.items():
        options: dict[str, Any] = {"temperature": 1.0}
        for other in GRADIENTS.values():
            options |= {name: field.default for name, field in own_options(other) if not field.is_required()}
        for name, value in options.items():
            if name not in table.model_fields:
                yield method, name, 1e-3 if value is None else value


def own_options(table: type[GradientTable]) -> list[tuple[str, Any]]:
    return [(name, field) for name, field in table.model_fields.items() if name not in GradientTable.model_fields]


@pytest.mark.parametrize(("method", "option", "value"), list(foreign()))
def test_an_option_of_another_method_is_refused_at_any_value(method: str, option: str, value: Any):
    owners = [f'"{name}"' for name, table in GRADIENTS.items() if option in table.model_fields]
    tables = tables_of(method, sorted(SERVED[method])[0], **{option: value})
    message = refused(tables, f"gradient.{option} has a meaning only with method = {' or '.join(owners)}, found ")
    assert message.endswith(f' beside method = "{method}"; leave it out')


@pytest.mark.parametrize(
    ("gradient", "words"),
    [
        ({"method": "small-signal"}, "gradient.method must be one of 'ep', 'small_signal', .*; try 'small_signal'"),
        ({"method": "adjoin"}, "gradient.method must be one of .*, 'stochastic', found 'adjoin'; try 'adjoint'$"),
        ({"method": "stochastic", "nudging": 0.1}, "gradient.temperature is required, found nothing"),
        ({"method": "stochastic", "temperature": 0.1}, "gradient.nudging is required, found nothing"),
        (
            {"method": "stochastic", "nudging": 0.1, "temperature": 1.0, "adjusted": False},
            "gradient.steps that nothing adjusts need their length, found none; give a step",
        ),
        ({"method": "stochastic", "nudging": 0.1, "temperature": 1.0, "chains": 1}, "gradient.chains must be greater"),
        ({"method": "harmonic", "harmonics": 4}, "gradient.harmonics must be odd, and points even and more, found 4"),
        (
            {"method": "harmonic", "points": 6},
            "gradient.harmonics must be odd, and points even and more, found 7 and 6",
        ),
        ({"method": "holomorphic", "nudging": 1e-6}, "gradient.nudging must be greater than or equal to 0.01, found"),
        ({"method": "holomorphic", "points": 1}, "gradient.points must be greater than or equal to 2, found 1"),
        ({"method": "contrastive_divergence", "burn_in": 0}, "gradient.burn_in must be greater than 0, found 0"),
        ({"method": "coupled", "amplitude": 1.5}, "gradient.amplitude must be less than or equal to 1, found 1.5"),
        ({"method": "recurrent_backprop", "step": 0.0}, "gradient.step must be greater than 0, found 0.0"),
        ({"gibbs_steps": 1}, 'gradient.gibbs_steps has a meaning only with method = "contrastive_divergence", found 1'),
    ],
)
def test_bad_options_are_refused_in_one_line(gradient: dict[str, Any], words: str):
    tables = {"network": NETWORKS["hard_sigmoid"]["network"], "gradient": gradient}
    with pytest.raises(SpecError, match=f"^test: {words}") as caught:
        parse_spec(tables, "test")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (
            tables_of("recurrent_backprop", "shockley"),
            'gradient.method = "recurrent_backprop" needs network.kind = "hopfield", found "resistive"; methods that '
            'fit are "ep", "small_signal", "implicit", "adjoint", "asymmetric", "coupled", "contrastive_hebbian", '
            '"harmonic", "lock_in", "stochastic"',
        ),
        (
            tables_of("stochastic", "ideal"),
            'gradient.method = "stochastic" needs diode.model = "shockley" or "piecewise" or "card", found "ideal"',
        ),
        (
            tables_of("harmonic", "tanh") | {"relaxation": {"persistent_states": True}},
            'gradient.method = "harmonic" needs relaxation.persistent_states = false, found true; methods that fit are '
            '"ep", "small_signal", "implicit"',
        ),
        (
            tables_of("holomorphic", "tanh") | {"relaxation": {"method": "euler"}},
            'gradient.method = "holomorphic" needs relaxation.method = "sweeps", found "euler"; methods that fit are '
            '"ep", "harmonic"',
        ),
        (
            tables_of("harmonic", "shockley") | {"chip": {"conductance_spread": 0.1}},
            'chip has no meaning with gradient.method = "harmonic"; methods that fit are "ep", "small_signal", '
            '"implicit", "adjoint", "asymmetric", "coupled", "contrastive_hebbian"',
        ),
        (
            tables_of("stochastic", "shockley") | {"converters": {"dac_bits": 4, "dac_range": 1.0}},
            'converters has no meaning with gradient.method = "stochastic"; methods that fit are',
        ),
    ],
)
def test_what_does_not_go_together_is_said_with_what_does(tables: dict[str, Any], words: str):
    assert refused(tables, words)


def test_the_solver_of_the_command_is_checked_before_anything_is_trained(tmp_path: Path, train: Callable[..., str]):
    spec = tmp_path / "given.toml"
    spec.write_text(parse_spec(tables_of("stochastic", "shockley"), "test").to_toml())
    said = train(spec, "--solver", "ngspice", "--out", tmp_path / "run")
    assert 'the command: gradient.method = "stochastic" needs gradient.solver = "torch", found "ngspice"' in said
    assert "\n" not in said
    assert not (tmp_path / "run").exists()


def test_another_method_leaves_the_options_of_the_one_before(tmp_path: Path):
    base = parse_spec(tables_of("ep", "shockley", variant="positive"), "test")
    held = with_values(base, gradient={"method": "coupled", "amplitude": 0.5})
    assert held.to_dict()["gradient"] == {
        "method": "coupled",
        "nudging": 1e-8,
        "kind": "frozen",
        "solver": "torch",
        "amplitude": 0.5,
    }
    assert with_values(held, gradient={"nudging": 1e-7}).gradient.amplitude == 0.5  # pyright: ignore[reportAttributeAccessIssue]
    (tmp_path / "base.toml").write_text(base.to_toml())
    (tmp_path / "study.toml").write_text(
        'base = "base.toml"\n[axes.method]\n"ep" = {}\n"small signal" = { gradient.method = "small_signal" }\n'
        '"coupled" = { gradient = { method = "coupled", amplitude = 1.0 } }\n'
    )
    found = [cell.spec.gradient for cell in load_study(tmp_path / "study.toml").cells]
    assert [gradient.method for gradient in found] == ["ep", "small_signal", "coupled"]
    assert [gradient.nudging for gradient in found] == [1e-8] * 3
    assert found[0] == base.gradient


@pytest.mark.parametrize("method", ["ep", "small_signal", "coupled", "contrastive_divergence"])
def test_runs_of_earlier_versions_go_on(method: str, tmp_path: Path, train: Callable[..., str]):
    network = "hard_sigmoid" if method == "contrastive_divergence" else "shockley"
    spec = parse_spec(tables_of(method, network), "test")
    interrupted(tmp_path / "run", spec)
    stored = spec.to_dict()
    # As every run's spec had it: with the options of all methods.
    stored["gradient"] = {"variant": "centered", "amplitude": 0.1, "gibbs_steps": 1} | stored["gradient"]
    text = "".join(f"{key} = {value!r}\n" for key, value in stored["gradient"].items())
    earlier = spec.to_toml()
    earlier = earlier[: earlier.index("[gradient]")] + f"[gradient]\n{text}\n" + earlier[earlier.index("[training]") :]
    (tmp_path / "run" / SPEC).write_text(earlier)
    assert choose_spec(tmp_path / "run" / SPEC) == spec
    assert train("--resume", "--out", tmp_path / "run") == ""
    (tmp_path / "mine.toml").write_text(earlier)
    with pytest.raises(SpecError, match=r"mine.toml: gradient\.\w+ has a meaning only with method = "):
        load_spec(tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("network", "relaxation"),
    [
        ("shockley", {"rtol": 1e-4}),
        ("tanh", {"max_steps": 40, "strict": False}),
        ("tanh", {"method": "euler", "step_size": 0.4, "persistent_states": True}),
    ],
)
def test_a_relaxation_of_an_earlier_version(network: str, relaxation: dict[str, Any], tmp_path: Path):
    spec = parse_spec(tables_of("ep", network) | {"relaxation": relaxation}, "test")
    assert parse_spec(spec.to_dict(), "again") == spec
    tables = spec.to_dict()
    written = {key: value for key, value in RelaxationSpec().model_dump().items() if value is not None}
    path = tmp_path / "spec.toml"
    path.write_text(tomli_w.dumps(tables | {"relaxation": written | relaxation}))
    assert load_stored_spec(path) == spec
    with pytest.raises(SpecError, match=r"relaxation\.\w+ has no meaning with "):
        load_spec(path)


def test_another_relaxation_leaves_the_options_of_the_one_before():
    sweeps = parse_spec(tables_of("ep", "tanh") | {"relaxation": {"over_relaxation": 1.2, "atol": 1e-3}}, "test")
    euler = with_values(sweeps, relaxation={"method": "euler", "step_size": 0.1})
    assert euler.to_dict()["relaxation"] == {
        "method": "euler",
        "max_steps": 500,
        "atol": 1e-3,
        "step_size": 0.1,
        "persistent_states": False,
    }


def test_holomorphic_targets_are_those_of_the_cost():
    tables = tables_of("holomorphic", "tanh") | {"cost": {"function": "squared_error", "target_voltage": 0.7}}
    spec = parse_spec(tables, "test")
    method = build_gradient(spec, build_network(spec))
    assert isinstance(method, HolomorphicEquilibriumPropagation)
    assert method.cost.encode(torch.tensor([1]), 2, like=torch.zeros(1)).tolist() == [[0.0, pytest.approx(0.7)]]


def test_a_checkpoint_without_the_number_of_estimates():
    spec = parse_spec(tables_of("stochastic", "tanh"), "test")
    method = build_gradient(spec, build_network(spec))
    assert isinstance(method, StochasticEquilibriumPropagation)
    with pytest.raises(CheckpointError, match="must hold the number of estimates so far, found none"):
        method.load_state({})
    for wrong in (torch.tensor(1.5), torch.tensor([3]), torch.tensor(-1)):
        with pytest.raises(CheckpointError, match="must hold the number of estimates so far as one integer, found "):
            method.load_state({"estimates": wrong})


def test_the_documentation_has_every_method():
    text = (Path(__file__).parent.parent / "docs" / "theory.md").read_text()
    for method, table in GRADIENTS.items():
        assert f'`"{method}"`' in text
        for name, _ in own_options(table):
            assert f"`{name}`" in text, (method, name)


@pytest.mark.parametrize("method", [name for name, table in GRADIENTS.items() if table.on_chips])
def test_a_chip_reaches_the_methods_that_take_one(method: str):
    """A warm chip has the gradient of a network whose diodes are as warm."""
    diode = {"model": "shockley", "saturation_current": 1e-6}
    spec = parse_spec(tables_of(method, "shockley") | {"diode": diode, "chip": {"temperature": 350.0}}, "test")
    network = build_network(spec)
    inputs, targets = torch.tensor([[0.5, -0.3]]).double(), torch.tensor([[1.0, 0.0]]).double()
    assert isinstance(network, ResistiveNetwork)
    found = build_gradient(spec, network, build_chip(spec, network)).gradients(inputs, targets)[1]
    warm = with_values(spec, diode={"temperature": 350.0})
    expected = build_gradient(warm, build_network(warm)).gradients(inputs, targets)[1]
    nominal = build_gradient(spec, network).gradients(inputs, targets)[1]
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-7, atol=0)
    assert not torch.allclose(found["stage1"], nominal["stage1"], rtol=1e-3, atol=0)
