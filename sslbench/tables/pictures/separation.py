"""Numbers behind figure 5: how classes part in the embeddings as training goes on."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure as Canvas

from sslbench import paper
from sslbench.cell.embeddings import read_embeddings
from sslbench.machine.calls import Call, help_with
from sslbench.palette import INK
from sslbench.tables import statistics
from sslbench.tables.contents import Picture
from sslbench.tables.gather import Cell
from sslbench.tables.pictures.album import WIDTH, Album, Way, listed, way_of
from sslbench.tables.separation import measure_once

PANELS = {
    "probe": "linear probe (%)",
    "knn": "k-NN (%)",
    "kind": "animal or vehicle (%)",
    "dimension": "effective dimension",
}
SHARES = ("probe", "knn", "kind")
MOST_SEEDS = 5
"""Of a row: measuring a snapshot takes up to a second."""
Begun = list[tuple[paper.Row, Cell, list[Call[dict]]]]
KNN_K, PROBE_L2 = 200, 1.0
"""Of methods that have no such settings."""
CAPTION = (
    "Validation images, by five-fold cross-validation among them; probe and k-NN are those of the "
    "tables (logistic regression; cosine similarity, k = {k}), which learn from train images. "
    "{kind}Effective dimension: the participation ratio of the covariance's eigenvalues; near 1 "
    "the embeddings lie on a line. Dotted: chance. Bands: from the lowest seed to the highest, of "
    "five at most; of one seed, 95 % of images."
)
KIND = "Animal or vehicle: the kind of the class that the probe finds. "


def draw_separation(album: Album) -> Iterator[Picture]:
    """Draw the numbers of each way of training that keeps snapshots, a line a model.

    The measuring begins with the call, and is waited for when the first picture is.
    """
    rows = [(row, list(album.group.done(row).values())[:MOST_SEEDS]) for row in album.rows]
    return _draw_all(album, [(row, cell, _begin(album, cell)) for row, few in rows for cell in few])


def _draw_all(album: Album, begun: Begun) -> Iterator[Picture]:
    for number, (way, values) in enumerate(_finish(album, begun).items(), start=1):
        yield _draw(album, f"separation-{number}" if number > 1 else "separation", way, values)


def _finish(album: Album, begun: Begun) -> dict[Way, pd.DataFrame]:
    """Wait for rows' numbers, by cell and snapshot; what cannot be read becomes a problem."""
    help_with([call for *_, calls in begun for call in calls])
    found: dict[Way, list[pd.DataFrame]] = {}
    for row, cell, calls in begun:
        try:
            numbers = pd.DataFrame(call.result() for call in calls)
        except ValueError as error:
            album.problems.append(f"{cell.cell_id}: {error}; its numbers are left out")
            continue
        if len(numbers) > 1:
            numbers["chance"] = 1 / max(1, len(cell.class_names))
            of_cell = numbers.assign(model=row.model, seed=cell.seed)
            found.setdefault(way_of(row), []).append(of_cell)
    return {way: pd.concat(frames, ignore_index=True) for way, frames in found.items()}


def _begin(album: Album, cell: Cell) -> list[Call[dict]]:
    """Begin to measure each of a cell's snapshots."""
    method = cell.record.settings["method"]
    numbers = method.get("knn_k", KNN_K), method.get("probe_l2", PROBE_L2)
    paths = sorted(cell.folder.glob("snapshot-*.npz"))
    names, store = cell.class_names, album.folder / "embeddings"
    return [Call(_measure_file, store, path, names, *numbers) for path in paths]


def _measure_file(store: Path, path: Path, names: list[str], k: int, l2: float) -> dict[str, float]:
    snapshot, step = read_embeddings(path), int(path.stem.rpartition("-")[2])
    found = {"step": step, "k": k, "num_images": len(snapshot.labels)}
    return found | measure_once(store, snapshot, names, k, l2)


def _draw(album: Album, name: str, way: Way, values: pd.DataFrame) -> Picture:
    panels = [panel for panel in PANELS if values[panel].notna().any()]
    canvas = Canvas((WIDTH, 0.5 + 1.9 * -(-len(panels) // 2)))
    axes = canvas.subplots(-(-len(panels) // 2), 2, squeeze=False, sharex=True).ravel()
    frames = []
    for ax, panel in zip(axes, panels, strict=False):
        bands = _bands(values, panel)
        for model, band in bands.groupby("model"):
            color, marker = album.lines[model]
            ax.plot(band["step"], band["mean"], color=color, marker=marker)
            style = {"color": color, "alpha": 0.2, "linewidth": 0}
            ax.fill_between(band["step"], band["low"], band["high"], **style)
        if panel in ("probe", "knn"):
            ax.axhline(100 * values["chance"].iloc[0], color=INK, ls=":", lw=1, alpha=0.6)
        ax.set_title(PANELS[panel])
        ax.set_ylim(bottom=0)
        frames.append(bands.assign(measure=panel))
    for ax in axes[max(0, len(panels) - 2) : len(panels)]:  # below which there is none
        ax.tick_params(labelbottom=True)
        ax.set_xlabel("step")
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    album.add_legend(canvas, [model for model in album.models if model in set(values["model"])])
    title = f"How classes part while training, {album.way_name(way)}"
    k = ", ".join(map(str, sorted(set(values["k"]))))
    caption = CAPTION.format(k=k, kind=KIND if "kind" in panels else "")
    frame = pd.concat(frames).set_index(["measure", "model", "step"]).sort_index()
    return album.save(canvas, name, title, caption, frame, _told(frame, panels))


def _bands(values: pd.DataFrame, panel: str) -> pd.DataFrame:
    """Return mean and bounds by model and step, percent of shares."""
    by_step = values.groupby(["model", "step"], as_index=False)
    bands = by_step.agg(
        mean=(panel, "mean"),
        low=(panel, "min"),
        high=(panel, "max"),
        n=(panel, "count"),
        num_images=("num_images", "first"),
    )
    if panel in SHARES:
        for i in bands.index[bands["n"] == 1]:
            interval = statistics.wilson_interval(*bands.loc[i, ["mean", "num_images"]])
            bands.loc[i, ["low", "high"]] = interval
        bands[["mean", "low", "high"]] *= 100
    return bands


def _told(frame: pd.DataFrame, panels: list[str]) -> str:
    """Say where each line begins and ends."""
    parts = []
    for panel in panels:
        of_panel = frame.loc[panel, "mean"].groupby("model")
        ends = [of_panel.first(), of_panel.last()]
        first, last = ({paper.title(m): v for m, v in each.items()} for each in ends)
        parts.append(f"{PANELS[panel]}: from {listed(first)} to {listed(last)}")
    return f"Lines against training steps, one a model. {'; '.join(parts)}."
