"""The training-step benchmark on the shipped MNIST recipes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from analog_ep.benchmarking.step import StepBenchmark, benchmark_step
from analog_ep.datasets import Dataset
from analog_ep.runs.building import build_dataset, build_gradient, build_resistive, require_device
from analog_ep.spec import Spec, default_spec, with_values

_RECIPES = {"ideal": "mnist-ideal", "shockley": "mnist"}
_DEEP_RECIPES = {"ideal": "mnist-1024x3-ideal"}
"""Of networks with two hidden layers or more, where there is another."""

_MADE_UP, _DARK, _WRONG = 2048, 0.8, 0.2
"""Made-up samples, their share of pixels that are 0, and of labels drawn at random."""


def bench_recipe(
    sizes: Sequence[int],
    diode: str,
    dtype: str,
    source: str | None,
    batch: int,
    rounds: int,
    training_steps: int = 500,
    device: str = "cpu",
) -> StepBenchmark:
    """Time steps of the recipe for `diode` and this depth, with the units `sizes`; see `benchmark_step`.

    Parameters
    ----------
    sizes, batch, rounds, training_steps
        As for `benchmark_step`; `sizes` takes the place of the recipe's.
    diode : "ideal" or "shockley"
        Which recipe.
    dtype : "float32" or "float64"
        Precision of the steps.
    source : str, optional
        "mnist", or a folder of samples; without it made-up samples of ten classes that fit the sizes.
    device : str
        Device of all tensors, such as "cpu" or "cuda".

    Raises
    ------
    SpecError
        If the recipe cannot have these sizes, or PyTorch cannot use the device.
    DataError
        If the data cannot be loaded, or do not fit the sizes.
    """
    deep = len(sizes) >= 4 and diode in _DEEP_RECIPES
    recipe = default_spec(_DEEP_RECIPES[diode] if deep else _RECIPES[diode])
    spec = with_values(recipe, network={"sizes": list(sizes)}, data={} if source is None else {"source": source})
    samples = made_up(spec) if source is None else None
    return bench_spec(spec, dtype, batch, rounds, training_steps, device, samples)


def bench_spec(
    spec: Spec,
    dtype: str,
    batch: int,
    rounds: int,
    training_steps: int = 500,
    device: str = "cpu",
    dataset: Dataset | None = None,
) -> StepBenchmark:
    """Time steps of a spec's network and cost on its data, or on a data set; else as `bench_recipe`.

    Raises
    ------
    SpecError
        If the spec has another kind of network.
    """
    require_device(device)
    spec = with_values(spec, training={"dtype": dtype, "input_noise": 0.0})
    network = build_resistive(spec).to(device)
    dataset = build_dataset(spec) if dataset is None else dataset
    method = build_gradient(spec, network).free_phases()
    inputs = dataset.train_inputs.to(next(network.parameters()))
    return benchmark_step(
        network,
        method,
        inputs,
        dataset.train_labels.to(inputs.device),
        batch=batch,
        rounds=rounds,
        training_steps=training_steps,
    )


def made_up(spec: Spec) -> Dataset:
    """Samples that fit a spec's network, scaled as the spec says: each class about an image of its own.

    As dark as MNIST, four pixels of five being 0, so that a step meets as many nodes that clamps hold.
    """
    sizes = spec.network.sizes
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(sizes[-1], sizes[0], generator=generator)
    images = torch.where(torch.rand(images.shape, generator=generator) < _DARK, 0.0, images)
    labels = torch.arange(_MADE_UP) % sizes[-1]
    noise = 0.1 * torch.randn(_MADE_UP, sizes[0], generator=generator)
    inputs = torch.where(images[labels] > 0, images[labels] + noise, 0.0).clamp(0, 1)
    # Where all were learnt, the gradient would be nothing but rounding.
    wrong = torch.rand(_MADE_UP, generator=generator) < _WRONG
    labels = torch.where(wrong, torch.randint(sizes[-1], labels.shape, generator=generator), labels)
    found = Dataset("made-up samples", inputs, labels, inputs[: sizes[-1]], labels[: sizes[-1]], sizes[-1])
    return found.scaled(spec.data.scaling).in_volts(spec.data.input_voltage)
