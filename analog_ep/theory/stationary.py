"""The stochastic rule of equilibrium propagation on small random networks, against quadrature."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from rich.table import Table
from scipy.special import chdtrc
from torch import Tensor

from analog_ep.devices import ShockleyDiode
from analog_ep.dynamics.langevin import Langevin
from analog_ep.equilibrium.equilibrium import solve
from analog_ep.equilibrium.solver_of import solver_of
from analog_ep.learning.gradients.stochastic import Estimator, GradientEstimate, StochasticEquilibriumPropagation
from analog_ep.networks import HardwareNetwork, HopfieldNetwork, Network, ResistiveNetwork, Sigmoid, Tanh
from analog_ep.stimulus import SquaredError
from analog_ep.support.png import png_of
from analog_ep.support.shown import Tabled
from analog_ep.theory.quadrature import GibbsGrid

_PRECISION = 0.015
"""Standard errors over the gradient's norm at which a network has been looked at for long enough."""

_MOST_ESTIMATES = 32


@dataclass(frozen=True)
class StochasticCase:
    """A network with one sample, and what the rule found on it.

    Attributes
    ----------
    network : str
        Its kind and sizes.
    exact, estimated, standard_error : list of float
        d⟨C⟩/dθ by quadrature, by the rule, and the error it states; all parameters in a row.
    relative_error : float
        Norm of the standard errors over that of the gradient.
    cosine : float
        Between the two gradients.
    chi_square : float
        Of their distance, with all correlations.
    degrees : int
        Its degrees of freedom: independent combinations of parameters.
    """

    network: str
    exact: list[float]
    estimated: list[float]
    standard_error: list[float]
    relative_error: float
    cosine: float
    chi_square: float
    degrees: int


