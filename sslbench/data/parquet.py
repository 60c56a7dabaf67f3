"""`data=parquet`: images and labels in columns, as on the Hugging Face Hub."""

import logging
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from sslbench.config.parts import EXECUTION
from sslbench.data.content import read_digests
from sslbench.data.packed import SPLITS, Packed, Source, source_key
from sslbench.data.packing import Items
from sslbench.data.parquet_schema import class_names_of, image_column, label_column
from sslbench.words.escape import visible

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

log = logging.getLogger(__name__)

WORDS = {
    **{"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"},
    **{"unlabeled": "unlabeled", "unlabelled": "unlabeled", "unsupervised": "unlabeled"},
}
"""In a file's name, or else its folders': the split that it is of."""
GROUPS_AT_A_TIME = 4
"""Row groups in memory."""


@dataclass
class Parquet(Packed):
    """Parquet files below `root`, or one; `train`, `test` and so on stand in their names.

    Class names are those of the schema (Hugging Face's ClassLabel), or the lines of
    `class_names.txt` beside the files, or the labels themselves.
    """

    kind: str = "parquet"
    image_column: str = field(default="", metadata=EXECUTION)
    """Of encoded images; empty: the one that the schema, its name or its type tells."""
    label_column: str = field(default="", metadata=EXECUTION)
    """Of labels, numbers or texts; empty: the one that the schema or its name tells."""

    def source(self, memory: Path) -> Source:
        root = Path(self.root)
        folder = root.parent if root.is_file() else root
        found = _without_empty(folder, _find_files(root))
        names = [name for of_split in found.values() for name in of_split]
        schema = _open(folder / names[0]).schema_arrow
        image, label = image_column(self.image_column, schema), None
        columns: dict[str, list[Any]] = {}
        used: dict[str, str] = {}
        for split, files in found.items():
            if split != "unlabeled":
                label = label_column(
                    self.label_column, _open(folder / files[0]).schema_arrow, image
                )
                columns[split] = _read_labels([folder / file for file in files], label)
                used[label] = split
        if len(used) > 1:
            told = " and ".join(f"{label} in {split}" for label, split in used.items())
            raise ValueError(
                f"data=parquet: labels are called {told}; name one column that all files have by "
                "data.label_column=…"
            )
        class_names, labels = _classes(columns, class_names_of(schema, label, folder))
        splits = {}
        for split, files in found.items():
            rows = Rows([folder / file for file in files], files, image)
            splits[split] = Items(rows.names, labels.get(split), rows.read)
        digests = b"".join(read_digests(folder, names, memory))
        columns_key = f"{image} {label} {class_names}".encode()
        return Source(
            class_names, splits, source_key("\0".join(names).encode(), digests, columns_key)
        )


class Rows:
    """The images of parquet files, one after the other."""

    def __init__(self, paths: list[Path], names: list[str], column: str) -> None:
        self._paths, self._column = paths, column
        groups = [
            (file, group, metadata.row_group(group).num_rows)
            for file, metadata in enumerate(_open(path).metadata for path in paths)
            for group in range(metadata.num_row_groups)
        ]
        self._groups = [(file, group) for file, group, _ in groups]
        self._starts = np.cumsum([0, *(rows for *_, rows in groups)])
        self.names = [
            f"{names[file]}, row {row}" for file, _, rows in groups for row in range(rows)
        ]
        self._lock = Lock()
        self._group = lru_cache(GROUPS_AT_A_TIME)(self._read_group)

    def read(self, start: int, stop: int) -> list[bytes]:
        """Return encoded images from one row to another; no bytes where there are none."""
        first, last = np.searchsorted(self._starts, [start, stop - 1], side="right") - 1
        found = []
        for number in range(first, last + 1):
            offset = self._starts[number]
            with self._lock:  # not read by several threads at once
                group = self._group(number)
            found += group[max(0, start - offset) : stop - offset].to_pylist()
        return [_bytes(value) for value in found]

    def _read_group(self, number: int) -> Any:
        file, group = self._groups[number]
        return _open(self._paths[file]).read_row_group(group, [self._column])[self._column]


