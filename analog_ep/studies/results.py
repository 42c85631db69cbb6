"""Results of a study: one tidy table, the means over its seeds, and their picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.table import Table

from analog_ep.spec.study import Cell, Study
from analog_ep.studies.cell import CellResult
from analog_ep.studies.picture import accuracy_picture
from analog_ep.studies.summary import Summary
from analog_ep.support.files import write_atomically

RESULTS, TIMES, SUMMARY, PICTURE = "results.csv", "times.csv", "summary.md", "accuracy.png"
"""Files of a study's folder."""

_COLUMNS = ("train_accuracy", "test_accuracy", "cost", "pulses", "write_energy", "error")


class StudyResults:
    """Results of all trainings, in the order of the study's cells.

    Parameters
    ----------
    study : Study
        What was trained.
    results : sequence of CellResult
        One a cell.
    """

    def __init__(self, study: Study, results: Sequence[CellResult]):
        self.study, self.results = study, list(results)

    def rows(self) -> list[tuple[Cell, CellResult]]:
        """Cells with their results."""
        return list(zip(self.study.cells, self.results, strict=True))

    def summaries(self) -> list[Summary]:
        """Test accuracies by combination, in the order of the file."""
        seeds = len(self.study.spec.seeds)
        groups = [self.rows()[first : first + seeds] for first in range(0, len(self.results), seeds)]
        return [
            Summary(
                group[0][0].labels,
                [result.test_accuracy for _, result in group if result.test_accuracy is not None],
                sum(bool(result.error) for _, result in group),
            )
            for group in groups
        ]

    def failures(self) -> list[tuple[Cell, str]]:
        """Cells whose training failed, and why."""
        return [(cell, result.error) for cell, result in self.rows() if result.error]

    def write(self, folder: Path) -> None:
        """Write the table, the wall times, the summary and the picture, each atomically.

        `results.csv` has a row a training: the variant of each axis, the seed, and what the last epoch gave; it
        depends on nothing but the study. Wall times stand in `times.csv`.
        """
        write_atomically(folder / RESULTS, self._csv(_COLUMNS))
        write_atomically(folder / TIMES, self._csv(("seconds",)))
        write_atomically(folder / SUMMARY, self._markdown())
        spec = self.study.spec
        picture = accuracy_picture(self.study.name, spec.axes, spec.design == "one_at_a_time", self.summaries())
        write_atomically(folder / PICTURE, picture)

    def table(self) -> Table:
        """Mean ± standard deviation of the test accuracy over the seeds."""
        table = Table(title=self.study.name)
        header, rows = self._text()
        for name in header:
            table.add_column(name, justify="left" if name in self.study.spec.axes else "right")
        for row in rows:
            table.add_row(*row)
        return table

    def _csv(self, columns: Iterable[str]) -> str:
        text, columns = io.StringIO(), list(columns)
        table = csv.writer(text, lineterminator="\n")
        table.writerow([*self.study.spec.axes, "seed", *columns])
        for cell, result in self.rows():
            table.writerow([*cell.labels.values(), cell.seed, *(_cell(getattr(result, name)) for name in columns)])
        return text.getvalue()

    def _markdown(self) -> str:
        header, rows = self._text()
        lines = [header, ["---"] * len(header), *rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"

    def _text(self) -> tuple[list[str], list[list[str]]]:
        header = [*self.study.spec.axes, "test accuracy [%]", "seeds"]
        return header, [[*each.labels.values(), _percent(each), _seeds(each)] for each in self.summaries()]


def _percent(summary: Summary) -> str:
    if not summary.accuracies:
        return "failed"
    mean = f"{100 * summary.mean:.2f}"
    return f"{mean} ± {100 * summary.deviation:.2f}" if len(summary.accuracies) > 1 else mean


def _seeds(summary: Summary) -> str:
    return f"{len(summary.accuracies)}" + (f", {summary.n_failed} failed" if summary.n_failed else "")


def _cell(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else repr(value)
