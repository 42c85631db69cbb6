"""Asymmetric EP and the adjoint network as gradient methods: exact where plain EP is not, from any solver."""

# pyright: reportArgumentType=false

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from analog_ep import (
    AdjointNetwork,
    AsymmetricEquilibriumPropagation,
    Chip,
    CircuitNetwork,
    CrossEntropy,
    EquilibriumPropagation,
    GateNetwork,
    GradientMethod,
    HopfieldNetwork,
    HopfieldRelaxation,
    IdealDiode,
    ImplicitDifferentiation,
    Newton,
    Ngspice,
    Nudge,
    Relaxation,
    ResistiveNetwork,
    ShockleyDiode,
    SmallSignal,
    SquaredError,
    Update,
    implicit_gradients,
    read_netlist,
    solve,
    write_adjoint_netlist,
    write_asymmetric_netlist,
)
from analog_ep.circuit import GatedMosfets
from analog_ep.equilibrium.equilibrium import asymmetric_response
from analog_ep.errors import ConvergenceError, SpecError, StimulusError
from analog_ep.learning.gradients.branch_gradient import Likeness, likeness
from analog_ep.networks import Network, Wires
from analog_ep.runs.folder import Run
from analog_ep.runs.trained import cross_checked, export_transposed, trained_circuit
from analog_ep.runs.trained import test_samples as samples_of_run
from analog_ep.spec import default_spec, parse_spec, with_values
from tests.plain_ngspice import run_plain, run_point
from tests.test_adjoint_network import own_transistors
from tests.test_gate_network import BOUNDS as GATES
from tests.test_gate_network import EKV, INPUTS, LEVEL1, TARGETS, edges
from tests.test_irreciprocal import BOUNDS, ring, samples

VANISHING = "vanishing"


@cache
def layered(dtype: torch.dtype = torch.float64) -> ResistiveNetwork:
    return ResistiveNetwork([4, 6, 5, 3], diode=ShockleyDiode(1e-9), gain=4.0, seed=1, dtype=dtype)


