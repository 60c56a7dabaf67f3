"""Any data set in STL-10's binary layout: memory-mapped, and checked before it is used."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslbench.config.data import LARGEST_SIDE, SMALLEST_SIDE, Data
from sslbench.config.parts import IMAGE_SIDE
from sslbench.data.content import memory_of, read_content
from sslbench.files.small import MIB, read_small
from sslbench.words.escape import has_invisible

FOLDER = "stl10_binary"
IMAGE_SHAPE = (3, IMAGE_SIDE, IMAGE_SIDE)
IMAGE_BYTES = 3 * IMAGE_SIDE * IMAGE_SIDE
"""Of STL-10."""
CLASS_NAMES, FOLDS = "class_names.txt", "fold_indices.txt"
IMAGE_FILES = ("train_X.bin", "test_X.bin", "unlabeled_X.bin")
LABEL_FILES = ("train_y.bin", "test_y.bin")
UNLABELED_FILE = IMAGE_FILES[2]
REQUIRED_FILES = (*IMAGE_FILES[:2], *LABEL_FILES, CLASS_NAMES)
NUM_FOLDS = 10
MAX_LABEL_BYTES, MAX_NAMES_BYTES = 256 * MIB, MIB
INDEX_BYTES = 12
"""At most, of a position in the file of folds."""


@dataclass(frozen=True, eq=False)
class Layout:
    """A data set's files, by name: `train`, and where there are any `test`, `val`, `unlabeled`."""

    class_names: tuple[str, ...]
    images: dict[str, np.ndarray]
    """uint8 `(N, 3, side, side)` on the disk, column by column as in STL-10; at most none."""
    labels: dict[str, np.ndarray]
    """int64 `(N,)` from 0, of all but `unlabeled`."""
    folds: tuple[np.ndarray, ...] | None
    """Ten int64 arrays of positions among the train images; None where the set has no folds."""
    fingerprint: str
    """16 hex digits that follow from every byte of the files."""
    hashes: dict[str, np.ndarray]
    """By file, `(N,)` uint64: images with the same pixels have the same."""
    notes: tuple[str, ...] = ()
    """What a reader of results must know of it."""

    @property
    def side(self) -> int:
        return self.images["train"].shape[-1]

    @property
    def val_from(self) -> str:
        """The file that validation images come from if nothing else is asked for."""
        return next(name for name in ("val", "test", "train") if name in self.labels)


@dataclass
class LayoutData(Data):
    """Any set in STL-10's binary layout, of images of `side` pixels, below `root`."""

    kind: str = "layout"

    def open(self, outputs: Path) -> Layout:
        folder = Path(self.root) / FOLDER
        remedy = "write or copy it again, or set data.root=… to the folder that holds "
        remedy += f"{FOLDER}/ (now {self.root})"
        layout = read_layout(folder, remedy, memory_of(outputs), self.side)
        self.require(layout.fingerprint, folder)
        return layout


def read_layout(folder: Path, remedy: str, memory: Path, side: int = IMAGE_SIDE) -> Layout:
    """Open `folder`, which holds `train_X.bin` and the others.

    Args:
        folder: `<root>/stl10_binary`.
        remedy: The way out of a damaged file, for the error message.
        memory: Where hashes of files are remembered.
        side: Of the images, in pixels.

    Raises:
        ValueError: If a file is missing or not what the layout says.
    """
    for name in REQUIRED_FILES:
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name}: missing; {remedy}")
    class_names = _read_class_names(folder / CLASS_NAMES, remedy)
    images = {name: _map_images(folder / name, remedy, side) for name in IMAGE_FILES}
    labels = {name: _read_labels(folder / name, len(class_names), remedy) for name in LABEL_FILES}
    for of_images, of_labels in zip(IMAGE_FILES, LABEL_FILES, strict=False):  # none: unlabelled
        num_images, num_labels = len(images[of_images]), len(labels[of_labels])
        if num_labels != num_images:
            raise ValueError(
                f"{folder / of_labels}: {num_labels:,} labels, expected {num_images:,}, one for "
                f"each image in {of_images}; {remedy}"
            )
    folds = _read_folds(folder / FOLDS, len(images[IMAGE_FILES[0]]), remedy)
    filled = [name for name in IMAGE_FILES if len(images[name])]
    contents = {name: read_content(folder / name, 3 * side**2, memory) for name in filled}
    digests = {name: content.digest for name, content in contents.items()}
    hashes = {name: content.pieces for name, content in contents.items()}
    return Layout(
        class_names,
        {_split_of(name): each for name, each in images.items()},
        {_split_of(name): each for name, each in labels.items()},
        folds,
        _fingerprint(folder, digests),
        {_split_of(name): hashes.get(name, np.empty(0, np.uint64)) for name in images},
    )


def _split_of(name: str) -> str:
    return name.partition("_")[0]


