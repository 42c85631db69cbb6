"""Every tutorial runs, at small size, and ends in a figure with something in it."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from tools import tutorial_pages as tutorials

ROOT = Path(__file__).parent.parent
OF_NGSPICE = {"netlist", "own_circuit", "hardware"}


@pytest.mark.pictures
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.ngspice if name in OF_NGSPICE else ()) for name in tutorials.ORDER]
)
def test_a_tutorial_runs(name, tmp_path):
    figure = tutorials.run(name, tmp_path, small=True)["figure"]
    assert isinstance(figure, Figure)
    assert all(panel.has_data() for panel in figure.axes)
    figure.savefig(tmp_path / "figure.png")


def test_all_scripts_are_tutorials_with_pages_and_figures():
    assert {path.stem for path in (ROOT / "tutorials").glob("*.py")} == set(tutorials.ORDER)
    for name in tutorials.ORDER:
        page = tutorials.page(name)
        assert page.startswith("# ")
        assert "# small:" not in page
        assert (ROOT / "docs" / "images" / "tutorials" / f"{name}.png").is_file()
    assert tutorials.source("theory", small=True) != tutorials.source("theory")
