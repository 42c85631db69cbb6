"""Training with pulses from a spec: it learns, resumed runs end in the same bits, bad tables say what is wrong."""

from pathlib import Path
from typing import Any

import pytest
import torch

from analog_ep.devices.pulses import SoftBounds
from analog_ep.errors import CheckpointError, SpecError
from analog_ep.learning.training import EpochRecord
from analog_ep.learning.updates.pulsed import PulsedUpdate
from analog_ep.learning.updates.schemes import MixedPrecision, OneOfPair
from analog_ep.runs.building import build_network, build_update
from analog_ep.runs.folder import Run
from analog_ep.spec import Spec, default_spec, parse_spec, with_values

SOFT = {"device": "SoftBounds", "parameters": {"step": 0.005, "step_noise": 0.3, "step_spread": 0.2}}


def xor(update: dict[str, Any], **training: Any) -> Spec:
    """The shipped spec, shortened, with ideal diodes, which are solved fastest."""
    tables = default_spec("xor").to_dict() | {"diode": {"model": "ideal", "upper": 0.3, "lower": -0.3}}
    tables["training"] |= {"epochs": 4, "batch_size": 2, "seed": 3, **training}
    return parse_spec(tables | {"update": update}, "test")


class Interrupting:
    """An observer that stops the training after some batches, as Ctrl-C does."""

    def __init__(self, after: int):
        self._left = after

    def batch_done(self, epoch: int, batch: int, n_batches: int) -> None:
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt

    def epoch_done(self, record: EpochRecord) -> None:
        pass


def test_a_subset_of_digits_trains_with_soft_bounds(tmp_path: Path):
    spec = with_values(
        default_spec("digits"),
        data={"validation": 1100},
        network={"sizes": [64, 16, 10]},
        training={"epochs": 4, "learning_rate": 0.02},
        update=SOFT,
    )
    run = Run.create(tmp_path / "run", spec)
    run.train()
    update = run.trainer.update
    assert isinstance(update, PulsedUpdate)
    assert run.trainer.history[-1].test_accuracy > 0.75
    assert run.trainer.history[-1].cost < 0.5 * run.trainer.history[0].cost
    assert sum(int(counts.sum()) for counts in update.pulse_counts.values()) > 10_000
    assert update.energy > 0


@pytest.mark.parametrize(
    "update",
    [
        SOFT,
        {"device": "ReRamES", "scheme": "mixed_precision", "held": "negative"},
        {"device": "EcRam", "scheme": "tiki_taka", "options": {"transfer_every": 2}},
        {"device": "ConstantStep", "scheme": "stochastic", "options": {"rank": 2}},
        {"device": "HfO2", "scheme": "sign", "options": {"offset_spread": 1e-8}},
    ],
)
def test_a_resumed_run_ends_in_the_very_bits_of_an_uninterrupted_one(tmp_path: Path, update: dict[str, Any]):
    straight = Run.create(tmp_path / "straight", xor(update))
    straight.train()
    broken = Run.create(tmp_path / "broken", xor(update))
    with pytest.raises(KeyboardInterrupt):
        broken.train([Interrupting(5)])
    resumed = Run.resume(tmp_path / "broken")
    assert resumed.trainer.epoch == 2
    resumed.train()
    for name, value in straight.trainer.network.named_parameters():
        assert torch.equal(value, resumed.trainer.network.get_parameter(name))
    first, second = straight.trainer.update, resumed.trainer.update
    assert isinstance(first, PulsedUpdate)
    assert isinstance(second, PulsedUpdate)
    assert first.energy == second.energy
    for name, counts in first.pulse_counts.items():
        assert torch.equal(counts, second.pulse_counts[name])


def test_a_run_goes_on_with_the_devices_it_began_with(tmp_path: Path):
    Run.create(tmp_path / "run", xor(SOFT))
    with pytest.raises(CheckpointError, match=r"the spec it began with, found another update.scheme"):
        Run.resume(tmp_path / "run", xor(SOFT | {"scheme": "verify"}))


def test_the_table_says_what_is_built(tmp_path: Path):
    spec = xor(SOFT | {"scheme": "mixed_precision", "options": {"max_pulses": 7}, "held": "positive"})
    (tmp_path / "spec.toml").write_text(spec.to_toml())
    assert parse_spec(spec.to_dict(), "again") == spec
    update = build_update(spec, build_network(spec))
    assert isinstance(update, PulsedUpdate)
    assert update.device == SoftBounds(step=0.005, step_noise=0.3, step_spread=0.2)
    assert update.scheme == OneOfPair(MixedPrecision(max_pulses=7), "positive")


@pytest.mark.parametrize(
    ("update", "words"),
    [
        ({}, "update.device is required, found nothing"),
        ({"device": "flash"}, "update.device must be one of ConstantStep, .*, found 'flash'"),
        (SOFT | {"scheme": "guess"}, "update.scheme must be one of fixed, sign, .*, found 'guess'"),
        (SOFT | {"schem": "fixed"}, "update.schem is not a known key; known are device, parameters, scheme, options"),
        (SOFT | {"parameters": {"stp": 1.0}}, "update.parameters: SoftBounds has no parameter 'stp'; it has w_min"),
        (SOFT | {"parameters": {"step": -1.0}}, "update.parameters: SoftBounds: step must not be negative, found -1.0"),
        (
            SOFT | {"options": {"max_pulses": 0}},
            "update.options: FixedStep: max_pulses must be a whole number",
        ),
        (SOFT | {"options": {"held": "negative"}}, "update.options: scheme fixed has no parameter 'held'"),
        (SOFT | {"held": "both"}, "update.held must be 'negative' or 'positive', found 'both'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(update: dict[str, Any], words: str):
    with pytest.raises(SpecError, match=f"^test: {words}") as caught:
        xor(update)
    assert "\n" not in str(caught.value)


def test_a_held_row_needs_pairs():
    tables = xor(SOFT | {"held": "negative"}).to_dict()
    tables["network"]["drive"] = "single"
    with pytest.raises(SpecError, match=r'update.held needs network.drive = "differential", found "single"'):
        parse_spec(tables, "test")
