"""Commands that measure speed: `bench graph`, `bench spice`, `bench step` and `bench wires`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer

from analog_ep.benchmarking.graph import benchmark_graph
from analog_ep.benchmarking.recipe import bench_recipe, bench_spec
from analog_ep.benchmarking.spice import benchmark_spice
from analog_ep.benchmarking.wires import benchmark_wires
from analog_ep.cli.common import EngineOption, JsonOption, app, layer_sizes, show
from analog_ep.spec import load_spec, with_values

bench = typer.Typer(help="Measure speed.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(bench, name="bench")


class BenchDiode(StrEnum):
    """Diodes of the shipped MNIST recipes."""

    ideal = "ideal"
    shockley = "shockley"


class Precision(StrEnum):
    """Types of a network's parameters."""

    float32 = "float32"
    float64 = "float64"


class EdgeKind(StrEnum):
    """What the edges of a lattice are."""

    conductances = "conductances"
    level1 = "level1"
    ekv = "ekv"


@bench.command("graph")
def bench_graph(
    branches: Annotated[int, typer.Option(min=24, help="Trainable edges of the lattice, about.")] = 20_000,
    samples: Annotated[int, typer.Option(min=1, help="Samples of a step.")] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="Steps that are timed.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Threads of PyTorch.")] = 1,
    edges: Annotated[
        EdgeKind, typer.Option(help="What learns: conductances, or gate voltages of transistors by a model.")
    ] = EdgeKind.conductances,
    ngspice: Annotated[bool, typer.Option(help="Compare with ngspice; half a minute a sample at 20,000.")] = True,
    json: JsonOption = False,
) -> None:
    """Time a training step on a lattice with diodes: free state, response, gradient, update; compare with ngspice."""
    torch.set_num_threads(threads)
    show(benchmark_graph(branches, samples, rounds, ngspice=ngspice, edges=edges.value), json)


@bench.command("spice")
def bench_spice(
    sizes: Annotated[str, typer.Option(metavar="N-N-…", help="Units of the network's layers.")] = "784-100-10",
    samples: Annotated[int, typer.Option(min=1, help="Samples of a batch.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1, help="How often each way is timed.")] = 3,
    processes: Annotated[int | None, typer.Option(min=1, help="Processes of ngspice; by default all.")] = None,
    engine: EngineOption = None,
    json: JsonOption = False,
) -> None:
    """Time a fresh ngspice, a batch in ngspice, and PyTorch on one circuit, free and nudged."""
    show(benchmark_spice(layer_sizes(sizes), samples, rounds, processes), json)


@bench.command("step")
def bench_step(
    sizes: Annotated[str, typer.Option(metavar="N-N-…", help="Units of the network's layers.")] = "784-100-10",
    batch: Annotated[int, typer.Option(min=1, help="Samples of a step.")] = 32,
    diode: Annotated[BenchDiode, typer.Option(help="Diodes of the MNIST recipe.")] = BenchDiode.ideal,
    dtype: Annotated[Precision, typer.Option(help="Precision of the steps.")] = Precision.float32,
    data: Annotated[
        str | None,
        typer.Option(metavar="mnist|DIR", help="MNIST, or a folder of samples; else made-up samples, or the spec's."),
    ] = None,
    spec: Annotated[
        Path | None, typer.Option(help="A spec, in place of the MNIST recipe with --sizes and --diode.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Steps of each kind that are timed.")] = 50,
    threads: Annotated[int, typer.Option(min=1, help="Threads of PyTorch.")] = 1,
    device: Annotated[str, typer.Option(help="Device of the tensors, such as cpu or cuda.")] = "cpu",
    json: JsonOption = False,
) -> None:
    """Time a training step by equilibrium propagation and by backprop on an ordinary network of its size, in turn."""
    torch.set_num_threads(threads)
    if spec is None:
        found = bench_recipe(layer_sizes(sizes), diode.value, dtype.value, data, batch, rounds, device=device)
    else:
        own = load_spec(spec) if data is None else with_values(load_spec(spec), data={"source": data})
        found = bench_spec(own, dtype.value, batch, rounds, device=device)
    show(found, json)


@bench.command("wires")
def bench_wires(
    size: Annotated[int, typer.Option(min=1, help="Rows of the crossbar.")] = 128,
    columns: Annotated[int | None, typer.Option(min=1, help="Columns; by default as many as rows.")] = None,
    resistance: Annotated[float, typer.Option(help="Of a segment of a line, in ohm.")] = 1.0,
    inputs: Annotated[int, typer.Option(min=1, help="Input vectors of a batch.")] = 256,
    seed: Annotated[int, typer.Option(help="Seed of conductances and inputs.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads of PyTorch.")] = 1,
    json: JsonOption = False,
) -> None:
    """Time the voltages of every node of a crossbar whose lines have resistance; compare with nodal analysis."""
    torch.set_num_threads(threads)
    show(benchmark_wires(size, columns, resistance, inputs, seed), json)
