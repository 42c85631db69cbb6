"""Where the folders lie that are shipped beside the code: `netlists/`, `specs/` and `calibration/`."""

from __future__ import annotations

from pathlib import Path

from analog_ep.errors import AnalogEPError

_PACKAGE = Path(__file__).resolve().parent.parent


def netlists_folder() -> Path:
    """Folder of the SPICE library (`*.lib`) and the reference decks (`*.cir`)."""
    return _folder("netlists")


def specs_folder() -> Path:
    """Folder of the network specs (`*.toml`)."""
    return _folder("specs")


def calibration_folder() -> Path:
    """Folder of the device cards (`*.toml`) and the reference curves (`*.csv`) that they were fitted to."""
    return _folder("calibration", packaged="calibration/cards")


def _folder(name: str, packaged: str | None = None) -> Path:
    # A wheel carries the folders inside the package; an editable install leaves them at the repository's top.
    places = (_PACKAGE / (packaged or name), _PACKAGE.parent / name)
    for place in places:
        if place.is_dir():
            return place
    raise AnalogEPError(
        f"the folder {name!r} must be installed with analog_ep, found it neither as {places[0]} nor as {places[1]}; "
        "reinstall the package"
    )
