"""STL-10's archive: downloaded, resumed, checked and unpacked, or why not."""

import gzip
import logging
import shutil
import tarfile
import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from sslbench.data.download import Unavailable, check_available, download, part_of, shown
from sslbench.data.layout import FOLDER, FOLDS, IMAGE_BYTES, REQUIRED_FILES, UNLABELED_FILE
from sslbench.files.lock import alone
from sslbench.files.small import MIB
from sslbench.words.redact import is_redacted

log = logging.getLogger(__name__)

ARCHIVE = "stl10_binary.tar.gz"
MEMBERS = (*REQUIRED_FILES, UNLABELED_FILE)
"""Of STL-10, besides its folds."""
MAX_MEMBERS = 1000
"""Of an archive; STL-10's has nine."""


@dataclass(frozen=True)
class Release:
    """What the files of STL-10 must be."""

    archive_bytes: int = 2_640_397_119
    archive_md5: str = "91f7769df0f17e558f3565bffb0c7dfb"
    num_train: int = 5_000
    num_test: int = 8_000
    num_unlabeled: int = 100_000
    md5s: Mapping[str, str] = field(
        default_factory=lambda: {
            "train_X.bin": "918c2871b30a85fa023e0c44e0bee87f",
            "train_y.bin": "5a34089d4802c674881badbb80307741",
            "test_X.bin": "7f263ba9f9e0b06b93213547f721ac82",
            "test_y.bin": "36f9794fa4beb8a2c72628de14fa638e",
            "unlabeled_X.bin": "5242ba1fed5e4be9e1e742405eb56ca4",
        }
    )

    @property
    def unpacked_bytes(self) -> int:
        """What all files take on the disk; names and folds are small."""
        num_labels = self.num_train + self.num_test
        return (num_labels + self.num_unlabeled) * IMAGE_BYTES + num_labels + MIB


OFFICIAL = Release()


def obtain_stl10(root: Path, url: str, release: Release = OFFICIAL) -> None:
    """Download and unpack STL-10 under `root`, unless it is there; one process at a time.

    An archive that already lies in `root` is used, or completed.

    Raises:
        Unavailable: If there is no way to it from here; nothing was written.
        ValueError: If the download broke off or is not STL-10.
    """
    folder, archive = root / FOLDER, root / ARCHIVE
    if folder.exists():
        return
    if not archive.exists():
        try:
            check_available(url, release.archive_bytes)
        except Unavailable as error:
            if not part_of(archive).exists():
                raise
            raise ValueError(
                f"{part_of(archive)}: this download of STL-10 was begun and cannot go on: {error}; "
                "the same command resumes it; delete the file to do without STL-10"
            ) from error
    with ExitStack() as stack:
        try:
            root.mkdir(parents=True, exist_ok=True)
            stack.enter_context(alone(root / f".{ARCHIVE}.lock", "downloads STL-10"))
        except OSError as error:
            raise Unavailable(f"data.root={root} cannot be written to ({error})") from error
        if folder.exists():
            return
        if archive.exists():
            archive.replace(part_of(archive))  # checked, and completed if need be
        _require_space(root, release)
        download(url, archive, release.archive_bytes, release.archive_md5)
        unpack(archive, root, release.unpacked_bytes)
        archive.unlink()


def unpack(archive: Path, root: Path, max_bytes: int = OFFICIAL.unpacked_bytes) -> None:
    """Unpack the layout's files into `<root>/stl10_binary`, whole or not at all.

    Raises:
        ValueError: If a member of the archive would land elsewhere, a file is missing, or it holds
            more than `max_bytes`.
    """
    names = {f"{FOLDER}/{name}" for name in (*MEMBERS, FOLDS)}
    temporary = root / f".{FOLDER}.unpacking"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    log.info("unpacking %s", archive)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            left = max_bytes
            for number, member in enumerate(tar):
                left -= member.size  # also of what is left out: it is read to get past it
                if left < 0 or number >= MAX_MEMBERS:
                    raise tarfile.TarError(
                        f"it holds more than {max_bytes:,} bytes or {MAX_MEMBERS:,} files"
                    )
                safe = tarfile.data_filter(member, str(temporary))
                if safe.isfile() and safe.name.removeprefix("./") in names:
                    tar.extract(member, temporary, filter="data")
                elif not safe.isdir():
                    log.warning("%s: ignoring %.200a", archive, member.name)
        missing = [name for name in MEMBERS if not (temporary / FOLDER / name).exists()]
        if missing:
            raise ValueError(f"{archive}: no {', '.join(missing)} in it; delete it and run again")
        (temporary / FOLDER).rename(root / FOLDER)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{archive}: not unpacked: {error}; delete it and run again") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def how_to_get(root: Path, url: str, release: Release = OFFICIAL) -> str:
    """Say where the files go and how to bring them there."""
    without = " (with its password, which is not stored: type data.url=… in full)"
    without = without if is_redacted(shown(url)) else ""
    return (
        f"  STL-10 belongs under data.root={root}, as {root / FOLDER}/train_X.bin and so on.\n"
        f"  Run again where the network reaches {shown(url)}{without},\n"
        f"  or download that archive elsewhere ({release.archive_bytes:,} bytes, md5 "
        f"{release.archive_md5})\n"
        f"  and unpack it here: mkdir -p {root} && tar -xzf {ARCHIVE} -C {root}\n"
        "  A mirror is set by data.url=…, another folder by data.root=… or SSLBENCH_DATA."
    )


def _require_space(root: Path, release: Release) -> None:
    part = part_of(root / ARCHIVE)
    downloaded = part.stat().st_size if part.exists() else 0
    needed = release.archive_bytes - downloaded + release.unpacked_bytes
    free = shutil.disk_usage(root).free
    if free < needed:
        raise ValueError(
            f"data.root={root}: {free:,} bytes are free, and STL-10 needs {needed:,} to download "
            "and unpack; pick another folder by data.root=…"
        )