def layered_samples(count: int = 2, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs, targets = (torch.rand(count, n, generator=generator, dtype=torch.float64) for n in (4, 3))
    return (2 * inputs).to(dtype), (targets - 0.5).to(dtype)


def compared(method: GradientMethod, inputs: Tensor, targets: Tensor, chip: Chip | None = None) -> Likeness:
    exact = ImplicitDifferentiation(method.network, method.cost, chip=chip).gradients(inputs, targets)[1]
    return likeness(method.gradients(inputs, targets)[1], exact)


def require_exact(method: GradientMethod, inputs: Tensor, targets: Tensor, chip: Chip | None = None) -> None:
    found = compared(method, inputs, targets, chip)
    assert found.cosine >= 1 - 1e-8
    assert found.ratio == pytest.approx(1, abs=1e-6)


def both(network: Network, nudging: float = 1e-7, **options) -> list[GradientMethod]:
    return [
        AdjointNetwork(network, **options),
        AsymmetricEquilibriumPropagation(network, variant=VANISHING, **options),
        AsymmetricEquilibriumPropagation(network, nudging, **options),
    ]


@pytest.mark.ngspice
@pytest.mark.parametrize("spread", [0.01, 0.1])
@pytest.mark.parametrize("solver", [Ngspice(), Newton(), Relaxation()], ids=lambda solver: type(solver).__name__)
def test_chips_with_mismatched_amplifiers(spread, solver):
    chip = Chip.draw(layered().circuit(), 0, gain=spread, feedback=spread, siemens=0.05, offset=5e-3)
    inputs, targets = layered_samples()
    for method in both(layered(), solver=solver, chip=chip):
        require_exact(method, inputs, targets, chip)
    plain = compared(EquilibriumPropagation(layered(), 1e-7, chip=chip, known=chip), inputs, targets, chip)
    assert plain.cosine < 1 - 0.02 * spread**2
    assert abs(plain.ratio - 1) > 1e-6


@pytest.mark.ngspice
@pytest.mark.parametrize("solver", [Ngspice(), Newton()], ids=["ngspice", "newton"])
def test_a_circuit_with_a_one_way_source(solver):
    network = CircuitNetwork(ring(), BOUNDS)
    for method in both(network, solver=solver):
        require_exact(method, *samples())
    assert compared(SmallSignal(CircuitNetwork(ring(), BOUNDS, reciprocal=False)), *samples()).cosine < 0.99


@pytest.mark.ngspice
def test_transistor_edges():
    for device, solver in ((EKV, Newton()), (LEVEL1, Ngspice())):
        network = GateNetwork(edges(GatedMosfets, device), GATES)
        for method in both(network, solver=solver):
            require_exact(method, INPUTS[:1], TARGETS[:1])


@pytest.mark.ngspice
def test_a_kind_of_ones_own():
    for solver in (Newton(), Ngspice()):
        network = CircuitNetwork(own_transistors(), (1e-6, 1e-3))
        inputs = torch.tensor([[0.9]], dtype=torch.float64)
        for method in both(network, solver=solver):
            require_exact(method, inputs, 0.1 * inputs)


@pytest.mark.parametrize("kind", ["frozen", "elastic"])
@pytest.mark.parametrize("variant", ["positive", "centered"])
def test_finite_nudges_are_exact_to_their_order(kind, variant):
    chip = Chip.draw(layered().circuit(), 0, gain=0.1, feedback=0.1)
    inputs, targets = layered_samples()
    found = []
    for nudging in (1e-6, 5e-7):
        method = AsymmetricEquilibriumPropagation(
            layered(), nudging, CrossEntropy(0.5), variant=variant, kind=kind, chip=chip
        )
        exact = ImplicitDifferentiation(layered(), CrossEntropy(0.5), chip=chip).gradients(inputs, targets)[1]
        gradient = method.gradients(inputs, targets.softmax(-1))[1]
        exact = ImplicitDifferentiation(layered(), CrossEntropy(0.5), chip=chip).gradients(inputs, targets.softmax(-1))[
            1
        ]
        found.append(max(float((gradient[name] - exact[name]).norm() / exact[name].norm()) for name in exact))
    order = np.log2(found[0] / found[1])
    assert order == pytest.approx(1 if variant == "positive" else 2, abs=0.1)


@pytest.mark.parametrize("diode", [ShockleyDiode(1e-9), IdealDiode()], ids=["shockley", "ideal"])
def test_single_precision_and_ideal_diodes(diode):
    network = ResistiveNetwork([4, 6, 5, 3], diode=diode, seed=1, dtype=torch.float32)
    inputs, targets = layered_samples(8, torch.float32)
    twin = ResistiveNetwork([4, 6, 5, 3], diode=diode, seed=1, dtype=torch.float64)
    twin.load_state_dict(network.state_dict())
    chip = Chip.draw(twin.as_built().circuit(), 0, gain=0.1, feedback=0.1)
    exact = ImplicitDifferentiation(twin.as_built(), chip=chip).gradients(inputs, targets)[1]
    for method in both(network, 1e-6, chip=chip):
        found = likeness(method.gradients(inputs, targets)[1], exact)
        # Ideal diodes have stand-ins of a finite conductance where they are differentiated.
        assert found.cosine >= 1 - (1e-6 if isinstance(diode, IdealDiode) else 1e-10)
        assert found.ratio == pytest.approx(1, abs=1e-3 if isinstance(diode, IdealDiode) else 1e-5)


@pytest.mark.parametrize(
    "options", [{"drive": "single"}, {"wires": Wires(300.0, 200.0, tile_rows=4)}, {"feedback": 1.3}]
)
def test_layers_of_other_forms(options):
    network = ResistiveNetwork([4, 6, 5, 3], diode=ShockleyDiode(1e-9), seed=1, dtype=torch.float64, **options)
    chip = Chip.draw(network.circuit(), 0, gain=0.1, feedback=0.1, offset=0.01)
    for method in both(network, chip=chip):
        require_exact(method, *layered_samples(), chip)


def test_where_there_is_an_energy_it_is_plain_ep():
    reciprocal = CircuitNetwork(ring().with_groups(g for g in ring().groups if g.label != "e"), BOUNDS)
    for network, stimulus in ((layered(), layered_samples()), (reciprocal, samples())):
        plain = EquilibriumPropagation(network, 1e-5, variant="positive").gradients(*stimulus)[1]
        found = AsymmetricEquilibriumPropagation(network, 1e-5, variant="positive").gradients(*stimulus)[1]
        for name, wanted in plain.items():
            torch.testing.assert_close(found[name], wanted, rtol=1e-8, atol=0)


@pytest.mark.parametrize("kind", [AdjointNetwork, AsymmetricEquilibriumPropagation])
def test_transistor_edges_train(kind):
    circuit = edges(GatedMosfets, EKV, count=12, nodes=6, outputs=(3, 4))
    network, teacher = GateNetwork(circuit, GATES), GateNetwork(circuit, GATES)
    teacher.set_gate_voltages({"gates": 3.8 - teacher.gate_voltages["gates"]})
    targets = solve(teacher, INPUTS, solver=Newton()).outputs
    method = kind(network) if kind is AdjointNetwork else kind(network, variant=VANISHING)
    update = Update(torch.optim.Adam(network.parameters(), lr=0.15), network)
    costs = []
    for _ in range(7):
        update.zero_grad()
        costs.append(float(method.backward(INPUTS, targets)))
        update.step()
    assert costs[-1] < 0.5 * costs[0]


@pytest.mark.ngspice
@pytest.mark.parametrize("name", ["layered", "ring", "gates"])
def test_the_exported_adjoint_network_prints_the_gradient(name, tmp_path):
    chip, inputs, targets, network = None, *(values[0] for values in samples()), CircuitNetwork(ring(), BOUNDS)
    if name == "layered":
        network, (inputs, targets) = layered(), (values[0] for values in layered_samples())
        chip = Chip.draw(network.circuit(), 0, gain=0.1, feedback=0.1)
    elif name == "gates":
        network, inputs, targets = GateNetwork(edges(GatedMosfets, LEVEL1), GATES), INPUTS[0], TARGETS[0]
    path = write_adjoint_netlist(
        network, inputs, Nudge(1e-6, targets, SquaredError()), path=tmp_path / "adjoint.cir", chip=chip
    )
    printed = run_point(path)
    circuit = network.circuit(chip)
    exact = implicit_gradients(circuit, SquaredError(), inputs[None], targets[None])
    seen = 0
    for group in circuit.learning_groups():
        wanted = exact[str(group.parameter)]
        found = np.array([printed[f"grad_{group.label}_{i}"] for i in range(len(group))])
        index = torch.tensor(group.index)
        np.testing.assert_allclose(found, wanted[index].numpy(), rtol=0, atol=3e-9 * float(wanted.abs().max()))
        seen += len(found)
    assert seen == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.ngspice
@pytest.mark.parametrize("name", ["layered", "ring", "gates"])
def test_the_exported_asymmetric_phase_has_the_response(name, tmp_path):
    chip, inputs, targets, network = None, *(values[0] for values in samples()), CircuitNetwork(ring(), BOUNDS)
    if name == "layered":
        network, (inputs, targets) = layered(), (values[0] for values in layered_samples())
        chip = Chip.draw(network.circuit(), 0, gain=0.1, feedback=0.1)
    elif name == "gates":
        network, inputs, targets = GateNetwork(edges(GatedMosfets, LEVEL1), GATES), INPUTS[0], TARGETS[0]
    nudge = Nudge(1e-5, targets, SquaredError())
    path = write_asymmetric_netlist(network, inputs, nudge, path=tmp_path / "both.cir", chip=chip)
    printed, circuit = run_plain(path), network.circuit(chip)
    free = solve(network, inputs[None], solver=Newton(), chip=chip)
    nudge = Nudge(1e-5, targets[None], SquaredError())
    response, status = Newton().asymmetric(free, nudge.current(free.outputs), nudge)
    assert status.complete
    assert circuit.outputs is not None
    rows = []
    for p, n in zip(*circuit.outputs, strict=True):
        names = [circuit.node_names[node] for node in (p, n)]
        rows.append(printed[f"v({names[0]})-v({names[1]})" if n else f"v({names[0]})"])
    at_rest, nudged = np.stack(rows, axis=1)
    np.testing.assert_allclose(at_rest, free.outputs[0].numpy(), rtol=0, atol=1e-8)
    change = network.outputs_of(response)[0].numpy()
    np.testing.assert_allclose(nudged - at_rest, change, rtol=0, atol=3e-8)
    assert np.abs(change).max() > 1e-5


@pytest.mark.parametrize("dialect", ["xyce", "ltspice", "hspice", "spectre", "gnucap", "vacask"])
def test_every_dialect_has_the_adjoint_network(dialect, tmp_path):
    nudge = Nudge(1e-6, samples()[1][0], SquaredError())
    path = write_adjoint_netlist(
        CircuitNetwork(ring(), BOUNDS), samples()[0][0], nudge, path=tmp_path / "a.cir", dialect=dialect
    )
    assert "grad_g_0" in path.read_text()


@pytest.mark.ngspice
def test_a_run_trains_and_is_checked_and_exported(tmp_path):
    spec = with_values(
        default_spec("iris"),
        network={"sizes": [4, 5, 4, 3]},
        gradient={"method": "adjoint"},
        training={"epochs": 1},
        chip={"gain_spread": 0.1, "feedback_spread": 0.1},
    )
    Run.create(tmp_path / "run", spec).train()
    told = json.loads(cross_checked(tmp_path / "run", 3).to_json())
    assert told["reciprocal"] is False
    assert told["gradient_cosine_exact"] < 1 - 1e-6
    assert told["passed"] is True
    export_transposed(tmp_path / "run", 3, "adjoint", tmp_path / "adjoint.cir")
    _, network, chip = trained_circuit(tmp_path / "run")
    inputs, targets = samples_of_run(spec, network, slice(3, 4), chip)
    exact = implicit_gradients(network.circuit(chip), spec.cost.build(), inputs, targets)["stage3"]
    index = network.circuit(chip).trainable()["stage3"].index
    printed = run_point(tmp_path / "adjoint.cir")
    found = [printed[f"grad_stage3_{i}"] for i in range(len(exact))]
    np.testing.assert_allclose(found, exact.numpy()[index], rtol=0, atol=3e-9 * float(exact.abs().max()))


def test_the_example_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parent.parent / "docs" / "irreciprocal.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    exec(compile(code, "irreciprocal.md", "exec"), {"__name__": "page"})
    assert (tmp_path / "adjoint.cir").exists()


def refused(what, words: str) -> None:
    with pytest.raises((StimulusError, SpecError)) as caught:
        what()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_input_gives_one_line(tmp_path):
    hopfield = HopfieldNetwork([2, 2, 2])
    for kind in (AdjointNetwork, AsymmetricEquilibriumPropagation):
        refused(lambda kind=kind: kind(hopfield), f"{kind.__name__} needs a ResistiveNetwork")
        refused(lambda kind=kind: kind(ring()), "a CircuitNetwork or a GateNetwork, found a Circuit")
    network = CircuitNetwork(ring(), BOUNDS)
    refused(lambda: AsymmetricEquilibriumPropagation(network, variant="both"), "variant must be one of")
    refused(lambda: AsymmetricEquilibriumPropagation(network, 0.0), "nudging must be positive")
    refused(lambda: AdjointNetwork(network, solver=Relaxation()).gradients(*samples()), "Relaxation solves layered")
    free = solve(network, samples()[0], solver=Newton())
    for ask in (HopfieldRelaxation().adjoint, HopfieldRelaxation().asymmetric):
        refused(lambda ask=ask: ask(free, free.outputs), "use Relaxation of a layered resistive network, Newton")
    bare = replace(ring(), outputs=None)
    nudge = Nudge(1e-6, torch.zeros(1, dtype=torch.float64), SquaredError())
    inputs, path = samples()[0][0], tmp_path / "a.cir"
    refused(lambda: write_adjoint_netlist(bare, inputs, nudge, path=path), "needs outputs")
    plain = ring().with_groups([replace(g, parameter=None, index=None) if g.label == "g" else g for g in ring().groups])
    refused(lambda: write_adjoint_netlist(plain, inputs, nudge, path=path), "found nothing in")
    refused(lambda: write_adjoint_netlist(ring(), inputs, nudge, path=path, dialect="pspice"), "dialect must be")
    refused(lambda: write_adjoint_netlist(ring(), samples()[0], nudge, path=path), "one sample")
    assert not path.exists()


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (
            {"network": {"kind": "hopfield"}, "gradient": {"method": "adjoint"}},
            'needs network.kind = "resistive" or "convolutional" or "circuit" or "transistors", found "hopfield"',
        ),
        ({"gradient": {"method": "adjoint", "variant": "centered"}}, "has a meaning only with method = "),
        ({"gradient": {"method": "asymmetric", "variant": "both"}}, "gradient.variant must be"),
        ({"gradient": {"method": "asymmetric", "nudging": -1.0}}, "gradient.nudging must be"),
        ({"gradient": {"method": "adjoint"}, "converters": {"adc_bits": 8, "adc_range": 1.0}}, "only phases that"),
    ],
)
def test_specs_that_ask_for_what_cannot_be(tables, words):
    tables = {"network": {"sizes": [2, 2, 2]} | tables.pop("network", {}), "data": {"source": "xor"}} | tables
    refused(lambda: parse_spec(tables, "test"), words)


