"""Which classes the test images are taken for."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from sslbench import paper
from sslbench.paper import Row
from sslbench.scatter import NO_TICKS, short
from sslbench.tables.contents import Picture
from sslbench.tables.gather import Cell
from sslbench.tables.pictures.album import Album, part, way_of, way_words
from sslbench.words.escape import printable

MAX_NUMBERED_CLASSES, NUMBERED_FROM = 12, 5
"""How many classes there may be for numbers in the matrix, and the percent they stand from."""
NUMBERED = f"; numbers are percent, from {NUMBERED_FROM}"


def draw_confusions(album: Album) -> Iterator[Picture]:
    """Draw the test images' classes against those they were taken for."""
    shares, names = {}, []
    for row in album.rows:
        matrices = []
        for cell in album.group.done(row).values():
            try:
                matrices.append(_matrix(cell, names))
                names = cell.class_names
            except (ValueError, TypeError, OverflowError) as error:
                wrong = f"not a confusion matrix ({error}); it is left out"
                album.problems.append(f"{cell.folder}: {wrong}")
        if matrices:
            counts = sum(matrices)
            shares[row] = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    for end, rows in album.pages(shares):
        yield _draw(album, f"confusion{end}", {row: shares[row] for row in rows}, names)


def _draw(album: Album, name: str, shares: dict[Row, np.ndarray], names: list[str]) -> Picture:
    labels = [short(each) for each in names]
    size = np.full(2, np.clip(0.14 * len(names), 2.05, 4))
    margin = 0.6 + 0.06 * max(map(len, labels))
    canvas, panels = album.panels(shares, size, margin, subplot_kw={"box_aspect": 1} | NO_TICKS)
    for row, ax in panels.items():
        ax.imshow(shares[row], vmin=0, vmax=100, interpolation="none")
        numbered = shares[row].round() >= NUMBERED_FROM
        for i, j in np.argwhere(numbered & (len(names) <= MAX_NUMBERED_CLASSES)):
            # Either has a contrast of 4.5 : 1 to the blue of 72 %.
            color = "white" if shares[row][i, j] > 72 else "black"
            number = ax.text(j, i, f"{shares[row][i, j]:.0f}", ha="center", va="center", c=color)
            number.set_in_layout(False)  # it lies within the axes: nothing to make room for
    for each in canvas.axes:  # named along the edges alone: half of the time is that of ticks
        each.tick_params(length=0, pad=1)
        place = each.get_subplotspec()
        if place.is_first_col():
            each.set_yticks(range(len(names)), labels)
        if place.is_last_row():
            each.set_xticks(range(len(names)), labels, rotation=90)
        each.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5))
    canvas.supxlabel("taken for")
    written = list(map(printable, names))  # pandas refuses what is no UTF-8
    tables = {
        (*way_words(way_of(row)), row.ratio or "", row.model): pd.DataFrame(share, written, written)
        for row, share in shares.items()
    }
    caption = (
        "Rows: the class an image is of; each sums to 100 %, over all seeds. White is none, dark "
        f"blue all{NUMBERED if len(names) <= MAX_NUMBERED_CLASSES else ''}."
    )
    frame = pd.concat(tables, names=["method", "from", "ratio", "model", "class"])
    title = f"Confusion of the test images' classes{part(name)}"
    return album.save(canvas, name, title, caption, frame, _told(album, shares, labels))


def _told(album: Album, shares: dict[Row, np.ndarray], labels: list[str]) -> str:
    """Say of each panel which two classes are confused most."""
    parts = []
    for row, share in shares.items():
        wrong = share - np.diag(np.diag(share))
        i, j = np.unravel_index(wrong.argmax(), wrong.shape)
        way = album.way_name(way_of(row))
        most = f"{wrong[i, j]:.0f} % of {labels[i]} for {labels[j]}"
        parts.append(f"{paper.title(row.model)} {way}: {most}")
    return f"Confusion matrices. Taken wrongly most often, by panel: {'; '.join(parts)}."


def _matrix(cell: Cell, others: list[str]) -> np.ndarray:
    """Return a cell's `(n, n)` counts; its classes are to be those of `others`, if any."""
    names = cell.class_names
    counts = np.array(cell.record.results["test"].get("confusion"), dtype=float)
    if counts.shape != (len(names), len(names)):
        raise ValueError(f"its shape is {counts.shape} for {len(names)} class names")
    if not (np.isfinite(counts) & (counts >= 0)).all():
        raise ValueError("it does not hold counts")
    if others and names != others:
        raise ValueError(f"its classes are {names}, those of other cells {others}")
    return counts
