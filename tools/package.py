"""Builds wheel and sdist, installs the wheel into an empty environment, and runs the commands there.

python tools/package.py [--packages-from-here]

With --packages-from-here the environment sees the packages of this one, apart from analog_ep itself: no download.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INSIDE = (
    "analog_ep/specs/digits.toml",
    "analog_ep/netlists/learning.lib",
    "analog_ep/calibration/cards/nxp_1n4148.csv",
)
IN_SDIST = ("README.md", "LICENSE", "CHANGELOG.md", "specs/digits.toml", "tests/test_cli.py", "docs/index.md")

COMMANDS = (
    ("--version",),
    ("demo", "--epochs", "1", "--samples", "2", "--out", "demo"),
    ("check", "demo", "--samples", "1"),
    ("export", "demo", "-o", "sample.cir"),
    ("export", "demo", "--phase", "transient", "-o", "transient.cir"),
    *(
        ("export", "demo", "--dialect", dialect, "-o", f"{dialect}.cir")
        for dialect in ("xyce", "ltspice", "hspice", "spectre", "gnucap", "vacask")
    ),
    ("export", "demo", "--conductances", "conductances.csv"),
    ("bench", "step", "--rounds", "2", "--sizes", "20-10-5"),
    ("report", "demo", "-o", "report.html", "--samples", "1"),
    ("calibrate", "diode", "{cards}/nxp_1n4148.csv", "--relative-noise", "1e-3", "-o", "card.toml"),
    ("study", "study.toml", "--out", "study", "--jobs", "1"),
)
STUDY = 'base = "xor"\nepochs = 1\n[axes.write]\nideal = {}\nEcRam = { update.device = "EcRam" }\n'


def build(folder: Path) -> tuple[Path, Path]:
    """Wheel and sdist of the repository."""
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    # Not from the repository, whose folder of builds is called as the package that builds.
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder.parent)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def look_inside(wheel: Path, sdist: Path) -> None:
    """Say which files are missing, and leave."""
    with zipfile.ZipFile(wheel) as file:
        held = set(file.namelist())
    with tarfile.open(sdist) as file:
        sources = {name.partition("/")[2] for name in file.getnames()}
    missing = [name for name in INSIDE if name not in held] + [name for name in IN_SDIST if name not in sources]
    if missing:
        raise SystemExit(f"wheel and sdist must hold {', '.join(missing)}, found them missing")


def try_out(wheel: Path, folder: Path, packages_from_here: bool) -> None:
    """Install the wheel into an environment of its own, and run the commands away from the repository."""
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install += ["--no-deps"] if packages_from_here else ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*install, str(wheel)], check=True, cwd=folder)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if packages_from_here:
        (site,) = (folder / "env" / "lib").glob("python*/site-packages")
        others = [path for path in sys.path if path.endswith("site-packages")]
        (site / "others.pth").write_text("\n".join(others) + "\n")
    (folder / "study.toml").write_text(STUDY)
    where = "import analog_ep, pathlib; print(pathlib.Path(analog_ep.__file__).parent)"
    package = subprocess.run(
        [str(python), "-c", where], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()
    if not package.startswith(str(folder)):
        raise SystemExit(f"the environment must import the wheel, found {package}")
    for words in COMMANDS:
        arguments = [word.format(cards=f"{package}/calibration/cards") for word in words]
        subprocess.run([str(python), "-m", "analog_ep", *arguments], cwd=folder, env=environment, check=True)
        print(f"ran: analog-ep {' '.join(words)}", flush=True)


def main() -> None:
    """Build, look inside, try out."""
    packages_from_here = "--packages-from-here" in sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel, sdist = build(folder / "dist")
        look_inside(wheel, sdist)
        try_out(wheel, folder, packages_from_here)
    print("the package works in an environment of its own")


if __name__ == "__main__":
    main()
