"""The public names are the ones that the package lists."""

import inspect
import subprocess
import sys

import analog_ep


def test_every_listed_name_is_there_and_documented():
    assert analog_ep.__all__ == sorted(analog_ep.__all__)
    for name in analog_ep.__all__:
        assert inspect.getdoc(getattr(analog_ep, name)), name


def test_no_public_name_is_unlisted():
    found = {
        name for name, value in vars(analog_ep).items() if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert found == set(analog_ep.__all__)


def test_importing_the_package_imports_neither_pyspice_nor_the_command_line():
    code = "import sys, analog_ep; print([m for m in ('PySpice', 'typer', 'matplotlib') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
