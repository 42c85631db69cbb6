"""What an analysis found, as files in the folder of its run."""

from __future__ import annotations

from pathlib import Path

from analog_ep.analyses.analyse import OF_SAMPLES, StudyReport
from analog_ep.analyses.conditions import FOLDER, Conditions, Study, file_stem
from analog_ep.support.files import write_atomically
from analog_ep.support.shown import plain_table

_ON = "s from"


def write_report(
    path: Path, study: Study, sample: int, report: StudyReport, conditions: Conditions | None = None
) -> list[Path]:
    """Write a report into a run's folder `analysis` as JSON, as a table in text, and as a picture.

    Conditions that are not the default ones stand in the names of the files, so that no report takes the place of one
    under other conditions.

    Parameters
    ----------
    path : Path
        The run folder.
    study, sample, conditions
        As for `analyse`; they name the files.
    report : StudyReport
        What `analyse` gave.

    Returns
    -------
    list of Path
        The files.
    """
    # Loaded where something is drawn: no other command waits for it.
    from analog_ep.analyses.plots import study_plot

    folder = path / FOLDER
    folder.mkdir(exist_ok=True)
    stem = file_stem(study, sample, Conditions() if conditions is None else conditions)
    contents = {
        "json": report.to_json() + "\n",
        "txt": plain_table(report.table()),
        "png": study_plot(
            report, f"{path.name}: {study.replace('-', ' ')}, test sample{_ON * (study in OF_SAMPLES)} {sample}"
        ),
    }
    # Not by `with_suffix`: a number in the name may have a dot.
    files = [folder / f"{stem}.{ending}" for ending in contents]
    for file, content in zip(files, contents.values(), strict=True):
        write_atomically(file, content)
    return files
