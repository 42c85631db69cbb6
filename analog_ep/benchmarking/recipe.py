"""The training-step benchmark on the shipped MNIST recipes."""

from __future__ import annotations

from collections.abc import Sequence

from analog_ep.benchmarking.step import StepBenchmark, benchmark_step
from analog_ep.runs.building import build_dataset, build_gradient, build_resistive, require_device
from analog_ep.spec import Spec, default_spec, with_values

_RECIPES = {"ideal": "mnist-ideal", "shockley": "mnist"}
_DEEP_RECIPES = {"ideal": "mnist-1024x3-ideal"}
"""Of networks with two hidden layers or more, where there is another."""


def bench_recipe(
    sizes: Sequence[int],
    diode: str,
    dtype: str,
    source: str,
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
    source : str
        "mnist", or a folder of idx files.
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
    spec = with_values(recipe, network={"sizes": list(sizes)}, data={"source": source})
    return bench_spec(spec, dtype, batch, rounds, training_steps, device)


def bench_spec(
    spec: Spec, dtype: str, batch: int, rounds: int, training_steps: int = 500, device: str = "cpu"
) -> StepBenchmark:
    """Time steps of a spec's network, cost and data; arguments and errors as of `bench_recipe`.

    Raises
    ------
    SpecError
        If the spec has another kind of network.
    """
    require_device(device)
    spec = with_values(spec, training={"dtype": dtype, "input_noise": 0.0})
    network, dataset = build_resistive(spec).to(device), build_dataset(spec)
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
