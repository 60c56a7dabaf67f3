"""Projections of the cells' embeddings: which points, what is kept of them, made beside drawing."""

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import joblib
import numpy as np
from joblib import Parallel, delayed

from sslbench.atomic import replace_file
from sslbench.cell.embeddings import UNREADABLE, Embeddings, read_embeddings
from sslbench.evaluate.projection import (
    ITERATIONS,
    MAX_POINTS,
    NEIGHBORS,
    PERPLEXITY,
    Numbers,
    Projection,
    align_tsne,
    choose_points,
    project_pca,
    projection_numbers,
)
from sslbench.processes import available_cores, call_with_parent
from sslbench.tables.gather import Cell

VERSION = 1
"""Of how coordinates are made; they are made anew where it differs."""
MAX_SNAPSHOTS = 5
KINDS = ("pca", "tsne")
FILES = {"test": ("embeddings-test.npz", 1), "snapshots": ("snapshot-*.npz", 2)}
"""Names of a cell's files, and how many it takes for a picture."""

Projections = dict[str, list[Projection]]
"""Projections by kind, one for each snapshot."""


@dataclass
class Projected:
    """One or more files of a cell's embeddings, and their projections once they are made.

    `kept` is the npz in which the projections are kept.
    """

    cell: Cell
    kept: Path
    paths: list[Path]
    snapshots: list[Embeddings]
    projections: Projections | None

    @property
    def steps(self) -> list[int]:
        return [int(path.stem.rpartition("-")[2]) for path in self.paths]

    def of(self, kind: str) -> list[Projection]:
        assert self.projections is not None
        return self.projections[kind]


def find_projected(cell: Cell, folder: Path, what: str) -> Projected | None:
    """Read a cell's embeddings, and their projections if `folder` keeps them.

    Args:
        what: `test` for the test images, `snapshots` for those of validation images in training.

    Returns:
        None if there are no such files, or one snapshot alone.

    Raises:
        ValueError: If a file cannot be read, or the snapshots are not of the same images.
    """
    pattern, least = FILES[what]
    paths = sorted(cell.folder.glob(pattern))
    if len(paths) < least:
        return None
    # The first and the last are among the few that are taken.
    places = np.linspace(0, len(paths) - 1, min(len(paths), MAX_SNAPSHOTS)).round().astype(int)
    paths = [paths[place] for place in places]
    kept = folder / f"{cell.cell_id}-{what}.npz"
    try:
        snapshots = choose_same([read_embeddings(path) for path in paths])
    except ValueError as error:
        raise ValueError(f"{kept.stem}: {error}; its picture is left out") from error
    return Projected(cell, kept, paths, snapshots, kept_projections(kept, snapshots))


def choose_same(snapshots: Sequence[Embeddings], num_points: int = MAX_POINTS) -> list[Embeddings]:
    """Take the same points, chosen once, from snapshots of the same images.

    Raises:
        ValueError: If the snapshots are not of the same images.
    """
    first = snapshots[0]
    if any(not np.array_equal(each.indices, first.indices) for each in snapshots):
        raise ValueError("the snapshots are not of the same images")
    chosen = choose_points(first.labels, num_points)
    return [
        Embeddings(each.values[chosen], each.labels[chosen], each.indices[chosen])
        for each in snapshots
    ]


def kept_projections(path: Path, snapshots: Sequence[Embeddings]) -> Projections | None:
    """Read what `project_snapshots` kept in `path`; None if that is not of these snapshots."""
    try:
        with np.load(path) as file:
            if str(file["key"]) != _key(snapshots):
                return None
            return {
                kind: [
                    Projection(points, file["labels"], Numbers(*numbers.tolist()))
                    for points, numbers in zip(file[kind], file[f"{kind}_numbers"], strict=True)
                ]
                for kind in KINDS
            }
    except UNREADABLE:
        return None  # none yet, or not ours: made anew


def project_snapshots(path: Path, snapshots: Sequence[Embeddings]) -> Projections:
    """Project snapshots of the same images, and keep coordinates and numbers in `path` (npz)."""
    values, labels = [each.values for each in snapshots], snapshots[0].labels
    coordinates = {"pca": [project_pca(each) for each in values], "tsne": align_tsne(values)}
    found = {
        kind: [
            Projection(points, labels, projection_numbers(each, points, labels))
            for each, points in zip(values, coordinates[kind], strict=True)
        ]
        for kind in KINDS
    }
    arrays = {"key": np.array(_key(snapshots)), "labels": labels, "indices": snapshots[0].indices}
    for kind, projections in found.items():
        arrays[kind] = np.stack([each.coordinates for each in projections])
        numbers = [list(asdict(each.numbers).values()) for each in projections]
        arrays[f"{kind}_numbers"] = np.array(numbers)
    arrays["numbers"] = np.array([field.name for field in fields(Numbers)])
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda file: np.savez_compressed(file, **arrays))
    return found


def _key(snapshots: Sequence[Embeddings]) -> str:
    """Hash all that coordinates and numbers depend on."""
    arrays = [(each.values, each.labels) for each in snapshots]
    return joblib.hash([VERSION, PERPLEXITY, ITERATIONS, NEIGHBORS, arrays])


@contextmanager
def projecting_beside(found: list[Projected]) -> Iterator[Iterator[Projections]]:
    """Make the projections that are missing while the caller does other things.

    Yields them in order, as they come: what `finish_projections` takes. They are made in processes,
    where there are cores for them: a thread's t-SNE would wait for Python's lock most of the time.
    """
    missing = [each for each in found if each.projections is None]
    workers = Parallel(
        min(available_cores(), max(2, len(missing))),
        return_as="generator",
        max_nbytes=None,  # no arrays in shared memory, which a kill would leave there
    )
    # What is called there lies where importing it does not bring pandas and matplotlib along.
    made = workers(
        delayed(call_with_parent)(project_snapshots, each.kept, each.snapshots) for each in missing
    )
    try:
        yield made
        for _ in made:  # all are taken; only now is it at its end
            pass
    finally:
        with warnings.catch_warnings():
            # Where drawing failed, joblib says of what it had made that nobody took it.
            warnings.simplefilter("ignore", UserWarning)
            made.close()


def finish_projections(found: list[Projected], made: Iterator[Projections]) -> None:
    """Give those without projections the next of `made`; make here what lost workers did not."""
    for each in found:
        if each.projections is None:
            try:
                each.projections = next(made, None)
            except BrokenProcessPool:  # out of memory, perhaps: one at a time needs less
                each.projections = None
            each.projections = each.projections or project_snapshots(each.kept, each.snapshots)
