"""The training of a designer's netlist, and the folder that it leaves: the design, what it learnt, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from analog_ep.designs.design import Design, read_netlist
from analog_ep.designs.spec import DesignSpec, load_design_spec
from analog_ep.equilibrium import Newton, solve
from analog_ep.errors import CheckpointError, DataError, NetlistError
from analog_ep.learning import GradientMethod, ImplicitDifferentiation, SmallSignal, Update
from analog_ep.measurements import Column, read_table
from analog_ep.networks import CircuitNetwork
from analog_ep.stimulus import Cost, CrossEntropy, SquaredError
from analog_ep.support.files import draft_folder, write_atomically

SPEC, METRICS, RESISTANCES, ORIGINAL = "spec.toml", "metrics.csv", "resistances.csv", "design"
"""Files of a run folder, and the folder with the design as it was read."""

_METHODS: dict[str, Callable[..., GradientMethod]] = {"implicit": ImplicitDifferentiation, "small_signal": SmallSignal}


@dataclass(frozen=True, eq=False)
class DesignRun:
    """A netlist that is trained.

    Attributes
    ----------
    spec : DesignSpec
        What is done.
    design : Design
        What was read.
    network : CircuitNetwork
        What learns.
    inputs, targets : Tensor (n_samples, n_inputs or n_outputs)
        Samples. [V]
    """

    spec: DesignSpec
    design: Design
    network: CircuitNetwork
    inputs: Tensor
    targets: Tensor

    @classmethod
    def of(cls, spec: DesignSpec, folder: Path) -> DesignRun:
        """Read what a spec names; its paths begin in `folder`.

        Raises
        ------
        NetlistError
            If the netlist cannot be read or is no network.
        DataError
            If the table does not fit it.
        """
        design = _design(spec, folder)
        network = design.network()
        inputs, targets = _samples(spec, folder, network)
        return cls(spec, design, network, inputs, targets)

    def train(self, done: Callable[[int, float], None] = lambda epoch, cost: None) -> list[float]:
        """Train, and return the mean cost of each epoch, that of every sample as it was met.

        Parameters
        ----------
        done : callable
            Is told the number of each epoch and its cost.
        """
        training = self.spec.training
        method = _METHODS[self.spec.gradient.method](self.network, cost=_cost(self.spec))
        update = Update(torch.optim.Adam(self.network.parameters(), lr=training.learning_rate), self.network)
        size, costs = training.batch_size or len(self.inputs), []
        for epoch in range(training.epochs):
            order = torch.from_numpy(np.random.default_rng([training.seed, epoch]).permutation(len(self.inputs)))
            total = 0.0
            for batch in order.split(size):
                update.zero_grad()
                total += len(batch) * float(method.backward(self.inputs[batch], self.targets[batch]))
                update.step()
            costs.append(total / len(self.inputs))
            done(epoch + 1, costs[-1])
        return costs

    def cost(self) -> float:
        """Mean cost of all samples."""
        outputs = solve(self.network, self.inputs, solver=Newton()).outputs
        return float(_cost(self.spec).value(outputs, self.targets).mean())

    def accuracy(self) -> float | None:
        """Share of samples whose largest output is their class; None without classes."""
        if self.spec.data.labels is None:
            return None
        outputs = solve(self.network, self.inputs, solver=Newton()).outputs
        return float((outputs.argmax(1) == self.targets.argmax(1)).double().mean())

    def save(self, path: Path, costs: list[float]) -> Path:
        """Make the run folder, and return the path of the netlist with what it learnt.

        Raises
        ------
        CheckpointError
            If the folder exists.
        """
        require_new(path)
        name = self.design.path.name
        with draft_folder(path) as draft:
            self.design.save(draft / ORIGINAL / name, {})
            self.design.save(draft / name, self.network)
            network = self.spec.network.model_copy(update={"netlist": f"{ORIGINAL}/{name}"})
            data = self.spec.data.model_copy(update={"table": str(Path(self.spec.data.table).name)})
            spec = self.spec.model_copy(update={"network": network, "data": data})
            write_atomically(draft / SPEC, spec.to_toml())
            rows = "".join(f"{epoch},{cost!r}\n" for epoch, cost in enumerate(costs, start=1))
            write_atomically(draft / METRICS, f"epoch,cost\n{rows}")
            ohms = self.design.resistances(self.network)
            lines = "".join(f"{name},{value!r}\n" for name, value in ohms.items())
            write_atomically(draft / RESISTANCES, f"name,resistance [ohm]\n{lines}")
            draft.rename(path)
        return path / name


def require_new(path: Path) -> None:
    """Raise `CheckpointError` where a run folder is there already."""
    if path.exists():
        raise CheckpointError(f"the run folder {path} must be new, found it there; choose another")
    if not path.parent.is_dir():
        raise CheckpointError(f"the run folder {path} must be made in a folder that exists, found none")


def is_design_run(path: Path) -> bool:
    """Whether a path is the folder of a trained netlist."""
    return (path / RESISTANCES).is_file() and (path / SPEC).is_file()


def trained_design(path: Path) -> tuple[Design, dict[str, float]]:
    """The design of a run folder as it was read, and the resistances that it learnt. [Ω]

    Raises
    ------
    CheckpointError
        If the folder is damaged.
    """
    design = _design(load_design_spec(path / SPEC), path)
    ohms: dict[str, float] = {}
    for number, line in enumerate((path / RESISTANCES).read_text().splitlines()[1:], start=2):
        name, _, value = line.rpartition(",")
        try:
            ohms[name] = float(value)
        except ValueError:
            raise CheckpointError(
                f"{path / RESISTANCES}, line {number}: a resistance must be a number, found {value[:40]!r}"
            ) from None
    return design, ohms


def _design(spec: DesignSpec, folder: Path) -> Design:
    network = spec.network
    bounds = None if network.bounds is None else (network.bounds[0], network.bounds[1])
    return read_netlist(
        folder / network.netlist,
        trainable=network.trainable,
        bounds=bounds,
        inputs=network.inputs,
        outputs=network.outputs,
    )


def _samples(spec: DesignSpec, folder: Path, network: CircuitNetwork) -> tuple[Tensor, Tensor]:
    data, (n_inputs, n_outputs) = spec.data, network.sizes
    wanted = data.outputs or []
    for what, columns, count in (("inputs", data.inputs, n_inputs), ("outputs", wanted, n_outputs)):
        if len(columns) != count and not (what == "outputs" and data.labels is not None):
            raise DataError(
                f"data.{what} must name one column for each of the netlist's {count} {what}, found {len(columns)}"
            )
    names = [name.lower() for name in (*data.inputs, *wanted)]
    columns = [Column(name, "V") for name in names]
    labels = [] if data.labels is None else [Column(data.labels.lower(), "1")]
    table = read_table(folder / data.table, (*columns, *labels))
    values = {name: torch.from_numpy(np.ascontiguousarray(table[name])) for name in table.columns}
    inputs = torch.stack([values[name] for name in names[:n_inputs]], 1)
    if data.labels is None:
        return inputs, torch.stack([values[name] for name in names[n_inputs:]], 1)
    classes = values[labels[0].name]
    wrong = np.flatnonzero(((classes != classes.round()) | (classes < 0) | (classes >= n_outputs)).numpy())
    if len(wrong):
        raise DataError(
            f"{table.place(int(wrong[0]))}: a class must be one of 0…{n_outputs - 1}, one for each output, found "
            f"{float(classes[wrong[0]]):g}"
        )
    return inputs, _cost(spec).encode(classes.long(), n_outputs, inputs)


def _cost(spec: DesignSpec) -> Cost:
    if spec.cost.function == "cross_entropy":
        if spec.data.labels is None:
            raise NetlistError("cross_entropy needs classes, found targets; name their column: data.labels")
        return CrossEntropy(spec.cost.logit_scale)
    return SquaredError()
