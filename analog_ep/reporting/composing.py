"""A report of a run or of a study: every part that can be had, and of each other one the reason in a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np

from analog_ep.analyses.analyse import RunStudies, StudyReport
from analog_ep.analyses.conditions import Conditions, Study, Workplace
from analog_ep.analyses.noise import OutputNoise
from analog_ep.analyses.plots import study_plot
from analog_ep.errors import AnalogEPError, CheckpointError
from analog_ep.reporting import circuits, facts
from analog_ep.reporting.page import Report, Section, paragraph, picture, rich_table, rows_table
from analog_ep.reporting.study import is_study, study_report
from analog_ep.reporting.subject import RunSubject
from analog_ep.reporting.versions import versions
from analog_ep.runs.choosing import SPEC, stored_spec
from analog_ep.spec import Spec
from analog_ep.support.si import si

_POINTS = 4
"""Frequencies a decade at which the noise is found: its rms is then within 1 %, wherever one corner lies, and does not
take as long as all other sections together."""


def settling(found: StudyReport, sample: int) -> Section:
    """Settling of both phases."""
    return _study(found, sample, "settling", "Settling", "distance of every layer from its equilibrium over time")


def power(found: StudyReport, sample: int) -> Section:
    """Power by class of branches, and energies."""
    return _study(found, sample, "power", "Power", "power by class of branches, and energies")


def _study(found: StudyReport, sample: int, study: Study, title: str, alt: str) -> Section:
    words = f"Test sample {sample}; the conditions are the usual ones of analog-ep analyse RUN {study}."
    body = picture(study_plot(found, ""), alt) + paragraph(words) + rich_table(found.table())
    return Section(title, body, json.loads(found.to_json()))


def noise(found: OutputNoise) -> Section:
    """Noise of the outputs, and the signal against it."""
    ratio = np.abs(found.outputs) / found.rms
    decibels = 20 * np.log10(np.maximum(ratio, 1e-300))
    rows = [
        [str(i), si(float(volts), "V", 4), si(float(rms), "V"), f"{db:.1f} dB"]
        for i, (volts, rms, db) in enumerate(zip(found.outputs, found.rms, decibels, strict=True))
    ]
    words = "SNR is |output| over the rms of its thermal and shot noise with 1 pF at each node."
    if len(found.outputs) > 1:
        second, first = np.sort(found.outputs)[-2:]
        lead = (first - second) / np.sqrt(2 * np.mean(found.rms**2))
        words += f" The largest output leads by {lead:.3g} times the rms of a difference of two outputs."
    body = picture(study_plot(found, ""), "noise of the outputs over the frequency") + paragraph(words)
    figures = {"rms": found.rms.tolist(), "outputs": found.outputs.tolist(), "snr_db": decibels.tolist()}
    return Section("Noise", body + rows_table(["output", "voltage", "rms noise", "SNR"], rows), figures)


def _parts(subject: RunSubject, pool: ThreadPoolExecutor) -> dict[str, Callable[[], Section]]:
    """Sections of a run, in the order of the page; what ngspice finds is begun at once.

    What is found beside the sections has networks of its own: one that is solved and copied at once, both of which
    note what they find in it, is not safe.
    """
    studies = RunStudies(subject.path, subject.sample, Conditions(), Workplace())

    def after_settling() -> StudyReport:
        wait([settled])
        return studies.find("power")

    settled, spectra = pool.submit(studies.find, "settling"), pool.submit(studies.noise, _POINTS)
    agreed = pool.submit(circuits.checked, subject.path, subject.spec, subject.samples)
    dissipated = pool.submit(after_settling)
    return {
        "What it is": lambda: facts.overview(subject),
        "Network": lambda: facts.diagram(subject),
        "Learning curve": lambda: facts.learning(subject),
        "Accuracy by class": lambda: circuits.classes(subject),
        "Voltage map": lambda: circuits.maps(subject),
        "Conductances": lambda: circuits.histograms(subject),
        "Diodes": lambda: circuits.diodes(subject),
        "Settling": lambda: settling(settled.result(), subject.sample),
        "Noise": lambda: noise(spectra.result()),
        "Power": lambda: power(dissipated.result(), subject.sample),
        "Cross-check": lambda: circuits.agreement(agreed.result()),
        "Hardware needed": lambda: facts.hardware(subject),
    }


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
        return Report(title, lead, (facts.stored_text(path, str(error)), facts.learning_from_table(path), versions()))
    return Report(title, lead, tuple(_sections(path, spec, sample, samples, tell)))


def _sections(path: Path, spec: Spec, sample: int, samples: int, tell: Callable[[int, int], None]) -> Iterator[Section]:
    with ThreadPoolExecutor(2) as pool:
        parts = _parts(RunSubject(path, spec, sample, samples), pool)
        try:
            for number, (title, part) in enumerate(parts.items()):
                tell(number, len(parts))
                try:
                    yield part()
                except (AnalogEPError, OSError) as error:
                    yield Section(title, left_out=" ".join(str(error).split()))
        finally:
            # Where the page is given up, what has not begun is not waited for.
            pool.shutdown(wait=False, cancel_futures=True)
    yield versions()
    tell(len(parts), len(parts))
