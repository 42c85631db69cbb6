"""Where the folders lie that are shipped beside the code: `netlists/` and `specs/`."""

from __future__ import annotations

from pathlib import Path

from analog_ep.errors import AnalogEPError

_PACKAGE = Path(__file__).resolve().parent


def netlists_folder() -> Path:
    """Folder of the SPICE library (`*.lib`) and the reference decks (`*.cir`)."""
    return _folder("netlists")


def specs_folder() -> Path:
    """Folder of the network specs (`*.toml`)."""
    return _folder("specs")


def _folder(name: str) -> Path:
    # A wheel carries the folders inside the package; an editable install leaves them at the repository's top.
    for parent in (_PACKAGE, _PACKAGE.parent):
        if (parent / name).is_dir():
            return parent / name
    raise AnalogEPError(
        f"the folder {name!r} must be installed with analog_ep, found it neither in {_PACKAGE} nor in "
        f"{_PACKAGE.parent}; reinstall the package"
    )