def _bytes(value: dict[str, Any] | bytes | None) -> bytes:
    return (value.get("bytes") if isinstance(value, dict) else value) or b""


def _find_files(root: Path) -> dict[str, list[str]]:
    """Return the files' paths in their folder by split, sorted."""
    if root.is_file():
        files, folder = [root], root.parent
    else:
        files, folder = sorted(root.rglob("*.parquet")), root
    found: dict[str, list[str]] = {}
    ignored = []
    for path in files:
        name = path.relative_to(folder).as_posix()
        split = _split_of(name) or ("train" if len(files) == 1 else None)
        if split is None:
            ignored.append(name)
        else:
            found.setdefault(split, []).append(name)
    if "train" not in found:
        raise ValueError(
            f"data=parquet: no training images below {root}: a file's name says what it is of, as "
            "in train-00000-of-00001.parquet, test.parquet or unlabeled-0.parquet; set data.root=… "
            "to the folder that holds them"
        )
    if ignored:
        shown = ", ".join(ignored[:5])
        log.warning("%s: %s: not used: their names tell no split", root, shown)
    return {split: found[split] for split in SPLITS if split in found}


def _without_empty(folder: Path, found: dict[str, list[str]]) -> dict[str, list[str]]:
    """Leave out splits that have no row, as if their files were not there."""
    rows = {
        split: sum(_open(folder / file).metadata.num_rows for file in files)
        for split, files in found.items()
    }
    return {split: files for split, files in found.items() if rows[split] or split == "train"}


def _split_of(name: str) -> str | None:
    """Return the split that a path names, nearest to its end."""
    for part in reversed(name.lower().split("/")):
        told = {WORDS[word] for word in re.split(r"[^a-z]+", part) if word in WORDS}
        if told:
            return "unlabeled" if "unlabeled" in told else next(it for it in SPLITS if it in told)
    return None


def _read_labels(paths: list[Path], column: str) -> list[Any]:
    labels = [it for path in paths for it in _open(path).read([column])[column].to_pylist()]
    return [None if label != label else label for label in labels]  # NaN: pandas has no other


def _classes(
    columns: dict[str, list[Any]], names: list[str] | None
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Return the class names and by split the `(N,)` int64 labels from 0."""
    found = set().union(*columns.values())
    if names is None or not all(isinstance(label, int) for label in found):
        known = sorted({label for label in columns["train"] if label is not None}, key=_order)
        names = [str(label) for label in known]
    else:
        known = list(range(len(names)))
    labels_of = {label: position for position, label in enumerate(known)}
    for split, labels in columns.items():
        unknown = sorted({str(label) for label in labels if label not in labels_of})
        if unknown:
            what = "has no label" if unknown == ["None"] else "is none of the classes"
            raise ValueError(
                f"data=parquet: {split}: {', '.join(unknown[:5])} {what}; rows without labels "
                f"belong in a file called unlabeled, and classes are those of train ({len(known)})"
            )
    shown = tuple(map(visible, names))
    if len(shown) < 2 or len(set(shown)) < len(shown):
        raise ValueError(f"data=parquet: classes {shown!s:.200}: at least two, of distinct names")
    arrays = {
        split: np.array([labels_of[label] for label in labels], np.int64)
        for split, labels in columns.items()
    }
    return shown, arrays


def _order(label: Any) -> tuple[bool, Any]:
    return isinstance(label, str), label


def _open(path: Path) -> "ParquetFile":
    arrow = _import_parquet()
    try:
        return arrow.ParquetFile(path)
    except (OSError, ValueError) as error:  # pyarrow's own are among these
        raise ValueError(f"{path}: no Parquet file ({error}); copy or write it again") from error


def _import_parquet() -> ModuleType:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError(
            'data=parquet: needs pyarrow, which is not installed: pip install "sslbench[data]"'
        ) from error
    return parquet
