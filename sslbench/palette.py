"""Colours that the colour-blind can tell apart, with markers for print, for light and dark pages.

Each has a contrast of at least 3 : 1 to its background. Pictures are drawn in the light ones.
"""

INK, BACK = "#1b1b1f", "#fefefe"
"""Of type and lines, and what is behind them. Pure black and white stay as they are on both."""
ALARM = "#b3261e"
"""Of what has collapsed."""
_LINES = {
    **{"#0072b2": "#5cb3ea", "#d55e00": "#ff8a3c", "#009e73": "#2fc79a", "#b85c90": "#e59bc4"},
    **{"#a87000": "#f0ae2a", "#3a7ca5": "#9ad3f5", INK: "#ececf1"},
}
_CLASSES = {
    **{"#332288": "#9a92f0", "#b87700": "#f0ae2a", "#2a8c7c": "#5ccbb8", "#cc6677": "#ee8fa0"},
    **{"#3a8fc2": "#88ccee", "#117733": "#46bd70", "#882255": "#dd6aa5", "#7f7f1f": "#cccc5e"},
    **{"#aa4499": "#dd97d5", INK: "#ececf1"},
}
DARK = _LINES | _CLASSES | {BACK: "#16161a", ALARM: "#ff8a7a"}
"""What each colour becomes on a dark page."""
LINES = tuple(zip(_LINES, "os^DvPX", strict=True))
"""Colours after Okabe and Ito 2008, with markers."""
CLASSES = tuple(zip(_CLASSES, "os^vDPX<>p", strict=True))
"""Colours after Tol 2021 (muted), the light ones darkened, with markers."""


def class_style(label: int) -> tuple[str, str]:
    """Return the colour and marker of a class; after ten, markers shift."""
    color, _ = CLASSES[label % len(CLASSES)]
    _, marker = CLASSES[(label + label // len(CLASSES)) % len(CLASSES)]
    return color, marker
