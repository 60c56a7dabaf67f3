"""STL-10 itself (Coates, Lee and Ng 2011): where its files come from, and that they are whole."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from sslbench.data.download import download, md5, unpack
from sslbench.data.layout import FOLDER, IMAGE_BYTES
from sslbench.files import write_json

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Official:
    """What the official archive and its files must be."""

    archive_md5: str
    files: dict[str, tuple[int, str]]
    """Name -> size in bytes and MD5."""
    others: tuple[str, ...] = ("class_names.txt", "fold_indices.txt")


STL10 = Official(
    archive_md5="91f7769df0f17e558f3565bffb0c7dfb",
    files={
        "train_X.bin": (5_000 * IMAGE_BYTES, "918c2871b30a85fa023e0c44e0bee87f"),
        "train_y.bin": (5_000, "5a34089d4802c674881badbb80307741"),
        "test_X.bin": (8_000 * IMAGE_BYTES, "7f263ba9f9e0b06b93213547f721ac82"),
        "test_y.bin": (8_000, "36f9794fa4beb8a2c72628de14fa638e"),
        "unlabeled_X.bin": (100_000 * IMAGE_BYTES, "5242ba1fed5e4be9e1e742405eb56ca4"),
    },
)


def is_present(root: Path) -> bool:
    """Whether there is anything that claims to be STL-10."""
    return (root / FOLDER).exists()


def fetch(root: Path, url: str, official: Official = STL10) -> None:
    """Download and unpack STL-10 below `root`; the archive is deleted afterwards.

    Raises:
        Unreachable: If the server does not answer.
        ValueError: If what came is not STL-10.
    """
    archive = root / "stl10_binary.tar.gz"
    download(url, archive, official.archive_md5)
    log.info("unpacking %s", archive)
    unpack(archive, root / FOLDER, [*official.files, *official.others])
    archive.unlink()


def verify(root: Path, official: Official = STL10) -> None:
    """Check that the files under `root` are STL-10's: sizes always, MD5s once.

    What was checked is remembered beside the files by size and time of change.

    Raises:
        ValueError: If a file is missing or another one.
    """
    stamp_path = root / FOLDER / ".verified.json"
    stamp = {}
    for name, (size, _) in official.files.items():
        path = root / FOLDER / name
        if not path.is_file():
            raise ValueError(f"{path}: missing; {how_to_get(root)}")
        status = path.stat()
        if status.st_size != size:
            raise ValueError(
                f"{path}: {status.st_size} bytes instead of {size}: truncated or not STL-10; "
                f"delete {root / FOLDER} and get it anew, or use data=layout for another set"
            )
        stamp[name] = [status.st_size, status.st_mtime_ns]
    if stamp_path.exists() and json.loads(stamp_path.read_text()) == stamp:
        return
    log.info("checking the MD5s of %s (once)", root / FOLDER)
    for name, (_, expected) in official.files.items():
        found = md5(root / FOLDER / name)
        if found != expected:
            raise ValueError(
                f"{root / FOLDER / name}: MD5 {found} instead of {expected}: damaged; delete it "
                "and get it anew, or use data=layout for another set"
            )
    try:
        write_json(stamp_path, stamp)
    except OSError:
        log.info("%s cannot be written to: the MD5s are checked again next time", root / FOLDER)


def how_to_get(root: Path, url: str | None = None) -> str:
    """Say where the files go, how to get them elsewhere, and how to do without."""
    return (
        f"STL-10 belongs into {(root / FOLDER).absolute()}. On a machine with network:\n"
        f"    curl -LO {url or 'http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz'}\n"
        f"    md5sum stl10_binary.tar.gz    # {STL10.archive_md5}\n"
        f"    tar -xzf stl10_binary.tar.gz -C {root.absolute()}\n"
        "A mirror: data.url=…; another place: data.root=… or SSLBENCH_DATA; without STL-10: "
        "data=digits"
    )