def write_layout(
    folder: Path,
    class_names: tuple[str, ...],
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    unlabeled_images: np.ndarray,
) -> None:
    """Write a data set; `train` and `test` are uint8 `(N, 3, 96, 96)` and `(N,)` labels from 0."""
    folder.mkdir(parents=True)
    (folder / CLASS_NAMES).write_text("".join(f"{name}\n" for name in class_names))
    images = (train[0], test[0], unlabeled_images)
    for name, images_of_file in zip(IMAGE_FILES, images, strict=True):
        images_of_file.swapaxes(2, 3).tofile(folder / name)
    for name, labels in zip(LABEL_FILES, (train[1], test[1]), strict=True):
        (labels + 1).astype(np.uint8).tofile(folder / name)


def _fingerprint(folder: Path, image_files: dict[str, str]) -> str:
    """Hash the files' contents to 16 hex digits; those of images are given by their digests."""
    digests = dict(image_files)
    for name in (*LABEL_FILES, CLASS_NAMES, FOLDS):
        if name != FOLDS or (folder / name).exists():
            digests[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    lines = [f"{name} {digest}\n" for name, digest in sorted(digests.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def _map_images(path: Path, remedy: str, side: int) -> np.ndarray:
    """Map a file of images; one of unlabelled images may be missing or empty."""
    size, of_image = path.stat().st_size if path.exists() else 0, 3 * side**2
    if size == 0 and _split_of(path.name) != "unlabeled":
        raise ValueError(f"{path}: empty, expected images of {of_image:,} bytes; {remedy}")
    if size % of_image:
        raise ValueError(
            f"{path}: truncated: {size:,} bytes, expected a multiple of {of_image:,}, which is an "
            f"image of {side}x{side} pixels ({_sides(size)}); {remedy}"
        )
    return map_images(path, size // of_image, side)


def map_images(path: Path, num_images: int, side: int) -> np.ndarray:
    """Map a file of uint8 images, whose columns come first, as `(num_images, 3, side, side)`."""
    if num_images == 0:  # which cannot be mapped
        return np.empty((0, 3, side, side), np.uint8)
    shape = (num_images, 3, side, side)
    return np.memmap(path, np.uint8, mode="r", shape=shape).swapaxes(2, 3)


def _sides(size: int) -> str:
    usual = [
        side for side in range(SMALLEST_SIDE, LARGEST_SIDE + 1, 32) if size % (3 * side**2) == 0
    ]
    others = ", ".join(f"data.side={side}" for side in usual)
    return f"its size fits {others}" if others else "and none of the usual others"


def _read(path: Path, limit: int, remedy: str) -> bytes:
    try:
        return read_small(path, limit)
    except ValueError as error:
        raise ValueError(f"{error}; {remedy}") from error


def _read_labels(path: Path, num_classes: int, remedy: str) -> np.ndarray:
    labels = np.frombuffer(_read(path, MAX_LABEL_BYTES, remedy), np.uint8)
    wrong = (labels < 1) | (labels > num_classes)
    if wrong.any():
        position = int(wrong.argmax())
        raise ValueError(
            f"{path}: label {labels[position]} at position {position}, expected 1 to "
            f"{num_classes}, the number of lines in {CLASS_NAMES}; {remedy}"
        )
    return labels.astype(np.int64) - 1


def _read_class_names(path: Path, remedy: str) -> tuple[str, ...]:
    try:
        text = _read(path, MAX_NAMES_BYTES, remedy).decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error}); {remedy}") from error
    names = [name.strip(" \t") for name in text.removesuffix("\n").split("\n")]
    for number, name in enumerate(names, start=1):
        if has_invisible(name) or "\t" in name:
            raise ValueError(
                f"{path}: line {number}, {name!a:.99}, holds control characters, or some that "
                f"turn the text around; {remedy}"
            )
    if len(names) < 2 or not all(names) or len(set(names)) < len(names):
        raise ValueError(
            f"{path}: {names!s:.200}, expected one distinct name per line, at least two; {remedy}"
        )
    return tuple(names)


def _read_folds(path: Path, num_train: int, remedy: str) -> tuple[np.ndarray, ...] | None:
    if not path.exists():
        return None
    contents = _read(path, MIB + NUM_FOLDS * num_train * INDEX_BYTES, remedy)
    try:
        lines = contents.decode().splitlines()
        folds = tuple(np.array([int(word) for word in line.split()], np.int64) for line in lines)
    except ValueError as error:  # a UnicodeDecodeError is one
        raise ValueError(f"{path}: expected integers ({error}); {remedy}") from error
    if len(folds) != NUM_FOLDS:
        raise ValueError(f"{path}: {len(folds)} lines, expected {NUM_FOLDS}; {remedy}")
    for number, fold in enumerate(folds, start=1):
        if not fold.size or fold.min() < 0 or fold.max() >= num_train:
            found = f"{fold.min()} to {fold.max()}" if fold.size else "no index"
            raise ValueError(
                f"{path}: line {number} has {found}, expected indices from 0 to {num_train - 1}; "
                f"{remedy}"
            )
        if len(np.unique(fold)) < len(fold):
            raise ValueError(
                f"{path}: line {number} has {len(fold)} indices of {len(np.unique(fold))} images, "
                f"expected each once; {remedy}"
            )
    return folds
