"""Colours that the colour-blind can tell apart, with markers for print."""

_LINES = "#0072B2 #D55E00 #009E73 #CC79A7 #E69F00 #56B4E9 #000000"
_CLASSES = "#332288 #E69F00 #44AA99 #CC6677 #88CCEE #117733 #882255 #999933 #AA4499 #000000"
LINES = tuple(zip(_LINES.split(), "os^DvPX", strict=True))
"""Colours of Okabe and Ito 2008, with markers."""
CLASSES = tuple(zip(_CLASSES.split(), "os^vDPX<>p", strict=True))
"""Colours after Tol 2021 (muted), with black for its grey and a stronger yellow, with markers."""


def class_style(label: int) -> tuple[str, str]:
    """Return the colour and marker of a class; after ten, markers shift."""
    color, _ = CLASSES[label % len(CLASSES)]
    _, marker = CLASSES[(label + label // len(CLASSES)) % len(CLASSES)]
    return color, marker
