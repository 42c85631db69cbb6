"""Boltzmann machine learning on a layered Hopfield network, by contrastive divergence."""

from __future__ import annotations

import torch
from torch import Tensor

from analog_ep.dynamics.boltzmann import BoltzmannMachine, drawn
from analog_ep.errors import StimulusError
from analog_ep.learning.checkpoint import restore_generator
from analog_ep.learning.gradients.method import GradientMethod
from analog_ep.networks import Network
from analog_ep.networks.needs import units_of
from analog_ep.stimulus import Cost, require_finite


class ContrastiveDivergence(GradientMethod):
    r"""Contrastive divergence, CD-k (Hinton 2002), for the outputs y given the inputs x.

    The network's weights and biases are those of a `BoltzmannMachine` of binary units. Its negative log-likelihood has
    the gradient

    .. math:: -\frac{∂ \log p(y \mid x)}{∂θ} = \frac1T \left( \left\langle \frac{∂E}{∂θ} \right\rangle_{y}
       - \left\langle \frac{∂E}{∂θ} \right\rangle \right),

    with the outputs held at y in the first mean, and free in the second. CD-k takes the second after k Gibbs sweeps
    that begin at a sample of the first; it is biased, and exact as k → ∞ [1]_. The probabilities of the units drawn
    last stand for their samples, which is exact in the mean and less noisy. The cost that is reported is that of the
    outputs' probabilities in the first sweep, their reconstruction.

    Parameters
    ----------
    network : HopfieldNetwork
        What to train; with the hard sigmoid, at whose bounds the two energies are one.
    steps : int
        k.
    cost : Cost, optional
        Gives the targets of labels, in {0, 1} for a sample of the machine, and the cost that is reported.
    temperature : float
        T.
    burn_in : int
        Gibbs sweeps of the hidden layers with the outputs held; one is exact for a single hidden layer.
    seed : int
        Of the draws.

    Raises
    ------
    StimulusError
        If the network is another, a count of sweeps is below 1, or the temperature is not positive.

    References
    ----------
    .. [1] G. E. Hinton, "Training products of experts by minimizing contrastive divergence," Neural Comput. 14(8),
       2002, doi:10.1162/089976602760128018.
    .. [2] D. H. Ackley, G. E. Hinton and T. J. Sejnowski, "A learning algorithm for Boltzmann machines," Cognitive
       Science 9, 1985, doi:10.1207/s15516709cog0901_7.
    """

    def __init__(
        self,
        network: Network,
        steps: int = 1,
        cost: Cost | None = None,
        temperature: float = 1.0,
        burn_in: int = 1,
        seed: int = 0,
    ):
        super().__init__(network, cost)
        need = "contrastive divergence needs a HopfieldNetwork with the hard sigmoid"
        self.hopfield = units_of(network, need, "use EquilibriumPropagation")
        if self.hopfield.activation.bounds != (0.0, 1.0):
            found = type(self.hopfield.activation).__name__
            raise StimulusError(f"{need}, found a {type(network).__name__} with {found}")
        for name, count in (("steps", steps), ("burn_in", burn_in)):
            if count < 1:
                raise StimulusError(f"contrastive divergence: {name} must be at least 1, found {count}")
        self.steps, self.temperature, self.burn_in = steps, temperature, burn_in
        self.generator = torch.Generator().manual_seed(seed)
        self.machine()

    def state(self) -> dict[str, Tensor]:
        return {"generator": self.generator.get_state()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        restore_generator(self.generator, state, "the Gibbs samples")

    def machine(self) -> BoltzmannMachine:
        """The Boltzmann machine with the network's parameters as they are now."""
        weights, biases = ([p.detach() for p in group] for group in (self.hopfield.weights, self.hopfield.biases))
        return BoltzmannMachine(weights, biases, self.temperature)

    def class_scores(self, inputs: Tensor) -> Tensor:
        """Of the Boltzmann machine."""
        return self.machine().class_scores(inputs)

    @torch.no_grad()
    def _gradients(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        require_finite("inputs", inputs)
        machine = self.machine()
        like = machine.weights[0]
        inputs, targets = inputs.to(like), targets.to(like)
        held = [*self._first_hidden(inputs), targets]
        for _ in range(self.burn_in):
            held = machine.sweep(inputs, held, self.generator, held=True)
        reconstruction = machine.probability(len(held) - 1, inputs, held)
        free = held
        for _ in range(self.steps):
            free = machine.sweep(inputs, free, self.generator, held=False)
        gradients = self._contrast(
            inputs, machine.expected(inputs, free, held=False), machine.expected(inputs, held, held=True)
        )
        return self.cost.value(reconstruction, targets).mean(), gradients

    def _first_hidden(self, inputs: Tensor) -> list[Tensor]:
        """Hidden layers at random."""
        half = torch.full((), 0.5, dtype=inputs.dtype, device=inputs.device)
        return [drawn(half.expand(*inputs.shape[:-1], size), self.generator) for size in self.hopfield.sizes[1:-1]]

    def _contrast(self, inputs: Tensor, free: list[Tensor], held: list[Tensor]) -> dict[str, Tensor]:
        response = tuple(end - begin for end, begin in zip(held, free, strict=True))
        contrast = self.network.contrast(inputs, tuple(free), response)
        weight = 1 / (self.temperature * max(inputs.shape[:-1].numel(), 1))
        return {name: value.mul_(weight).to(self.network.get_parameter(name)) for name, value in contrast.items()}