def with_a_tanh(folder: Path) -> CircuitNetwork:
    """A source that follows its own load by a tanh; its correction has further equilibria."""
    path = folder / "tanh.cir"
    path.write_text(
        "t\n*@ train r* 1e-6 1e-3 S\n*@ input va\n*@ output out\nVa a 0 1\nR1 a b 10k\nR2 b 0 20k\n"
        "B1 c b V=0.2*tanh(v(out))\nR3 c out 15k\nR4 out 0 30k\n.end\n"
    )
    return read_netlist(path).network(reciprocal=False)


@pytest.mark.ngspice
def test_a_phase_that_rests_elsewhere_or_is_far_from_linear_is_told(tmp_path: Path):
    net = with_a_tanh(tmp_path)
    inputs, targets = (torch.tensor(values, dtype=torch.float64)[:, None] for values in ([0.7, -0.4], [0.1, 0.2]))
    method = AsymmetricEquilibriumPropagation(net, variant="vanishing", solver=Ngspice())
    with pytest.raises(ConvergenceError, match=r"rest at another equilibrium of the corrected circuit .* with Newton"):
        method.gradients(inputs, targets)
    with pytest.raises(
        ConvergenceError, match=r'otherwise than to a small nudge; use a smaller .* variant = "vanishing"'
    ):
        AsymmetricEquilibriumPropagation(net, 1e-5).gradients(inputs, targets)


@pytest.mark.ngspice
@pytest.mark.parametrize("nudged", [False, True])
def test_a_search_that_begins_at_the_free_state_responds_alike(nudged: bool):
    network, (inputs, targets) = CircuitNetwork(ring(), BOUNDS), samples()
    free = solve(network, inputs, solver=Newton())
    nudge = Nudge(1e-7, targets, SquaredError()) if nudged else None
    error = targets - free.outputs
    found = [asymmetric_response(free, error, nudge, solver=solver)[0] for solver in (Newton(), Ngspice(nodeset=True))]
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-5 * float(found[0].abs().max()))


def test_a_kind_of_nudge_that_is_none_is_refused_at_once(tmp_path: Path):
    with pytest.raises(StimulusError, match="a nudge is frozen or elastic, found 'bogus'"):
        AsymmetricEquilibriumPropagation(with_a_tanh(tmp_path), kind="bogus")  # pyright: ignore[reportArgumentType]
