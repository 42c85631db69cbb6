"""Writes netlists/pulse_devices.lib from the pulse models."""

from __future__ import annotations

from analog_ep.netlist.pulse_devices import pulse_library
from analog_ep.support.resources import netlists_folder

if __name__ == "__main__":
    (netlists_folder() / "pulse_devices.lib").write_text(pulse_library(), encoding="utf-8")
