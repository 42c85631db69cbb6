"""The relatives of equilibrium propagation named in a spec: built, trained, resumed, refused where they do not fit."""

from pathlib import Path
from typing import Any

import pytest
import torch

from analog_ep import ContrastiveDivergence, ContrastiveHebbian, CoupledLearning, RecurrentBackpropagation
from analog_ep.errors import CheckpointError, SpecError
from analog_ep.learning.training import EpochRecord
from analog_ep.runs.building import build_gradient, build_network
from analog_ep.runs.folder import Run
from analog_ep.spec import Spec, parse_spec

CLASSES = {
    "coupled": CoupledLearning,
    "contrastive_hebbian": ContrastiveHebbian,
    "recurrent_backprop": RecurrentBackpropagation,
    "contrastive_divergence": ContrastiveDivergence,
}


class Silent:
    """An observer that stops the training by Ctrl-C after some batches."""

    def __init__(self, interrupt_after: int = 10**9):
        self.left = interrupt_after

    def batch_done(self, epoch: int, batch: int, n_batches: int) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt

    def epoch_done(self, record: EpochRecord) -> None:
        pass


def hopfield(method: str, **tables: dict[str, Any]) -> Spec:
    base: dict[str, Any] = {
        "data": {"source": "iris"},
        "network": {"kind": "hopfield", "sizes": [4, 8, 3], "initial_scale": 0.5},
        "cost": {"function": "squared_error"},
        "gradient": {"method": method},
        "training": {"epochs": 2, "batch_size": 40, "learning_rate": 0.03, "seed": 1},
    }
    return parse_spec({**base, **{name: {**base.get(name, {}), **values} for name, values in tables.items()}}, "test")


@pytest.mark.parametrize("method", CLASSES)
def test_hopfield_networks_train_and_resume(tmp_path: Path, method: str):
    spec = hopfield(method)
    assert type(build_gradient(spec, build_network(spec))) is CLASSES[method]
    whole = Run.create(tmp_path / "whole", spec)
    whole.train([Silent()])
    broken = Run.create(tmp_path / "broken", spec)
    with pytest.raises(KeyboardInterrupt):
        broken.train([Silent(whole.trainer.n_batches + 1)])
    resumed = Run.resume(tmp_path / "broken")
    resumed.train([Silent()])
    for one, other in zip(whole.trainer.network.parameters(), resumed.trainer.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_gibbs_steps_and_held_outputs_of_resistive_networks():
    spec = hopfield("contrastive_divergence", gradient={"gibbs_steps": 4})
    method = build_gradient(spec, build_network(spec))
    assert isinstance(method, ContrastiveDivergence)
    assert method.steps == 4
    spec = parse_spec(
        {
            "network": {"sizes": [2, 3, 2]},
            "cost": {"function": "squared_error"},
            "gradient": {"method": "contrastive_hebbian"},
        },
        "test",
    )
    assert isinstance(build_gradient(spec, build_network(spec)), ContrastiveHebbian)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (
            {"gradient": {"method": "contrastive_hebbian"}, "cost": {"function": "cross_entropy"}},
            'gradient.method = "contrastive_hebbian" needs cost.function = "squared_error", found "cross_entropy"',
        ),
        (
            {"gradient": {"method": "ep", "gibbs_steps": 2}},
            'gibbs_steps has a meaning only with method = "contrastive_divergence", found 2',
        ),
        ({"gradient": {"method": "boltzmann"}}, "gradient.method must be one of 'ep', 'small_signal', 'implicit', "),
        (
            {"gradient": {"method": "contrastive_divergence"}, "network": {"activation": "tanh"}},
            'gradient.method = "contrastive_divergence" needs network.activation = "hard_sigmoid"',
        ),
        (
            {"gradient": {"method": "recurrent_backprop"}, "relaxation": {"method": "euler"}},
            'gradient.method = "recurrent_backprop" needs relaxation.method = "sweeps", found "euler"',
        ),
        (
            {"gradient": {"method": "recurrent_backprop", "solver": "ngspice"}},
            'gradient.solver must be "torch" with network.kind = "hopfield", found "ngspice"',
        ),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(tables: dict[str, dict[str, Any]], words: str):
    with pytest.raises(SpecError) as caught:
        hopfield("ep", **tables)
    assert words in str(caught.value)


@pytest.mark.parametrize("method", ["recurrent_backprop", "contrastive_divergence"])
def test_methods_of_hopfield_networks_alone(method: str):
    with pytest.raises(SpecError, match=f'gradient.method = "{method}" needs network.kind = "hopfield"'):
        parse_spec({"network": {"sizes": [2, 3, 2]}, "gradient": {"method": method}}, "test")


def test_a_checkpoint_without_the_generator():
    spec = hopfield("contrastive_divergence")
    method = build_gradient(spec, build_network(spec))
    with pytest.raises(CheckpointError, match="must hold the generator of the Gibbs samples, found none"):
        method.load_state({})
