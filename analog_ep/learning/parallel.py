"""Training by several processes that share every batch."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

import torch
import torch.distributed as dist
from torch import Tensor

from analog_ep.errors import ParallelError, SpecError
from analog_ep.learning.gradients.method import GradientMethod

_LONGEST_REASON = 200
_PARENT_INTERVAL = 0.5
_watched: set[int] = set()


@dataclass(frozen=True)
class Ranks:
    """The processes that train together; by default one, which is alone.

    As a context it parts from the others at its end: a process that exits while the threads of its group still
    run is aborted now and then.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    size : int
        How many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: str = "cpu") -> Ranks:
        """The processes that `torchrun` started, this one among them; alone where it was started otherwise.

        They talk through nccl where the tensors are on CUDA devices, one for each process of a machine, and through
        gloo elsewhere.

        Raises
        ------
        SpecError
            If the others cannot be reached, or this one has no CUDA device of its own.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        if device.startswith("cuda"):
            _take_own_device(device)
        if "TORCHELASTIC_RUN_ID" in os.environ:
            end_with(os.getppid())
        if not dist.is_initialized():
            try:
                dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
            except (RuntimeError, ValueError) as error:
                raise SpecError(
                    f"the {os.environ['WORLD_SIZE']} processes of WORLD_SIZE must reach one another, "
                    f"found: {str(error).splitlines()[0]}; start them with torchrun"
                ) from None
        return cls(dist.get_rank(), dist.get_world_size())

    def __enter__(self) -> Ranks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.size == 1:
            return
        if error is None:
            # None may close its connections while another still adds.
            self.wait()
        dist.destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and talks to the user."""
        return self.rank == 0

    def share(self, n_samples: int) -> slice:
        """The samples of a batch that are this process's: contiguous, and in size as equal as they can be."""
        return slice(self.rank * n_samples // self.size, (self.rank + 1) * n_samples // self.size)

    def add(self, *values: Tensor) -> None:
        """Put in the place of each value its sum over all processes."""
        if self.size > 1:
            with _told():
                for value in values:
                    dist.all_reduce(value)

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if self.size > 1:
            with _told():
                dist.barrier()


class DataParallel(GradientMethod):
    """Another gradient method on a batch that is cut among processes, equal to the whole batch's to rounding.

    Every process is given the whole batch and works on its share. Memory grows with the parameters and the share.

    Parameters
    ----------
    method : GradientMethod
        Finds the gradient of a share.
    ranks : Ranks
        The processes.
    """

    def __init__(self, method: GradientMethod, ranks: Ranks):
        super().__init__(method.network, method.cost)
        self.method, self.ranks = method, ranks

    def state(self) -> dict[str, Tensor]:
        return self.method.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.method.load_state(state)

    def _gradients(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        own = self.ranks.share(len(inputs))
        cost, gradients = self._share(inputs[own], targets[own], (own.stop - own.start) / len(inputs))
        self.ranks.add(cost, *gradients.values())
        return cost, gradients

    def _share(self, inputs: Tensor, targets: Tensor, weight: float) -> tuple[Tensor, dict[str, Tensor]]:
        if not len(inputs):
            # A batch smaller than the number of processes leaves some without a sample.
            parameters = self.network.named_parameters()
            return inputs.new_zeros(()), {name: torch.zeros_like(value) for name, value in parameters}
        cost, gradients = self.method.gradients(inputs, targets)
        return cost * weight, {name: value.mul_(weight) for name, value in gradients.items()}


@contextmanager
def _told() -> Iterator[None]:
    """One line of ours in place of PyTorch's where another process of the group is lost."""
    try:
        yield
    except RuntimeError as error:
        reason = (str(error).splitlines() or ["no words"])[0][:_LONGEST_REASON]
        raise ParallelError(
            f"all processes that train together must stay, found one lost: {reason}; train again with --resume"
        ) from None


def end_with(parent: int) -> None:
    """Have this process end by itself soon after its parent, even if that is killed.

    Parameters
    ----------
    parent : int
        Process number of the parent.
    """
    if os.getpid() != parent and parent not in _watched:
        _watched.add(parent)
        threading.Thread(target=_end_after, args=(parent,), daemon=True, name="end with parent").start()


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_INTERVAL)
    os.kill(os.getpid(), signal.SIGKILL)


def _take_own_device(device: str) -> None:
    """Let "cuda" mean the device with the number of this process on its machine."""
    number, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if device != "cuda" or number >= count:
        raise SpecError(
            f"each of several processes needs a CUDA device of its own, found {device!r} and {count} devices; "
            "say cuda, and start no more processes than devices"
        )
    torch.cuda.set_device(number)
