"""A chip's own measurements against what was drawn for it, and what they are worth in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from analog_ep.calibration.chip import calibrate_chip
from analog_ep.circuit import Chip, Converter, Converters, LearningCircuit
from analog_ep.cli import main
from analog_ep.devices import IdealDiode, ShockleyDiode
from analog_ep.equilibrium import Relaxation, solve
from analog_ep.errors import DataError
from analog_ep.learning import EquilibriumPropagation, Update
from analog_ep.networks import ResistiveNetwork
from analog_ep.runs.folder import CALIBRATION, Run, stored_calibration
from analog_ep.spec import default_spec, with_values
from analog_ep.stimulus import SquaredError


def network(seed: int, sizes=(6, 12, 3), diode=None) -> ResistiveNetwork:
    return ResistiveNetwork(sizes, diode=diode or ShockleyDiode(), gain=4.0, seed=seed, dtype=torch.float64)


def drawn(net: ResistiveNetwork, comparator: bool, offset: float = 5e-3, bias: float = 1e-6) -> Chip:
    circuit = net.circuit()
    learning = LearningCircuit.draw(circuit, 5, bias, 0.3 * bias, comparator)
    return replace(Chip.draw(circuit, 5, offset=offset), learning=learning)


@pytest.mark.parametrize("comparator", [False, True])
def test_offsets_and_biases_are_found(comparator: bool):
    net = network(2, (6, 10, 8, 3))
    chip = drawn(net, comparator)
    found = calibrate_chip(net, chip)
    assert set(found.known.values) == set(chip.values)
    for key, offset in chip.values.items():
        np.testing.assert_allclose(found.known.values[key], offset, rtol=0, atol=1e-9)
    for name, bias in chip.learning.bias.items():  # pyright: ignore[reportOptionalMemberAccess]
        error = np.abs(found.known.learning.bias[name] - bias)  # pyright: ignore[reportOptionalMemberAccess]
        # A comparator's trim ends within 2^-13 of the last factor of 8 that it spans.
        assert (error <= np.abs(bias) * 8 / 2**13 + 1e-13).all() if comparator else (error < 1e-18).all()
    assert found.comparisons == 4 if not comparator else 14 < found.comparisons < 25
    assert f"{found.reads} reads and {found.comparisons} comparisons without a nudge" in found.sentence()


def test_noisy_converters_give_offsets_within_their_uncertainty():
    net = network(2)
    chip = replace(
        drawn(net, False, bias=0.0), converters=Converters.draw(net.circuit(), 3, Converter(), [Converter(noise=1e-4)])
    )
    found = calibrate_chip(net, chip, reads=64)
    key = "amplifier1.offset"
    scores = (found.known.values[key] - chip.values[key]) / found.offset_deviation[key]
    assert 0.3 < np.sqrt((scores**2).mean()) < 2.0
    assert found.offset_deviation[key] < 1e-4


def test_nodes_that_ideal_diodes_hold_are_said_to_be_unknown():
    net = network(2, diode=IdealDiode())
    chip = drawn(net, False)
    assert "offsets behind nodes that an ideal diode holds" in calibrate_chip(net, chip).sentence()
    inputs = 4 * torch.rand(40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 2
    found = calibrate_chip(net, chip, inputs=inputs)
    np.testing.assert_allclose(found.known.values["amplifier1.offset"], chip.values["amplifier1.offset"], atol=1e-9)


def floor(chip: Chip, known: Chip | None, epochs: int = 100) -> float:
    """Mean cost of the last epochs of a training towards a teacher of the same sizes, whose cost can be 0."""
    inputs = 2 * torch.rand(24, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1
    targets = solve(network(1), inputs, solver=Relaxation()).outputs.detach()
    student = network(2)
    method = EquilibriumPropagation(student, 1e-6, SquaredError(), chip=chip, known=known)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.02)
    update, costs = Update(optimizer, student), []
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.95)
    for _ in range(epochs):
        optimizer.zero_grad()
        costs.append(float(method.backward(inputs, targets)))
        update.step()
        schedule.step()
    return float(np.mean(costs[-10:]))


def test_the_floor_of_training_falls_fivefold():
    net = network(2)
    chip = drawn(net, True)
    found = calibrate_chip(net, chip)
    before, after = floor(chip, None), floor(chip, found.known)
    assert before > 5 * after
    assert found.reads + found.comparisons < 30


def test_a_resumed_run_corrects_for_its_calibration(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = tmp_path / "run"
    spec = with_values(
        default_spec("iris"),
        training={"epochs": 1},
        gradient={"method": "ep"},
        chip={"amplifier_offset": 5e-3, "learning_bias": 1e-7, "comparator": True},
    )
    Run.create(run, spec).train()
    with pytest.raises(SystemExit) as ended:
        main(["calibrate", "chip", str(run)])
    assert ended.value.code == 0
    assert "comparisons without a nudge" in capsys.readouterr().out
    resumed = Run.resume(run)
    known = stored_calibration(run, resumed.trainer.network)  # pyright: ignore[reportArgumentType]
    assert known is not None
    method = resumed.trainer.gradient
    assert isinstance(method, EquilibriumPropagation)
    assert method.known is not None
    for key, offset in known.values.items():
        np.testing.assert_array_equal(method.known.values[key], offset)


def test_what_cannot_be_calibrated_is_refused(tmp_path: Path):
    run = tmp_path / "run"
    Run.create(run, with_values(default_spec("iris"), training={"epochs": 1}))
    with pytest.raises(SystemExit, match=r"must have a chip to calibrate, found no \[chip\]"):
        main(["calibrate", "chip", str(run)])
    assert not (run / CALIBRATION).exists()
    with pytest.raises(SystemExit, match="must be a run folder"):
        main(["calibrate", "chip", str(tmp_path)])
    with pytest.raises(DataError, match="reads and bits must be at least 1, found 0 and 12"):
        calibrate_chip(network(1), Chip({}), reads=0)
    with pytest.raises(DataError, match="must have amplifiers or learning circuits to calibrate, found neither"):
        calibrate_chip(network(1, (6, 3)), Chip({}))
