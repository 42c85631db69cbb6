"""Hopfield networks trained from a spec: they learn, resume to the same bits, and bad tables say what is wrong."""

from pathlib import Path
from typing import Any

import pytest
import torch

from analog_ep import EquilibriumPropagation, EulerRelaxation, HopfieldNetwork, HopfieldRelaxation, SmallSignal
from analog_ep.errors import CheckpointError, SpecError, StimulusError
from analog_ep.learning import CoupledLearning
from analog_ep.learning.gradients.persistent import PersistentStates
from analog_ep.learning.training import EpochRecord
from analog_ep.learning.updates.update import WeightUpdate
from analog_ep.networks import ResistiveNetwork
from analog_ep.runs.building import build_network, build_solver, build_update
from analog_ep.runs.folder import CHECKPOINT, Run
from analog_ep.runs.trained import trained_network
from analog_ep.spec import Spec, default_spec, load_spec, parse_spec, with_values

RELAXATIONS: list[dict[str, Any]] = [
    {"max_steps": 6, "strict": False},
    {"max_steps": 3, "strict": False, "persistent_states": True},
    {"method": "euler", "max_steps": 20, "step_size": 0.5, "persistent_states": True},
]


class Silent:
    """An observer that stops the training by Ctrl-C after some batches."""

    def __init__(self, interrupt_after: int = 10**9):
        self.batches, self._limit = 0, interrupt_after

    def batch_done(self, epoch: int, batch: int, n_batches: int) -> None:
        self.batches += 1
        if self.batches >= self._limit:
            raise KeyboardInterrupt

    def epoch_done(self, record: EpochRecord) -> None:
        pass


def digits(relaxation: dict[str, Any] | None = None, **training: Any) -> Spec:
    tables: dict[str, Any] = {
        "data": {"source": "digits"},
        "network": {"kind": "hopfield", "sizes": [64, 32, 10], "initial_scale": 0.5},
        "cost": {"function": "squared_error"},
        "gradient": {"nudging": 0.5, "variant": "random", "kind": "elastic"},
        "training": {"epochs": 3, "batch_size": 64, "learning_rate": 0.01, "seed": 3, **training},
    }
    return parse_spec(tables | ({} if relaxation is None else {"relaxation": relaxation}), "test")


def parameters(run: Run) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in run.trainer.network.named_parameters()}


@pytest.mark.parametrize("relaxation", RELAXATIONS, ids=["sweeps", "persistent", "euler"])
def test_it_learns_digits(tmp_path: Path, relaxation: dict[str, Any]):
    spec = with_values(digits(relaxation, epochs=4), gradient={"variant": "positive"})
    run = Run.create(tmp_path / "run", spec)
    run.train([Silent()])
    assert run.trainer.history[-1].test_accuracy > 0.9
    assert run.trainer.history[-1].cost < 0.5 * run.trainer.history[0].cost


@pytest.mark.parametrize("relaxation", RELAXATIONS, ids=["sweeps", "persistent", "euler"])
def test_a_resumed_run_ends_in_the_very_bits_of_an_uninterrupted_one(tmp_path: Path, relaxation: dict[str, Any]):
    spec = digits(relaxation, input_noise=0.1)
    whole = Run.create(tmp_path / "whole", spec)
    whole.train([Silent()])
    broken = Run.create(tmp_path / "broken", spec)
    with pytest.raises(KeyboardInterrupt):
        broken.train([Silent(interrupt_after=50)])
    resumed = Run.resume(tmp_path / "broken")
    assert resumed.trainer.epoch == 2
    resumed.train([Silent()])
    for name, value in parameters(whole).items():
        assert torch.equal(value, parameters(resumed)[name]), name
    if whole.trainer.states is not None:
        assert resumed.trainer.states is not None
        for one, other in zip(whole.trainer.states.layers, resumed.trainer.states.layers, strict=True):
            assert torch.equal(one, other)


