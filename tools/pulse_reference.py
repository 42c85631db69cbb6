"""The page of pulsed devices and of the schemes that write them, generated from their classes."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Sequence

from analog_ep.devices.pulses import MODELS, PRESETS, PulseModel
from analog_ep.learning.updates.schemes import SCHEMES
from tools.reference import section

_HEAD = """# Devices and schemes

What `[update]` of a spec may name: `device` a model, a preset, a card or a CSV of pulses, with `parameters` for the
fields of the model; `scheme` what makes pulses of a wanted change, with `options` for its fields.

```toml
[update]
device = "SoftBounds"
parameters = { step_noise = 0.3 }
scheme = "verify"
options = { tolerance = 0.5 }
```

A device's state w lies between w_min and w_max, which stand for the two ends of its range of conductance; steps are
of w. Names in parentheses are aihwkit's, with its default where that differs. Generated from the classes."""


def pulse_page() -> str:
    """All schemes, models and presets."""
    shared = [field.name for field in dataclasses.fields(PulseModel)]
    lines = [_HEAD, "", "## Schemes", ""]
    for name, scheme in SCHEMES.items():
        lines += [f"### `{name}`", "", _about(scheme), "", *_table(scheme), ""]
    lines += ["## Models", "", "Every model has these fields, some with defaults of its own:", ""]
    lines += [*_table(PulseModel), ""]
    for name, model in MODELS.items():
        lines += [f"### `{name}`", "", _about(model), "", *_table(model, without=shared), ""]
    lines += ["## Presets", "", "Fits that others published, under their names.", "", "| preset | model |", "|---|---|"]
    lines += [f"| `{name}` | `{type(preset).__name__}` |" for name, preset in PRESETS.items()]
    return "\n".join(lines) + "\n"


def _about(kind: type) -> str:
    return (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")


def _table(kind: type, without: Sequence[str] = ()) -> Iterator[str]:
    fields = [field for field in dataclasses.fields(kind) if field.init and field.name not in without]
    if not fields:
        return
    about: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        about.update(section(each.__doc__, "Attributes", "Parameters"))
    yield "| key | meaning | default |"
    yield "|---|---|---|"
    for field in fields:
        meaning = about[field.name].replace("|", "\\|")
        default = "required" if field.default is dataclasses.MISSING else str(field.default)
        yield f"| `{field.name}` | {meaning} | `{default}` |"
