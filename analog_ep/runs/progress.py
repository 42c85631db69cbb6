"""What people look at: the progress of a training and its learning curve."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from analog_ep.learning.training import EpochRecord
from analog_ep.support.png import png_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class TrainingProgress:
    """A bar over the batches and a line for each epoch; a context manager.

    Parameters
    ----------
    console : Console
        Where to print; the bar shows on a terminal only.
    epochs : int
        Number of epochs of the whole training.
    done : int
        Epochs that were complete before.
    """

    def __init__(self, console: Console, epochs: int, done: int = 0):
        self._console, self._epochs, self._done = console, epochs, done
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("training")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def batch_done(self, epoch: int, batch: int, n_batches: int) -> None:
        """Move the bar."""
        self._progress.update(
            self._task,
            description=f"epoch {epoch}/{self._epochs}",
            completed=(epoch - 1) * n_batches + batch,
            total=self._epochs * n_batches,
        )

    def epoch_done(self, record: EpochRecord) -> None:
        """Print a line."""
        self._console.print(
            f"epoch {record.epoch:>{len(str(self._epochs))}}/{self._epochs}  {record.scores}  {record.seconds:.2f} s",
            highlight=False,
        )


@contextmanager
def sample_bar(console: Console, text: str) -> Iterator[Callable[[int, int], None]]:
    """A bar over samples, on a terminal only; gives what is to be told how many samples of how many are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(text)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def learning_curve(history: Sequence[EpochRecord], title: str) -> bytes:
    """Accuracy and cost over the epochs, as a PNG; of samples with targets the cost of both parts."""
    # Loaded where it is drawn: no other command waits for it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    scores, costs = figure.subplots(1, 2)
    epochs = [record.epoch for record in history]
    marker = "o" if len(epochs) == 1 else ""
    if history[0].test_cost is None:
        for name in ("train", "test"):
            values = [100 * getattr(record, f"{name}_accuracy") for record in history]
            scores.plot(epochs, values, label=name, marker=marker)
        scores.set(xlabel="epoch", ylabel="accuracy [%]")
        scores.legend()
    else:
        _costs(scores, epochs, [record.test_cost or 0.0 for record in history], "mean test cost", marker)
    _costs(costs, epochs, [record.cost for record in history], "mean training cost", marker)
    figure.suptitle(title)
    return png_of(figure)


def _costs(axes: Axes, epochs: Sequence[int], costs: Sequence[float], what: str, marker: str) -> None:
    axes.plot(epochs, costs, marker=marker)
    axes.set(xlabel="epoch", ylabel=what)
    # A cost of exactly zero, as of a solved problem, has no place on a logarithmic axis.
    axes.set_yscale("log" if min(costs) > 0 else "linear")
