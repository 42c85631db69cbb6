"""The public names are the ones that the package lists."""

import inspect
import subprocess
import sys

import pytest

import analog_ep


def test_every_listed_name_is_there_and_documented():
    assert analog_ep.__all__ == sorted(analog_ep.__all__)
    for name in analog_ep.__all__:
        assert inspect.getdoc(getattr(analog_ep, name)), name


def test_no_public_name_is_unlisted():
    names = {name for name in dir(analog_ep) if not name.startswith("_")}
    found = {name for name in names if not inspect.ismodule(getattr(analog_ep, name))}
    assert found - {"Any", "TYPE_CHECKING"} == set(analog_ep.__all__)


def test_modules_are_there_and_other_names_are_not():
    assert analog_ep.devices.ShockleyDiode is analog_ep.ShockleyDiode
    for name in ("no_such_name", "_private"):
        with pytest.raises(AttributeError, match=f"module 'analog_ep' has no attribute '{name}'"):
            getattr(analog_ep, name)


def test_importing_the_package_imports_neither_what_is_slow_nor_the_command_line():
    slow = ("PySpice", "typer", "matplotlib", "torch", "numpy")
    code = f"import sys, analog_ep; print([name for name in {slow} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
