"""Tables of a spec that name files: where these are, and the copies that a run folder keeps of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel

from analog_ep.spec.table import TABLE


class FileTable(BaseModel):
    """A table with keys that are paths of files; relative ones begin in the folder of the file that the table is in."""

    model_config = TABLE

    file_keys: ClassVar[tuple[str, ...]] = ()
    """Keys that are paths."""

    def with_paths(self, change: Callable[[str], str]) -> Self:
        """The same table with other paths."""
        paths = {key: getattr(self, key) for key in self.file_keys}
        return self.model_copy(update={key: change(path) for key, path in paths.items() if path is not None})

    def keep(self, folder: Path) -> Self:
        """Copy the files into a run folder, and give the table with their paths from there."""
        return self

    def contents(self) -> dict[str, bytes]:
        """What the files hold, by name: two tables that differ in paths alone mean the same."""
        return {}
