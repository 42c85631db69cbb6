"""Convolutions that learn by equilibrium propagation and by exact gradients: accuracy after each of the first epochs.

    python benchmarks/convolution_epochs.py --data DIR
    python benchmarks/convolution_epochs.py --data DIR --structure blocks --eps 1e-2

The same network from the same seed learns the same batches twice:

ep      nudged phases ±β of every block by the error from behind it, single precision;
exact   the limit of vanishing nudges in double precision, which is implicit differentiation: `tests/
        test_equilibrium_block.py` holds it against central differences of a whole model;
ep64    with `--methods ep64 exact`, those phases in double precision: method against method, with hardly any rounding;
single  with `--methods single exact`, the limit in single precision, which shows what rounding alone does.

analog  is one circuit: two resistive convolutions with an average by resistors between, and a dense stage.
blocks  are three circuits of 3, 3 and 2 convolutions, averages by resistors and a dense stage at the end, with batch
        normalisation and ReLU between: the structure with which F. Osana & D. Querlioz's follow-up work learns
        CIFAR-10.

Adam's ε is larger than PyTorch's: gradients that are 0 but for rounding would else be learnt at the full rate, other
ones in each precision. Prints, by seed: relative error and cosine of the gradient by every stage's conductances at the
first step, ep against exact; accuracy on the test part after every epoch; of each epoch the largest difference, a
share of 1.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import analog_ep as aep
from analog_ep.datasets import Dataset, load_dataset
from analog_ep.devices import Clamp

METHODS = {"ep": torch.float32, "ep64": torch.float64, "single": torch.float32, "exact": torch.float64}
_PART = 1000
_LOGIT = 0.05
"""Volts that count as one. [V]"""


class BlockNetwork(torch.nn.Module):
    """Analog blocks with batch normalisation and ReLU between, from images to ten classes.

    Parameters
    ----------
    shape : tuple of int
        Channels, height and width of an image.
    structure : str
        One of `STRUCTURES`.
    width : int
        Channels of the first stages; the last have four times as many.
    nudging : float, optional
        Of the blocks; None for exact gradients. [S]
    dtype : torch.dtype
        Of everything.
    seed : int
        Of the conductances, which are the same in either type.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        structure: str,
        width: int,
        nudging: float | None,
        dtype: torch.dtype,
        seed: int,
    ):
        super().__init__()
        blocks: list[aep.EquilibriumBlock] = []
        norms: list[torch.nn.Module] = []
        for at, stages in enumerate(STRUCTURES[structure](width)):
            network = _network([shape, *stages], dtype, seed + 1000 * at)
            norms += [torch.nn.BatchNorm2d(shape[0], dtype=dtype)] if at else []
            blocks.append(aep.EquilibriumBlock(network, nudging))
            shape = network.image_shapes[1]
        self.networks = [block.network for block in blocks]
        self.blocks, self.norms = torch.nn.ModuleList(blocks), torch.nn.ModuleList(norms)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images in volts."""
        volts = self.blocks[0](images)
        for norm, block in zip(self.norms, list(self.blocks)[1:], strict=True):
            volts = block(torch.relu(norm(volts)))
        return volts / _LOGIT

    def optimizers(self, rate: float, eps: float) -> list[torch.optim.Optimizer | aep.Update]:
        """One for each block, which keeps conductances in their range, and one for the digital parameters."""
        analog = [aep.Update(torch.optim.Adam(each.parameters(), lr=rate, eps=eps), each) for each in self.networks]
        digital = list(self.norms.parameters())
        return [*analog, *([torch.optim.Adam(digital, lr=rate, eps=eps)] if digital else [])]


def _conv(channels: int, stride: int = 1, kernel: int = 3) -> aep.Convolution:
    return aep.Convolution(channels, kernel, stride, kernel // 2)


def _blocks(width: int) -> list[list]:
    one, two, four = width, 2 * width, 4 * width
    first = [_conv(one, 2), _conv(one), aep.AveragePooling(2), _conv(two)]
    return [first, [_conv(two), _conv(two), _conv(four, 2)], [_conv(four), _conv(four), aep.Dense(10)]]


def _analog(width: int) -> list[list]:
    return [[_conv(width, 2, 5), aep.AveragePooling(2), _conv(2 * width, 1, 5), aep.Dense(10)]]


STRUCTURES = {"analog": _analog, "blocks": _blocks}
"""Stages of all blocks, for a width."""


def _network(stages: list, dtype: torch.dtype, seed: int) -> aep.ResistiveNetwork:
    """Ideal diodes that alternate from channel to channel; layers act back on one another a quarter as much."""
    hidden = [stage.channels for stage in stages[1:-1] if stage.clamped]
    return aep.ResistiveNetwork(
        stages,
        diode=[Clamp.alternating(aep.IdealDiode(), channels) for channels in hidden],
        gain=16.0,
        feedback=1 / 64,
        initial_range=(1e-7, 2e-5),
        seed=seed,
        dtype=dtype,
    )


def train(
    data: Dataset, method: str, seed: int, options: argparse.Namespace
) -> tuple[list[float], dict[str, Tensor], float]:
    """Accuracies after every epoch, the first step's gradients in double precision, seconds of an epoch."""
    dtype = METHODS[method]
    torch.manual_seed(seed)
    nudging, shape = (options.nudging if method.startswith("ep") else None), data.shape or (1, 28, 28)
    model = BlockNetwork(shape, options.structure, options.width, nudging, dtype, seed)
    twin = BlockNetwork(shape, options.structure, options.width, options.nudging, dtype, seed)
    follows = options.follow and nudging is None
    judged = BlockNetwork(shape, options.structure, options.width, None, torch.float32, seed)
    optimizers = model.optimizers(options.rate, options.eps)
    groups = [group for each in optimizers for group in each.param_groups]
    steps, done = options.epochs * math.ceil(len(data.train_labels) / options.batch), 0
    (inputs, labels), (test, wanted) = (
        (options.volts * each.unflatten(1, shape), classes) for each, classes in map(data.part, ("train", "test"))
    )
    first: dict[str, Tensor] = {}
    accuracies: list[float] = []
    begin = time.perf_counter()
    for _ in range(options.epochs):
        model.train()
        # From the seed alone, so that both methods see the same batches.
        for index in torch.randperm(len(labels)).split(options.batch):
            for each in optimizers:
                each.zero_grad()
            for group in groups:
                group["lr"] = options.rate * 0.5 * (1 + math.cos(math.pi * done / steps))
            cross_entropy(model(inputs[index].to(dtype)), labels[index]).backward()
            first = first or gradients_of(model)
            if follows:
                twin.load_state_dict(model.state_dict())
                twin.zero_grad()
                cross_entropy(twin(inputs[index].to(dtype)), labels[index]).backward()
                errors = compared(gradients_of(twin), gradients_of(model))["relative_errors"]
                print(json.dumps({"seed": seed, "step": done, "largest_error_of_a_stage": max(errors)}), flush=True)
            for each in optimizers:
                each.step()
            done += 1
        judged.load_state_dict(model.state_dict())
        accuracies.append(accuracy(judged, test, wanted))
        print(
            json.dumps({"seed": seed, "method": method, "epoch": len(accuracies), "test": accuracies[-1]}), flush=True
        )
    return accuracies, first, (time.perf_counter() - begin) / options.epochs


