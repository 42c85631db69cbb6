"""Tests with the lowest versions of packages that pyproject.toml allows, in an environment of their own.

python tools/lowest.py [--torch VERSION] [--folder FOLDER] [ARGUMENT OF PYTEST ...]

PyTorch is that of constraints.txt unless --torch says otherwise: on Linux, older ones come with gigabytes of CUDA from
the usual index. What packages in turn need is as new as they allow. Without arguments of pytest, quick tests of every
room are run.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOWEST = re.compile(r"^([\w-]+)(?:\[[\w,]+\])?>=([\w.]+)$")
EXTRAS = ("test", "dask", "tensorboard", "xlsx")
TESTS = (
    "cli spec datasets training tensorboard results studies netlists resistive relaxation pulses pulsed cards "
    "measurements calibration_diode cross_check exports reporting pictures"
)


def lowest_versions(torch: str) -> dict[str, str]:
    """By package, of all that name one, PyTorch's as given."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    needs = project["dependencies"] + [need for extra in EXTRAS for need in project["optional-dependencies"][extra]]
    return {match[1]: match[2] for match in map(LOWEST.match, needs) if match} | {"torch": torch}


def pinned_torch() -> str:
    """PyTorch's version in constraints.txt."""
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    found = re.search(r"^torch==(\S+)$", pins, re.MULTILINE)
    assert found is not None
    return found[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", default=pinned_torch())
    parser.add_argument("--folder", type=Path, help="of the environment, to be used again; by default one that goes")
    options, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch) / "environment"
        if not folder.exists():
            venv.create(folder, with_pip=True)
        python, limits = folder / "bin" / "python", Path(scratch) / "lowest.txt"
        versions = lowest_versions(options.torch)
        limits.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()), encoding="utf-8")
        install = [python, "-m", "pip", "install", "--quiet", "--constraint", limits, "--editable", f"{ROOT}[test]"]
        subprocess.run(install, check=True)
        # Old packages use what newer ones beside them call deprecated; that is theirs to mend.
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default::DeprecationWarning"]
        chosen = arguments or [f"tests/test_{name}.py" for name in TESTS.split()]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run([*command, *chosen], cwd=ROOT, env=environment, check=False)
        raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
