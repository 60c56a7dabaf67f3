"""Colours that the colour-blind can tell apart, with markers for print."""

LINES = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#E69F00", "v"),
    ("#56B4E9", "P"),
    ("#000000", "X"),
)
"""Colours of Okabe and Ito 2008, with markers."""
CLASSES = (
    ("#332288", "o"),
    ("#E69F00", "s"),
    ("#44AA99", "^"),
    ("#CC6677", "v"),
    ("#88CCEE", "D"),
    ("#117733", "P"),
    ("#882255", "X"),
    ("#999933", "<"),
    ("#AA4499", ">"),
    ("#000000", "p"),
)
"""Colours after Tol 2021 (muted), with black for its grey and a stronger yellow, with markers."""


def class_style(label: int) -> tuple[str, str]:
    """Return the colour and marker of a class; after ten, markers shift."""
    color, _ = CLASSES[label % len(CLASSES)]
    _, marker = CLASSES[(label + label // len(CLASSES)) % len(CLASSES)]
    return color, marker
