"""A slider, a picture, and the sentence that says what the picture shows."""

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets
from matplotlib.figure import Figure

from simclr_edu.course import figures

DESCRIPTION = {"description_width": "9em"}
_WIDE = ipywidgets.Layout(width="32em", max_width="100%")


class Display(ipywidgets.VBox):
    """One picture with its alt text below, and room for controls above."""

    def __init__(self, controls: Sequence[ipywidgets.Widget] = ()) -> None:
        # At its own size, as its static twin: a box would stretch it to the width of the window.
        layout = ipywidgets.Layout(max_width="100%", align_self="flex-start")
        self.image = ipywidgets.Image(format="png", layout=layout)
        self.caption = ipywidgets.HTML()
        super().__init__([*controls, self.image, self.caption])

    def draw(self, fig: Figure) -> None:
        """Replace the picture by ``fig``, and its alt text with it."""
        alt = str(getattr(fig, "alt_text", ""))
        self.image.value = figures.to_png(fig, small=False)
        # Not as the picture's tooltip: ipywidgets 8 then fails to show an Image, which has no description.
        self.caption.value = f'<small role="status" aria-live="polite">{html.escape(alt)}</small>'


class Explorer(Display):
    """Controls above the picture that they redraw.

    Attributes:
        controls: the sliders and boxes by name.
        image: the ``ipywidgets.Image`` that holds the picture as PNG.
        caption: the alt text, as HTML.
    """

    def __init__(self, controls: Mapping[str, ipywidgets.Widget], figure: Callable[..., Figure]) -> None:
        """Draw ``figure(**{name: value of the control})`` now and whenever a value changes."""
        self.controls = dict(controls)
        self._figure = figure
        super().__init__(list(self.controls.values()))
        for control in self.controls.values():
            control.observe(self._redraw, names="value")
        self._redraw()

    def _redraw(self, change: object = None) -> None:
        self.draw(self._figure(**{name: control.value for name, control in self.controls.items()}))


def make_slider(kind: type[ipywidgets.Widget], description: str, **settings: Any) -> ipywidgets.Widget:
    return kind(description=description, style=DESCRIPTION, layout=_WIDE, **settings)


def temperature_slider(value: float = 0.5) -> ipywidgets.Widget:
    return make_slider(
        ipywidgets.FloatLogSlider,
        "temperature",
        base=10,
        min=-2,
        max=1,
        step=0.05,
        value=value,
        readout_format=".2f",
    )
