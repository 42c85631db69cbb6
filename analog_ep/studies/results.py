"""Results of a study: one tidy table, the means over its seeds, and their picture."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from analog_ep.errors import StudyError
from analog_ep.studies.picture import accuracy_picture
from analog_ep.studies.summary import ACCURACY, COST, Score, Summary
from analog_ep.support.files import write_atomically
from analog_ep.support.shown import Tabled

if TYPE_CHECKING:
    from analog_ep.spec.study import Cell, Study
    from analog_ep.studies.cell import CellResult

RESULTS, TIMES, SUMMARY, PICTURE = "results.csv", "times.csv", "summary.md", "accuracy.png"
"""Files of a study's folder."""

_OTHERS = ("cost", "pulses", "write_energy", "error")


class StudyResults(Tabled):
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

    def columns(self) -> dict[str, list[object]]:
        """A column for each axis, the seed, and each figure of the results, a row a training: what pandas takes."""
        axes = self.study.spec.axes
        found: dict[str, list[object]] = {axis: [cell.labels[axis] for cell, _ in self.rows()] for axis in axes}
        found["seed"] = [cell.seed for cell, _ in self.rows()]
        for name in ("train_accuracy", "test_accuracy", "test_cost", *_OTHERS, "seconds"):
            found[name] = [getattr(result, name) for result in self.results]
        return found

    def to_pandas(self) -> Any:
        """`columns` as a pandas DataFrame.

        Raises
        ------
        StudyError
            If pandas is not installed.
        """
        try:
            from pandas import DataFrame  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise StudyError("a DataFrame needs pandas, found it missing; install it, or take columns()") from None
        return DataFrame(self.columns())

    def to_json(self) -> str:
        """The columns, and mean and deviation of each combination, as a JSON object."""
        means = [
            {
                "labels": each.labels,
                "seeds": len(each.values),
                "failed": each.n_failed,
                "mean": _finite(each.mean),
                "deviation": _finite(each.deviation),
            }
            for each in self.summaries()
        ]
        facts = {"study": self.study.name, "score": self.score.name, "trainings": self.columns(), "means": means}
        return json.dumps(facts)

    def summaries(self) -> list[Summary]:
        """Scores by combination, in the order of the file."""
        seeds, score = len(self.study.spec.seeds), self.score
        groups = [self.rows()[first : first + seeds] for first in range(0, len(self.results), seeds)]
        return [
            Summary(
                group[0][0].labels,
                [score.scale * value for _, result in group if (value := self._value(result)) is not None],
                sum(bool(result.error) for _, result in group),
                score,
            )
            for group in groups
        ]

    @property
    def score(self) -> Score:
        """What trainings are compared by."""
        return COST if any(result.test_cost is not None for result in self.results) else ACCURACY

    def _value(self, result: CellResult) -> float | None:
        return result.test_cost if self.score is COST else result.test_accuracy

    def failures(self) -> list[tuple[Cell, str]]:
        """Cells whose training failed, and why."""
        return [(cell, result.error) for cell, result in self.rows() if result.error]

    def write(self, folder: Path) -> None:
        """Write the table, the wall times, the summary and the picture, each atomically.

        `results.csv` has a row a training: the variant of each axis, the seed, and what the last epoch gave; it
        depends on nothing but the study. Wall times stand in `times.csv`.
        """
        scores = ("test_cost",) if self.score is COST else ("train_accuracy", "test_accuracy")
        write_atomically(folder / RESULTS, self._csv((*scores, *_OTHERS)))
        write_atomically(folder / TIMES, self._csv(("seconds",)))
        write_atomically(folder / SUMMARY, self._markdown())
        spec = self.study.spec
        picture = accuracy_picture(self.study.name, spec.axes, spec.design == "one_at_a_time", self.summaries())
        write_atomically(folder / PICTURE, picture)

    def table(self) -> Table:
        """Mean ± standard deviation of the score over the seeds."""
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
        header = [*self.study.spec.axes, self.score.name, "seeds"]
        return header, [[*each.labels.values(), each.text, _seeds(each)] for each in self.summaries()]


def _seeds(summary: Summary) -> str:
    return f"{len(summary.values)}" + (f", {summary.n_failed} failed" if summary.n_failed else "")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _cell(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else repr(value)
