"""A report of a run or of a study: every part that can be had, and of each other one the reason in a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from analog_ep.errors import AnalogEPError, CheckpointError
from analog_ep.reporting import circuits, facts
from analog_ep.reporting.page import Report, Section
from analog_ep.reporting.study import is_study, study_report
from analog_ep.reporting.subject import RunSubject
from analog_ep.runs.choosing import SPEC, stored_spec
from analog_ep.spec import Spec

_PARTS: dict[str, Callable[[RunSubject], Section]] = {
    "What it is": facts.overview,
    "Network": facts.diagram,
    "Learning curve": facts.learning,
    "Accuracy by class": circuits.classes,
    "Voltage map": circuits.maps,
    "Conductances": circuits.histograms,
    "Diodes": circuits.diodes,
    "Settling": circuits.settling,
    "Noise": circuits.noise,
    "Power": circuits.power,
    "Cross-check": circuits.agreement,
    "Hardware needed": facts.hardware,
}
"""Sections of a run, in the order of the page."""


def report(
    path: Path, sample: int = 0, samples: int = 10, progress: Callable[[int, int], None] | None = None
) -> Report:
    """Everything that can be told of a run, or of a study, as one page.

    A part that cannot be had says why in its section: no ngspice, no crossbars, a training that has just begun, a run
    of an earlier version.

    Parameters
    ----------
    path : Path
        The folder of a run or of a study.
    sample : int
        Index of the test sample that a run's circuit is shown at.
    samples : int
        Number of test samples that are compared with ngspice.
    progress : callable, optional
        Told how many sections of how many are done.

    Returns
    -------
    Report
        `Report.save` writes the page.

    Raises
    ------
    CheckpointError
        If the path is the folder of neither.
    """
    path = Path(path)
    if is_study(path):
        return study_report(path)
    if not (path / SPEC).is_file():
        raise CheckpointError(
            f"{path} must be the folder of a run or of a study, found no {SPEC}, no results and no cells in it; train "
            f"with --out {path} first"
        )
    tell = (lambda done, total: None) if progress is None else progress
    title, lead = (
        f"Run {path.resolve().name}",
        "One training of a circuit by its equilibria, and what its hardware does.",
    )
    try:
        spec = stored_spec(path)
    except AnalogEPError as error:
        return Report(
            title, lead, (facts.stored_text(path, str(error)), facts.learning_from_table(path), facts.versions())
        )
    return Report(title, lead, tuple(_sections(path, spec, sample, samples, tell)))


def _sections(path: Path, spec: Spec, sample: int, samples: int, tell: Callable[[int, int], None]) -> Iterator[Section]:
    subject = RunSubject(path, spec, sample, samples)
    for number, (title, part) in enumerate(_PARTS.items()):
        tell(number, len(_PARTS))
        try:
            yield part(subject)
        except (AnalogEPError, OSError) as error:
            yield Section(title, left_out=" ".join(str(error).split()))
    yield facts.versions()
    tell(len(_PARTS), len(_PARTS))
