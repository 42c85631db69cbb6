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
    figure.set_dpi(dpi)
    return _drawn(figure)


def _drawn(figure: Figure) -> bytes:
    # Loaded where something is drawn: no other command waits for it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
    image = io.BytesIO()
    # `savefig` draws a figure that ever had an engine twice, the first time for its places alone.
    FigureCanvasAgg(figure).print_png(image)
    return image.getvalue()
