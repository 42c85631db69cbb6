"""The comparison of gradient methods: one short training of each kind, and what the report makes of outcomes."""

import io
import json
from dataclasses import replace

import pytest
from matplotlib.image import imread

from analog_ep.learning import training
from analog_ep.theory import relatives
from analog_ep.theory.relatives import CONTENDERS, Comparison, Contender, Outcome, run

OUTCOME = Outcome("EP", "Hopfield", 0, 0.01, [0.5, 0.9], 0.95, None, 0.25, None, 1.5)


def contender(name: str, network: str) -> Contender:
    return next(c for c in CONTENDERS if (c.name, c.network) == (name, network))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(relatives, "HIDDEN", 20)


def test_the_adjoint_dynamics_follow_the_gradient():
    outcome = run(contender("recurrent backprop", "Hopfield"), 0, 1e-3, 1)
    assert outcome.cosine_before is not None
    assert outcome.cosine_before > 0.999
    assert outcome.machine_accuracy is None


def test_a_machine_learns():
    outcome = run(contender("CD-1", "Hopfield"), 0, 1e-2, 3)
    assert outcome.machine_accuracy is not None
    assert outcome.machine_accuracy > 0.6
    assert len(outcome.test_accuracy) == 3


def test_held_samples_take_the_place_of_the_test_part(monkeypatch: pytest.MonkeyPatch):
    sizes = []
    real = training.accuracy
    monkeypatch.setattr(training, "accuracy", lambda n, x, y, *others: sizes.append(len(y)) or real(n, x, y, *others))
    coupled = contender("coupled learning, η = 0.1", "resistive")
    assert run(coupled, 0, 1e-2, 1, held_out=True).test_accuracy[-1] > 0.3
    assert sizes == [1137, 300]


@pytest.mark.pictures
def test_report():
    others = [
        replace(OUTCOME, seed=1, test_accuracy=[0.6, 0.8], cosine_before=0.75),
        replace(OUTCOME, method="CD-1", machine_accuracy=0.7),
        replace(OUTCOME, network="resistive"),
    ]
    comparison = Comparison([OUTCOME, *others])
    rows = comparison.rows()
    assert rows[0] == ("Hopfield", "EP", "0.01", "85.0 ± 7.1", "95.0 ± 0.0", "", "0.500", "none", "1.50")
    assert rows[1][5] == "70.0"
    assert [row[0] for row in rows] == ["Hopfield", "Hopfield", "resistive"]
    assert len(comparison.markdown().splitlines()) == 5
    assert json.loads(comparison.to_json())[1]["test_accuracy"] == [0.6, 0.8]
    assert comparison.table().row_count == 3
    assert imread(io.BytesIO(comparison.plot())).std() > 0.05


def test_learning_rates_are_chosen_by_held_out_accuracy(monkeypatch: pytest.MonkeyPatch):
    seen = []

    def fake(contender, seed, rate, epochs, *, held_out=False):
        seen.append((seed, rate, epochs, held_out))
        return replace(OUTCOME, test_accuracy=[0.9 if rate == 1e-2 else 0.5])

    monkeypatch.setattr(relatives, "run", fake)
    assert relatives.chosen_rate(CONTENDERS[0], 4) == 1e-2
    assert seen == [(100, rate, 4, True) for rate in relatives.RATES]
    heard = []
    comparison = relatives.compare([0, 1], 2, [1e-2] * len(CONTENDERS), heard.append)
    assert comparison.outcomes == heard
    assert len(heard) == 2 * len(CONTENDERS)
