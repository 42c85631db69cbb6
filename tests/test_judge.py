"""neospice's adjoint network as the judge of gradients, and what it is not asked."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from test_vacask import lattice

from analog_ep import CircuitNetwork, CrossEntropy, ResistiveNetwork, ShockleyDiode, SquaredError, cli
from analog_ep.checking import judge
from analog_ep.checking.judge import adjoint_gradients, judged_gradients
from analog_ep.circuit import Chip, CircuitBuilder, Conductances, VoltageControlledVoltageSources, VoltageSources
from analog_ep.devices import IdealDiode
from analog_ep.errors import CircuitError, JudgeNotFoundError
from analog_ep.networks import ConductanceNetwork

pytestmark = pytest.mark.neospice

BOUNDS = (1e-6, 1e-3)


def layered(*sizes: int, **options) -> ResistiveNetwork:
    options = {"diode": ShockleyDiode(1e-9), "dtype": torch.float64, "seed": 1, **options}
    return ResistiveNetwork(sizes, **options)


def graph() -> CircuitNetwork:
    circuit = lattice()
    learns = [
        Conductances(g.label, g.positive, g.negative, g.siemens, g.label, np.arange(len(g)))
        if isinstance(g, Conductances)
        else g
        for g in circuit.groups
    ]
    return CircuitNetwork(circuit.with_groups(learns), BOUNDS)


def one_way() -> CircuitNetwork:
    """A divider whose output drives another one: no energy."""
    builder = CircuitBuilder("one way")
    x, a, b, c = builder.add_nodes(["x", "a", "b", "c"])
    builder.add(VoltageSources("in", x, 0, 0.0, 0))
    builder.add(VoltageControlledVoltageSources("e", b, 0, a, 0, 2.0))
    builder.add(Conductances("g", [x, a, b, c, c], [a, 0, c, 0, a], 1e-4, "g", np.arange(5)))
    builder.set_outputs(c, 0)
    return CircuitNetwork(builder.build(), BOUNDS, reciprocal=False)


NETWORKS: dict[str, Callable[[], ConductanceNetwork]] = {
    "one layer": lambda: layered(4, 6, 3),
    "two layers": lambda: layered(4, 6, 5, 3),
    "three layers": lambda: layered(5, 6, 6, 6, 2),
    "positive drive": lambda: layered(4, 6, 3, drive="single"),
    "no hidden layer": lambda: layered(6, 4),
    "other gains": lambda: layered(4, 6, 5, 3, gain=2.0, feedback=0.1),
    "weak clamps": lambda: layered(4, 8, 3, diode=ShockleyDiode(1e-14)),
    "warm": lambda: layered(4, 6, 3, diode=ShockleyDiode(1e-9, 1.3, temperature=350.0)),
    "lattice": graph,
    "one way": one_way,
}


@pytest.mark.parametrize("cost", [SquaredError(), CrossEntropy(0.3)], ids=lambda cost: type(cost).__name__)
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_the_adjoint_network(name: str, cost):
    network, draw = NETWORKS[name](), torch.Generator().manual_seed(2)
    inputs = torch.rand(3, network.n_inputs, dtype=torch.float64, generator=draw) - 0.3
    targets = torch.softmax(torch.rand(3, network.n_outputs, dtype=torch.float64, generator=draw), -1)
    differences = judged_gradients(network, inputs, targets, cost)
    assert max(differences.values()) < 1e-9, differences


def test_a_chips_mismatch_is_seen_by_the_judge():
    network = layered(4, 6, 3)
    chip = Chip.draw(network.circuit(), 3, siemens=0.1, gain=0.05)
    inputs, targets = torch.rand(2, 4, dtype=torch.float64), torch.eye(3, dtype=torch.float64)[:2]
    assert max(judged_gradients(network, inputs, targets, SquaredError(), chip).values()) < 1e-9
    nominal, own = (adjoint_gradients(network, inputs, targets, SquaredError(), c) for c in (None, chip))
    assert float((nominal["stage1"] - own["stage1"]).abs().max()) > 1e-3 * float(own["stage1"].abs().max())


def test_what_it_would_read_otherwise_is_refused():
    network = layered(4, 6, 3, diode=IdealDiode()).as_built()
    inputs, targets = torch.rand(1, 4, dtype=torch.float64), torch.eye(3, dtype=torch.float64)[:1]
    with pytest.raises(CircuitError, match=r"neospice judges circuits of resistors, .* found b_clamp1_upper_0, which"):
        adjoint_gradients(network, inputs, targets, SquaredError())


def test_a_judge_that_is_missing_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, judge.NEOSPICE, None)
    network = layered(4, 6, 3)
    inputs, targets = torch.rand(1, 4, dtype=torch.float64), torch.eye(3, dtype=torch.float64)[:1]
    with pytest.raises(JudgeNotFoundError, match="needs the package neospice, found none; install it"):
        adjoint_gradients(network, inputs, targets, SquaredError())


@pytest.mark.ngspice
def test_check_asks_the_judge(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (["train", "--data", "xor", "--epochs", "1", "--out", "run"], ["check", "run", "--judge", "--json"]):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main(command)
        assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["judge"]) == {"stage1", "stage2"}
    assert max(found["judge"].values()) < 1e-8
