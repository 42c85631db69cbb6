"""A checkpoint: tensors and plain facts in one file, so that it is whole or not there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from analog_ep.errors import CheckpointError
from analog_ep.networks import Network
from analog_ep.support.files import write_atomically

_FORMAT = "analog_ep checkpoint 1"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """State of a training between two epochs.

    Stored as safetensors: the facts lie as JSON in the file's own header, since two files could not be replaced at
    one instant. Loading runs no code, unlike a pickle.

    Attributes
    ----------
    tensors : dict of str to Tensor
        "parameter.…", "optimizer.…", "hardware.…" and the states of generators.
    facts : dict
        Everything else, as JSON holds it.
    """

    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write the file atomically."""
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.tensors.items()}
        write_atomically(path, save(tensors, metadata={"format": _FORMAT, "facts": json.dumps(self.facts)}))

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read what `save` wrote.

        Raises
        ------
        CheckpointError
            If the file is missing, truncated, or something else.
        """
        if not path.is_file():
            raise CheckpointError(f"{path} must be a checkpoint, found no file; train without --resume first")
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                names = file.keys()
                tensors = {name: file.get_tensor(name) for name in names}
            if header.get("format") != _FORMAT:
                raise CheckpointError(f"{path} must be of format {_FORMAT!r}, found {header.get('format')!r}")
            return cls(tensors, json.loads(header["facts"]))
        except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
            raise CheckpointError(
                f"{path} must be a whole checkpoint, found a damaged one ({error}); restore it or train anew"
            ) from None

    def load_parameters(self, network: Network) -> None:
        """Set the parameters of `network`.

        Raises
        ------
        CheckpointError
            If they are those of a network of other shapes, or not finite; nothing is set then.
        """
        parameters = under(self.tensors, "parameter")
        found = {name: tuple(value.shape) for name, value in parameters.items()}
        wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        if found != wanted:
            raise CheckpointError(f"the checkpoint must hold parameters of shapes {wanted}, found {found}")
        for name, value in parameters.items():
            if not bool(torch.isfinite(value).all()):
                raise CheckpointError(f"the checkpoint's parameters must be finite, found NaN or infinity in {name}")
        network.load_state_dict(parameters)


def restore_generator(generator: torch.Generator, state: dict[str, Tensor], of: str) -> None:
    """Set a generator to the state that a checkpoint holds.

    Raises
    ------
    CheckpointError
        If there is none, or it is not one of a generator.
    """
    if "generator" not in state:
        raise CheckpointError(f"the checkpoint must hold the generator of {of}, found none")
    try:
        generator.set_state(state["generator"].cpu())
    except (RuntimeError, TypeError) as error:
        raise CheckpointError(
            f"the checkpoint must hold the generator of {of}, found another state ({error})"
        ) from None


def require_optimizer_state(optimizer: torch.optim.Optimizer, found: dict[int, dict[str, Tensor]], began: bool) -> None:
    """Raise `CheckpointError` where a state is not one of this optimiser and its parameters.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        With the parameters that it steps; it is not changed.
    found : dict of int to dict of str to Tensor
        The state by the number of the parameter.
    began : bool
        Whether it has made a step: before, it has no state.
    """
    wanted = _after_a_step(optimizer) if began else {}
    for number, key in sorted(_entries(wanted) ^ _entries(found)):
        side = "lack" if (number, key) in _entries(found) else "hold"
        raise CheckpointError(f"the checkpoint must {side} the optimiser's {number}.{key}; restore it or train anew")
    for number, key in _entries(wanted):
        value, like = found[number][key], wanted[number][key]
        if value.shape != like.shape or value.dtype != like.dtype:
            raise CheckpointError(
                f"the optimiser's {number}.{key} must be {like.dtype} of shape {tuple(like.shape)}, "
                f"found {value.dtype} of shape {tuple(value.shape)}"
            )
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"the optimiser's {number}.{key} must be finite, found NaN or infinity")


def _entries(state: dict[int, dict[str, Tensor]]) -> set[tuple[int, str]]:
    return {(number, key) for number, entries in state.items() for key in entries}


def _after_a_step(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Tensor]]:
    """What another optimiser of the kind remembers of parameters of these shapes."""
    groups = []
    for group in optimizer.param_groups:
        parameters = [torch.nn.Parameter(torch.zeros_like(parameter)) for parameter in group["params"]]
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        groups.append({**group, "params": parameters})
    twin = type(optimizer)(groups)  # pyright: ignore[reportCallIssue]
    twin.step()
    state = twin.state_dict()["state"]
    return {n: {key: value for key, value in entries.items() if value is not None} for n, entries in state.items()}


def under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix` and a dot, without these."""
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}
