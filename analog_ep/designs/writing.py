"""The designer's own text with the learnt values in place: byte for byte as it was elsewhere."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from analog_ep.designs.source import SourceFile
from analog_ep.designs.trainable import Trainable
from analog_ep.errors import NetlistError
from analog_ep.support.files import write_atomically
from analog_ep.support.numbers import read_number


def written_files(
    files: Sequence[SourceFile], trainable: Sequence[Trainable], ohms: Mapping[str, float]
) -> dict[Path, bytes]:
    """Content of a design's files with the learnt resistances, by the path that each was read from.

    Parameters
    ----------
    files : sequence of SourceFile
        What the design was read from, the netlist first.
    trainable : sequence of Trainable
        What of them is learnt.
    ohms : mapping of str to float
        Resistances of these parts, by the path of the resistor; see `Design.resistances`. [Ω]
    """
    values: dict[int, dict[tuple[int, int], str]] = {id(file): {} for file in files}
    for part in trainable:
        number = ohms[part.names[0]] / part.factor
        # What has not changed stays as it was written.
        if not math.isclose(number, read_number(part.origin.text), rel_tol=1e-14):
            values[id(part.origin.file)][(part.origin.start, part.origin.end)] = repr(float(number))
    return {file.path: file.changed(values[id(file)]) for file in files}


def written_text(files: Sequence[SourceFile], trainable: Sequence[Trainable], ohms: Mapping[str, float]) -> str:
    """The netlist itself with the learnt resistances; see `written_files`.

    Raises
    ------
    NetlistError
        If a learnt value stands in an included file, which `save_files` writes too.
    """
    main = files[0]
    for part in trainable:
        if part.origin.file is not main:
            raise NetlistError(
                f"{part.origin.place}: the text of the netlist alone must hold all learnt values, found that of "
                f"{part.names[0]} in an included file; save the design"
            )
    return written_files(files, trainable, ohms)[main.path].decode(main.encoding)


def save_files(
    files: Sequence[SourceFile],
    trainable: Sequence[Trainable],
    ohms: Mapping[str, float],
    path: str | os.PathLike[str],
) -> list[Path]:
    """Write the netlist with the learnt resistances to `path`, and what it includes beside it.

    Parameters
    ----------
    files, trainable, ohms
        See `written_files`.
    path : path
        Of the netlist. Where its folder is another than that it was read from, all included files are written too, at
        the same places beneath it; in its own folder only the netlist changes.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    NetlistError
        If that would change an included file that the design was read from, or a file would lie outside of the folder.
    """
    target, main = Path(path), files[0]
    contents = written_files(files, trainable, ohms)
    home, folder = (Path(os.path.realpath(p.parent)) for p in (main.path, target))
    plan = {target: contents[main.path]}
    for file in files:
        if file is main:
            continue
        place = folder / os.path.relpath(os.path.realpath(file.path), home)
        if folder == home:
            if contents[file.path] != file.text.encode(file.encoding):
                raise NetlistError(
                    f"{file.path}: an included file must be kept as it was read, found learnt values for it; save the "
                    f"design in another folder"
                )
            continue
        if not Path(os.path.realpath(place)).is_relative_to(folder):
            raise NetlistError(f"{file.path}: an included file must lie beneath the netlist to be saved with it")
        plan[place] = contents[file.path]
    for place, content in plan.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, content)
    return list(plan)