@dataclass(frozen=True)
class StochasticStudy(Tabled):
    """The rule on several networks.

    Attributes
    ----------
    cases : tuple of StochasticCase
        One a network.
    estimator : str
        Which form of the rule.
    """

    cases: tuple[StochasticCase, ...]
    estimator: str

    @property
    def chi_square(self) -> float:
        """χ² of all networks together."""
        return sum(case.chi_square for case in self.cases)

    @property
    def degrees(self) -> int:
        """Its degrees of freedom."""
        return sum(case.degrees for case in self.cases)

    @property
    def probability(self) -> float:
        """Probability of so large a χ² if the rule gives the gradient."""
        return float(chdtrc(self.degrees, self.chi_square))

    @property
    def passed(self) -> bool:
        """Whether χ² is not too large at 1 %, with standard errors of at most 2 % of each gradient's norm."""
        return self.probability >= 0.01 and all(case.relative_error <= 0.02 for case in self.cases)

    def to_json(self) -> str:
        """The figures as a JSON object."""
        return json.dumps(
            {
                "estimator": self.estimator,
                "chi_square": self.chi_square,
                "degrees": self.degrees,
                "probability": self.probability,
                "cases": [asdict(case) for case in self.cases],
            }
        )

    def table(self) -> Table:
        """A row a network, and one of all."""
        title = f"stochastic rule ({self.estimator}) against quadrature"
        table = Table("network", "standard error / norm", "cosine", "χ²", "degrees", "probability", title=title)
        for case in self.cases:
            probability = chdtrc(case.degrees, case.chi_square)
            cells = f"{case.relative_error:.2%}", f"{case.cosine:.6f}", f"{case.chi_square:.1f}"
            table.add_row(case.network, *cells, str(case.degrees), f"{probability:.3f}")
        worst = max(case.relative_error for case in self.cases)
        lowest = min(case.cosine for case in self.cases)
        cells = f"{worst:.2%}", f"{lowest:.6f}", f"{self.chi_square:.1f}", str(self.degrees), f"{self.probability:.3f}"
        table.add_row("all (worst, sum)", *cells)
        return table

    def plot(self) -> bytes:
        """Estimates over exact gradients, and the distances in standard errors, as a PNG."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        scores = []
        for case in self.cases:
            exact, found, error = (torch.tensor(v) for v in (case.exact, case.estimated, case.standard_error))
            norm = exact.norm()
            left.errorbar(exact / norm, found / norm, error / norm, fmt=".", markersize=4, elinewidth=0.8)
            scores.append(((found - exact) / error)[error > 0])
        left.axline((0, 0), slope=1, color="0.6", linewidth=0.8)
        left.set(xlabel="exact gradient / its norm", ylabel="stochastic rule / same norm")
        score = torch.cat(scores)
        right.hist(score.numpy(), bins=24, density=True, color="0.7")
        line = torch.linspace(-4, 4, 200)
        right.plot(line, torch.exp(-line.square() / 2) / (2 * torch.pi) ** 0.5, label="standard normal")
        right.set(xlabel="distance / standard error", ylabel="density", xlim=(-4.5, 4.5))
        right.legend()
        figure.suptitle(f"{len(self.cases)} networks, χ² = {self.chi_square:.1f} of {self.degrees} degrees")
        return png_of(figure)


def stochastic_study(
    networks: int = 20,
    estimator: Estimator = "contrast",
    *,
    chains: int = 1024,
    steps: int = 500,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> StochasticStudy:
    """Compare the stochastic rule with the gradient of ⟨C⟩ by quadrature on random networks of three units,
    by turns resistive ones and Hopfield networks.

    Parameters
    ----------
    networks : int
        How many.
    estimator : "contrast" or "covariance"
        See `StochasticEquilibriumPropagation`.
    chains, steps : int
        Of the Langevin dynamics.
    seed : int
        Of networks, samples and chains.
    progress : callable, optional
        Told after each network how many of how many are done.
    """
    cases = []
    for number in range(networks):
        cases.append(_case(number, seed, estimator, chains, steps))
        if progress is not None:
            progress(number + 1, networks)
    return StochasticStudy(tuple(cases), estimator)


def _case(number: int, seed: int, estimator: Estimator, chains: int, steps: int) -> StochasticCase:
    problem = (resistive_problem, hopfield_problem)[number % 2](number, seed)
    langevin = Langevin(problem.temperature, chains=chains, burn_in=300, steps=steps, seed=1000 * seed + number)
    rule = StochasticEquilibriumPropagation(problem.network, langevin, problem.nudging, estimator=estimator)
    return problem.judge(_precise(rule, problem))


def _precise(rule: StochasticEquilibriumPropagation, problem: StochasticProblem) -> GradientEstimate:
    """Mean of as many estimates as the precision needs."""
    found = [rule.estimate(problem.inputs[None], problem.target[None])]
    mean = found[0]
    while mean.relative_error > _PRECISION and len(found) < _MOST_ESTIMATES:
        found.append(rule.estimate(problem.inputs[None], problem.target[None]))
        blocks = {name: torch.stack([one.blocks[name] for one in found]).mean(0) for name in mean.blocks}
        mean = GradientEstimate(torch.stack([one.cost for one in found]).mean(), blocks)
    return mean


@dataclass(frozen=True, eq=False)
class StochasticProblem:
    """A small network, a sample, a temperature, and a nudging that is small for it."""

    kind: str
    network: HardwareNetwork
    inputs: Tensor
    target: Tensor
    temperature: float
    nudging: float
    points: int = 41

    @property
    def name(self) -> str:
        """What stands in a table."""
        return f"{self.kind} {'-'.join(map(str, self.network.sizes))}"

    def exact(self) -> dict[str, Tensor]:
        """d⟨C⟩/dθ by quadrature."""
        layers = solve(self.network, self.inputs, solver=solver_of(self.network)).layers
        grid = GibbsGrid.fitted(self.network, self.inputs, self.temperature, layers, self.points)
        return grid.gradient(SquaredError(), self.target)

    def judge(self, estimate: GradientEstimate) -> StochasticCase:
        """Compare an estimate with quadrature."""
        exact = self.exact()
        chi_square, degrees = estimate.chi_square(exact)
        rows = [_row(values, exact) for values in (exact, estimate.gradients, estimate.standard_errors)]
        return StochasticCase(
            network=self.name,
            exact=rows[0].tolist(),
            estimated=rows[1].tolist(),
            standard_error=rows[2].tolist(),
            relative_error=float(rows[2].norm() / rows[0].norm()),
            cosine=float(torch.cosine_similarity(rows[0], rows[1], dim=0)),
            chi_square=chi_square,
            degrees=degrees,
        )


def resistive_problem(number: int, seed: int) -> StochasticProblem:
    """A hidden node with a junction diode and a pair of output nodes, all weights of the energy 1."""
    generator = torch.Generator().manual_seed(1000 * seed + number)
    network = ResistiveNetwork(
        [2, 1, 1],
        diode=ShockleyDiode(1e-9),
        gain=2.0,
        feedback=2.0,
        conductance_range=(1e-6, 1e-5),
        dtype=torch.float64,
        seed=int(torch.randint(2**31, (), generator=generator)),
    )
    inputs, target = _sample(network, generator)
    return StochasticProblem("resistive", network, inputs, target, temperature=2e-8, nudging=1e-7)


def hopfield_problem(number: int, seed: int) -> StochasticProblem:
    """Two hidden units and an output, by turns with tanh and with the sigmoid; strong weights."""
    generator = torch.Generator().manual_seed(1000 * seed + number)
    activation = (Tanh(), Sigmoid())[number // 2 % 2]
    network = HopfieldNetwork([2, 2, 1], activation=activation, dtype=torch.float64)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.8 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    inputs, target = _sample(network, generator)
    kind = f"Hopfield, {type(activation).__name__}"
    return StochasticProblem(kind, network, inputs, target, temperature=0.3, nudging=0.05, points=61)


def _sample(network: Network, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    inputs = 0.5 * torch.randn(network.n_inputs, generator=generator, dtype=torch.float64)
    return inputs, 0.5 * torch.randn(network.n_outputs, generator=generator, dtype=torch.float64)


def _row(values: dict[str, Tensor], names: dict[str, Tensor]) -> Tensor:
    return torch.cat([values[name].flatten() for name in names])