def test_persistent_states_are_closer_to_equilibrium():
    net = HopfieldNetwork([5, 20, 20, 3], initial_scale=0.6, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    inputs, targets = (torch.rand(7, n, generator=generator, dtype=torch.float64) for n in (5, 3))
    solver = HopfieldRelaxation(max_steps=2, strict=False)
    states = PersistentStates(EquilibriumPropagation(net, 0.1, solver=solver), 9)
    index = torch.tensor([8, 1, 2, 3, 4, 5, 6])
    residuals = []
    for _ in range(12):
        states.backward(index, inputs, targets)
        kept = tuple(layer[index] for layer in states.layers)
        with torch.no_grad():
            forces = net.force(inputs, kept)
        moved = [((u + f).clamp(0, 1) - u).abs().max() for u, f in zip(kept, forces, strict=True)]
        residuals.append(float(torch.stack(moved).max()))
    assert residuals[-1] < 0.1 * residuals[0]
    assert residuals == sorted(residuals, reverse=True)
    for layer in states.layers:
        assert layer[[0, 7]].abs().max() == 0


def test_a_given_free_phase_is_not_solved_again():
    net = HopfieldNetwork([4, 6, 3], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    inputs, targets = (torch.rand(5, n, generator=generator, dtype=torch.float64) for n in (4, 3))
    for method in (EquilibriumPropagation(net, 0.1), SmallSignal(net)):
        free = method.solver.solve(net, inputs)
        for name, gradient in method.gradients(inputs, targets)[1].items():
            assert torch.equal(gradient, method.gradients(inputs, targets, free)[1][name])


def test_a_spec_builds_what_it_says():
    spec = digits({"max_steps": 9, "atol": 1e-3, "response_rtol": 1e-2, "strict": False, "over_relaxation": 1.3})
    network = build_network(spec, torch.float64)
    assert isinstance(network, HopfieldNetwork)
    assert network.sizes == (64, 32, 10)
    assert next(network.parameters()).dtype == torch.float64
    assert build_solver(spec) == HopfieldRelaxation(1e-3, 1e-2, 9, strict=False, over_relaxation=1.3)
    assert build_solver(digits()) == HopfieldRelaxation()
    euler = digits({"method": "euler", "max_steps": 20, "step_size": 0.25})
    assert build_solver(euler) == EulerRelaxation(0.25, 20)
    update = build_update(digits(learning_rate=[0.1, 0.02]), network)
    assert isinstance(update, WeightUpdate)
    rates = [(group["lr"], [tuple(p.shape) for p in group["params"]]) for group in update.param_groups]
    assert rates == [(0.1, [(64, 32), (32,)]), (0.02, [(32, 10), (10,)])]
    assert isinstance(build_network(default_spec("xor")), ResistiveNetwork)


def test_a_spec_survives_a_round_trip(tmp_path: Path):
    spec = digits(RELAXATIONS[2])
    (tmp_path / "spec.toml").write_text(spec.to_toml())
    assert load_spec(tmp_path / "spec.toml") == spec
    assert "diode" not in spec.to_dict()
    assert with_values(spec, training={"epochs": 7}).training.epochs == 7


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (
            {"network": {"kind": "boltzmann", "sizes": [4, 3]}},
            "must be one of 'resistive', 'convolutional', 'hopfield', 'circuit'",
        ),
        (
            {"network": {"kind": "hopfield", "sizes": [4, 3], "initial_scale": [1.0, 2.0]}},
            "network.initial_scale must be one or 1, one per weight, found [1.0, 2.0]",
        ),
        ({"network": {"kind": "hopfield"}}, "network.sizes is required, found nothing"),
        (
            {"network": {"kind": "hopfield", "sizes": [4, 3], "gain": 2}},
            'network.gain has a meaning only with kind = "resistive" or "convolutional" or "transistors", found 2 ',
        ),
        ({"network": {"kind": "hopfield", "sizes": [4, 3], "gian": 2}}, "network.gian is not a known key; known are"),
        ({"network": {"kind": "hopfield", "sizes": [4, 3], "activation": "relu"}}, "network.activation must be"),
        ({"diode": {"model": "ideal"}}, 'diode has no meaning with network.kind = "hopfield"; leave the table out'),
        ({"update": {"device": "SoftBounds"}}, 'update has no meaning with network.kind = "hopfield"'),
        ({"gradient": {"solver": "ngspice"}}, 'gradient.solver must be "torch" with network.kind = "hopfield"'),
        (
            {"cost": {"function": "cross_entropy"}, "gradient": {"kind": "elastic"}},
            'gradient.kind = "elastic" needs cost.function = "squared_error"',
        ),
        (
            {"relaxation": {"step_size": 0.1}},
            'relaxation.step_size has no meaning with relaxation.method = "sweeps", found 0.1; leave it out',
        ),
        ({"relaxation": {"step_size": 0.5}}, 'relaxation.step_size has no meaning with relaxation.method = "sweeps"'),
        (
            {"relaxation": {"method": "euler", "strict": False}},
            'relaxation.strict has no meaning with relaxation.method = "euler", found false; leave it out',
        ),
        (
            {"relaxation": {"method": "euler", "over_relaxation": 1.0}},
            'relaxation.over_relaxation has no meaning with relaxation.method = "euler", found 1.0; leave it out',
        ),
        ({"relaxation": {"sweeps": 3}}, "relaxation.sweeps is not a known key; known are method, max_steps, atol"),
        (
            {"relaxation": {"method": "euler"}, "gradient": {"method": "small_signal"}},
            'gradient.method = "small_signal" needs relaxation.method = "sweeps", found "euler"; methods that fit are',
        ),
        ({"relaxation": {"rtol": 1e-3}}, 'rtol has no meaning with network.kind = "hopfield", found 0.001'),
    ],
)
def test_a_bad_table_is_one_clear_sentence(tables: dict[str, Any], words: str):
    with pytest.raises(SpecError) as caught:
        parse_spec({**{k: v for k, v in digits().to_dict().items() if k in ("network", "cost")}, **tables}, "test")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_needs_conductances_says_so(tmp_path: Path):
    table = tmp_path / "table.csv"
    table.write_text("")
    with pytest.raises(SpecError, match="a table of conductances to begin from needs a resistive network"):
        Run.create(tmp_path / "run", digits(), start=table)
    assert not (tmp_path / "run").exists()
    run = Run.create(tmp_path / "run", digits())
    with pytest.raises(
        SpecError, match=r'network\.kind must be "resistive" or "convolutional" for this, found "hopfield"'
    ):
        trained_network(run.path)


def test_states_of_another_training_are_refused(tmp_path: Path):
    run = Run.create(tmp_path / "run", digits(RELAXATIONS[1]))
    checkpoint = run.trainer.checkpoint()
    assert (tmp_path / "run" / CHECKPOINT).is_file()
    checkpoint.tensors["state.0"] = checkpoint.tensors["state.0"][:5]
    with pytest.raises(CheckpointError, match="the checkpoint must hold states of shapes"):
        run.trainer.restore(checkpoint)


def test_states_are_kept_on_hopfield_networks_only():
    method = EquilibriumPropagation(ResistiveNetwork([4, 3]), 1e-6)
    with pytest.raises(StimulusError, match="persistent states need a HopfieldNetwork, found a ResistiveNetwork"):
        PersistentStates(method, 5)
    assert not isinstance(CoupledLearning(ResistiveNetwork([4, 3])), EquilibriumPropagation)
