"""Figures as PNG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def png_of(figure: Figure, dpi: int = 120) -> bytes:
    """A finished figure, which keeps the places that its layout engine finds.

    Parameters
    ----------
    figure : Figure
        Nothing may be added to it later.
    dpi : int
        Dots an inch.
    """
    if (engine := figure.get_layout_engine()) is not None:
        # `savefig` draws a figure with an engine twice, the first time for the places alone.
        figure.set_dpi(dpi)
        engine.execute(figure)
        figure.set_layout_engine("none")
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=dpi)
    return image.getvalue()
