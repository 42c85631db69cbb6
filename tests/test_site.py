"""The site's generated pages: every key, command and public name is there and says something; links lead somewhere."""

import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from analog_ep.cli.functions import FUNCTIONS
from analog_ep.devices.pulses import MODELS, PRESETS, PulseModel
from analog_ep.learning.updates.schemes import SCHEMES
from tools import pulse_reference, reference, tutorial_pages

ROOT = Path(__file__).parent.parent
SPECS = (reference.Spec, reference.StudySpec, reference.Technology)


def fields() -> Iterator[tuple[reference.Form, reference.Key, FieldInfo]]:
    """Every key of every form of every kind of file, with its field."""
    for spec in SPECS:
        for form in reference.forms(spec):
            table = reference.forms_in(spec, form.name) if form.name else spec
            if isinstance(table, reference.Forms):
                table = table.tables[form.tag.split('"')[1]]
            for key in form.keys:
                yield form, key, table.model_fields[key.name]  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]


def test_every_key_is_on_the_page_and_has_a_meaning():
    page, keys = (
        reference.spec_page(),
        [(form, key) for spec in SPECS for form in reference.forms(spec) for key in form.keys],
    )
    assert len(keys) > 200
    assert [f"{form.name}.{key.name}" for form, key in keys if len(key.meaning) < 8] == []
    for form, key in keys:
        assert f"| `{key.name}` | " in page, (form.name, key.name)
    assert {form.name for form, _ in keys} >= set(reference.Spec.model_fields) - {""}


def test_every_example_is_toml_that_the_key_takes():
    wrong = []
    for form, key, field in fields():
        value = tomllib.loads(key.example)[key.name]
        annotation: Any = Annotated[field.annotation, *field.metadata, None]  # pyright: ignore[reportInvalidTypeForm]
        try:
            TypeAdapter(annotation).validate_python(value)
        except ValidationError as error:
            wrong.append(f"{form.name} {form.tag}: {key.example}: {error.errors()[0]['msg']}")
    assert wrong == []


def test_units_are_those_of_the_meanings():
    by_name = {(f.name, k.name): k for s in SPECS for f in reference.forms(s) for k in f.keys}
    assert by_name["cost", "logit_scale"].unit == "V"
    assert by_name["network", "bias_voltage"].unit == "V"
    assert by_name["network", "gain"].default == "4"
    assert by_name["training", "epochs"].allowed == "whole number, > 0"


def test_every_scheme_model_and_preset_is_on_the_page_with_its_fields():
    page = pulse_reference.pulse_page()
    for name, kind in {**SCHEMES, **MODELS}.items():
        part = page.partition(f"\n### `{name}`\n")[2].partition("\n##")[0]
        assert part, name
        for field in set(inspect.signature(kind).parameters) - set(inspect.signature(PulseModel).parameters):
            assert re.search(rf"^\| `{field}` \| .{{5}}", part, re.MULTILINE), (name, field)
    for field in inspect.signature(PulseModel).parameters:
        assert f"\n| `{field}` | " in page
    assert all(f"\n| `{name}` | `" in page for name in PRESETS)
    assert "reference/pulses.md" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def test_every_command_and_option_is_on_the_page():
    page = reference.command_page()
    for name, command in reference.commands():
        assert f"\n## {name}\n" in page
        for each in command.params:
            if each.param_type_name == "option" and each.name != "help":
                assert each.opts[0] in page
                assert each.help in page.replace("\\|", "|")


def test_every_public_name_is_on_a_page_and_documented():
    assert reference.undocumented() == []
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for path in reference.pages():
        assert path in nav, path


def test_every_link_of_the_pages_leads_to_a_file():
    known = {*reference.pages(), "reference/pulses.md", *tutorial_pages.pages()}
    for page in (ROOT / "docs").rglob("*.md"):
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\((?!http)([^)#\s]+)", text):
            path = (page.parent / target).resolve()
            generated = str(path.relative_to(ROOT / "docs")) if path.is_relative_to(ROOT / "docs") else ""
            assert path.exists() or generated in known, f"{page.name}: {target}"


LEAVE_FILES = {"train", "demo", "export"}
"""Commands whose result is a folder or a file."""


def test_every_command_is_a_public_function_with_a_result():
    commands = dict(reference.commands())
    assert set(FUNCTIONS) == set(commands)
    for name, path in FUNCTIONS.items():
        function = pkgutil.resolve_name(path)
        assert inspect.getdoc(function), path
        assert not any(part.startswith("_") for part in path.split(".")), path
        # What the command's module calls is this very function.
        module = sys.modules[commands[name].callback.__module__]
        assert any(value is function for value in vars(module).values()), f"{name} does not call {path}"
        if name not in LEAVE_FILES:
            result = get_type_hints(function)["return"]
            for kind in get_args(result) or (result,):
                assert hasattr(kind, "to_json"), f"{path}: {kind}"
                assert hasattr(kind, "table"), f"{path}: {kind}"


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_the_search_has_a_worker_in_pages_that_are_opened_as_files(tmp_path):
    shutil.copy(ROOT / "docs" / "search-from-files.js", tmp_path)
    (tmp_path / "page.html").write_text(
        "<body><script src='search-from-files.js'></script><script>const worker = new Worker('worker.js');"
        "worker.addEventListener('message', (event) => document.body.append(event.data.sum));"
        "worker.postMessage([2, 3, 5]);</script>"
    )
    (tmp_path / "worker.js").write_text(
        "const lists = importScripts('first.js', 'second.js');"
        "addEventListener('message', (event) => lists.then(() => postMessage({sum: 'sum ' + summed(event.data)})));"
    )
    (tmp_path / "first.js").write_text("const add = (a, b) => a + b;")
    (tmp_path / "second.js").write_text("const summed = ((adding) => (list) => list.reduce(adding, 0))(add);")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000", "--dump-dom"]
    shown = subprocess.run(
        [str(BROWSER), *options, f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "page.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "sum 10" in shown.stdout
