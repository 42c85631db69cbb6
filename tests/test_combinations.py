"""Every gradient method on every network with every solver: it works, or one line says what to use."""

import pytest
import torch

from analog_ep import (
    CircuitNetwork,
    ContrastiveDivergence,
    ContrastiveHebbian,
    CoupledLearning,
    EnergyImplicitDifferentiation,
    EquilibriumPropagation,
    EulerRelaxation,
    HarmonicEquilibriumPropagation,
    HolomorphicEquilibriumPropagation,
    HopfieldNetwork,
    HopfieldRelaxation,
    ImplicitDifferentiation,
    LeakyIntegrators,
    LockInEquilibriumPropagation,
    Newton,
    Ngspice,
    NgspiceSettling,
    RecurrentBackpropagation,
    Relaxation,
    ResistiveNetwork,
    ShockleyDiode,
    SmallSignal,
)
from analog_ep.errors import AnalogEPError

METHODS = {
    "ep": lambda n, s: EquilibriumPropagation(n, 1e-3, solver=s),
    "ep, elastic": lambda n, s: EquilibriumPropagation(n, 1e-6, kind="elastic", variant="positive", solver=s),
    "ep, negative elastic": lambda n, s: EquilibriumPropagation(n, 1e-6, kind="elastic", variant="negative", solver=s),
    "small signal": lambda n, s: SmallSignal(n, solver=s),
    "coupled": lambda n, s: CoupledLearning(n, 0.1, solver=s),
    "contrastive Hebbian": lambda n, s: ContrastiveHebbian(n, solver=s),
    "implicit": lambda n, s: ImplicitDifferentiation(n, solver=s),
    "implicit, energy": lambda n, s: EnergyImplicitDifferentiation(n, solver=s),
    "recurrent backpropagation": lambda n, s: RecurrentBackpropagation(n, solver=s),
    "contrastive divergence": lambda n, s: ContrastiveDivergence(n, 1),
    "holomorphic": lambda n, s: HolomorphicEquilibriumPropagation(n, 1e-2, solver=s),
    "harmonic": lambda n, s: HarmonicEquilibriumPropagation(n, 1e-3, solver=s),
    "lock-in": lambda n, s: LockInEquilibriumPropagation(n, 1e-3, solver=s),
}
SOLVERS = {
    "default": None,
    "relaxation": Relaxation(),
    "hopfield": HopfieldRelaxation(),
    "euler": EulerRelaxation(),
    "newton": Newton(),
    "ngspice": Ngspice(),
    "settling": NgspiceSettling(),
}


def resistive() -> ResistiveNetwork:
    return ResistiveNetwork([2, 2, 2], diode=ShockleyDiode(1e-9), dtype=torch.float64)


NETWORKS = {
    "resistive": resistive,
    "circuit": lambda: CircuitNetwork(resistive().circuit(), (1e-7, 1e-4)),
    "hopfield": lambda: HopfieldNetwork([2, 2, 2], dtype=torch.float64, seed=1),
    "hopfield, sigmoid": lambda: HopfieldNetwork([2, 2, 2], activation="sigmoid", dtype=torch.float64, seed=1),
    "hopfield circuit": lambda: HopfieldNetwork(
        [2, 2, 2], activation="tanh", hardware=LeakyIntegrators(), dtype=torch.float64, seed=1
    ),
    "bare circuit": lambda: resistive().circuit(),
}

PHASES = {"ep", "ep, elastic", "ep, negative elastic", "harmonic", "lock-in"}
HELD = {"coupled", "contrastive Hebbian"}


def expected(method: str, network: str) -> set[str]:
    """Solvers that serve a method on a network: what is served is not to be lost, what is not is to be refused."""
    circuits = {"default", "newton", "ngspice"}
    if network in ("resistive", "circuit"):
        serves = PHASES | HELD | {"small signal", "implicit"}
        if method not in serves:
            return set()
        return circuits | ({"relaxation"} if network == "resistive" else set())
    if not network.startswith("hopfield"):
        return set()
    if method == "contrastive divergence":
        return set(SOLVERS) if network == "hopfield" else set()
    if method in PHASES | {"implicit, energy", "recurrent backpropagation"} or (
        method == "holomorphic" and network != "hopfield"
    ):
        return set(SOLVERS) - {"relaxation"}
    if method in HELD:
        return set(SOLVERS) - {"relaxation", "euler"}
    return circuits | {"hopfield"} if method == "small signal" else set()


@pytest.mark.ngspice
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", METHODS)
def test_no_combination_ends_in_a_bare_exception(method, network):
    x = torch.tensor([[0.3, 0.6]], dtype=torch.float64)
    y = torch.tensor([[0.1, 0.4]], dtype=torch.float64)
    worked, refusals = set(), []
    for name, solver in SOLVERS.items():
        net = NETWORKS[network]()
        try:
            cost, gradients = METHODS[method](net, solver).gradients(x, y)
        except AnalogEPError as error:
            refusals.append(str(error))
            continue
        worked.add(name)
        assert bool(torch.isfinite(cost))
        assert gradients.keys() == dict(net.named_parameters()).keys()
        assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients.values())
    assert not any("\n" in words or len(words) < 20 for words in refusals)
    assert worked == expected(method, network)