def gradients_of(model: BlockNetwork) -> dict[str, Tensor]:
    """By parameters, in double precision."""
    return {name: theta.grad.double() for name, theta in model.named_parameters() if theta.grad is not None}


@torch.no_grad()
def accuracy(model: BlockNetwork, inputs: Tensor, labels: Tensor) -> float:
    """Share of samples whose largest output is their class."""
    model.eval()
    found = torch.cat([model(part).argmax(1) for part in inputs.split(_PART)])
    return float((found == labels).double().mean())


def compared(found: dict[str, Tensor], exact: dict[str, Tensor]) -> dict[str, list[float]]:
    """Relative error of each stage's gradient, and its cosine with the exact one."""
    names = [name for name in exact if "stage" in name]
    errors = [float((found[n] - exact[n]).norm() / exact[n].norm()) for n in names]
    cosines = [float((found[n] * exact[n]).sum() / (found[n].norm() * exact[n].norm())) for n in names]
    return {"relative_errors": errors, "cosines": cosines}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="digits, mnist, or a folder of images")
    parser.add_argument("--samples", type=int, default=10_000, help="training images, the first ones")
    parser.add_argument("--structure", choices=STRUCTURES, default="analog")
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=["ep", "exact"], help="the first against the last"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--width", type=int, default=4, help="channels of the first stages")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.01, help="Adam's, of θ = g/g_max; it falls to 0 as a cosine")
    parser.add_argument(
        "--eps", type=float, default=1e-3, help="Adam's: with 1e-8 rounding of gradients of 0 is learnt"
    )
    parser.add_argument("--volts", type=float, default=20.0, help="of a white pixel")
    parser.add_argument("--nudging", type=float, default=1e-6, help="β [S] at the largest error of a batch")
    parser.add_argument(
        "--follow", action="store_true", help="at every step of exact gradients also nudged ones of the same type"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    whole = load_dataset(options.data)
    data = replace(
        whole, train_inputs=whole.train_inputs[: options.samples], train_labels=whole.train_labels[: options.samples]
    )
    differences = []
    for seed in range(options.seeds):
        runs = [train(data, method, seed, options) for method in options.methods]
        (own, gradients, own_seconds), (other, expected, seconds) = runs[0], runs[-1]
        print(json.dumps({"seed": seed, **compared(gradients, expected), "epoch_seconds": [own_seconds, seconds]}))
        differences.append([abs(a - b) for a, b in zip(own, other, strict=True)])
    worst = [max(each) for each in zip(*differences, strict=True)]
    print(json.dumps({"largest_differences_by_epoch": worst}))


if __name__ == "__main__":
    main()
