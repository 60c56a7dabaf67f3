"""Download an archive once, go on where a download stopped, and unpack it safely."""

import hashlib
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock
from tqdm import tqdm

CONNECT_SECONDS = 5.0
CHUNK = 1 << 20


class Unreachable(ConnectionError):
    """The server could not be asked; nothing was downloaded."""


def md5(path: Path) -> str:
    """Return a file's MD5 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def download(url: str, path: Path, expected_md5: str) -> None:
    """Download `url` to `path`, through `<path>.part`, which a later call goes on from.

    Raises:
        Unreachable: If the server does not answer, or the folder cannot be written to.
        ValueError: If the connection broke midway, or the MD5 is another one.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.open("ab").close()
    except OSError as error:
        raise Unreachable(f"{path.parent} cannot be written to ({error.strerror})") from error
    with FileLock(path.with_name(f"{path.name}.lock")):
        if path.exists():  # another process was faster
            return
        _fetch(url, part)
        found = md5(part)
        if found != expected_md5:
            part.unlink()
            raise ValueError(
                f"{url}: MD5 {found} instead of {expected_md5}; the partial file was deleted: try "
                "again, or another mirror by data.url=…"
            )
        part.replace(path)


def _fetch(url: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=CONNECT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to fetch
            return
        raise Unreachable(f"{url}: the server answered {error.code} {error.reason}") from error
    except (OSError, ValueError) as error:
        raise Unreachable(f"{url}: {getattr(error, 'reason', error)}") from error
    with response:
        if have and getattr(response, "status", None) != 206:  # the server starts anew
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        try:
            with (
                part.open("ab" if have else "wb") as file,
                tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem) as bar,
            ):
                while chunk := response.read(CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
        except OSError as error:
            raise ValueError(f"{url}: {error}; the same command goes on from there") from error
    if total is not None and part.stat().st_size < total:
        raise ValueError(
            f"{url}: the connection ended after {part.stat().st_size} of {total} bytes; the same "
            "command goes on from there"
        )


def unpack(archive: Path, folder: Path, names: Iterable[str]) -> None:
    """Unpack the named members of a tar archive into `folder`, whole or not at all.

    Raises:
        ValueError: If a member is missing, or the archive is damaged or not safe to unpack.
    """
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with tarfile.open(archive) as tar:
            for name in names:
                member = tar.getmember(f"{folder.name}/{name}")
                if not member.isfile():
                    raise ValueError(f"{archive}: {member.name} is no plain file")
                tar.extract(member, temporary, filter="data")
        folder.mkdir(exist_ok=True)
        for path in (temporary / folder.name).iterdir():
            path.replace(folder / path.name)
    except (tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise ValueError(f"{archive}: cannot be unpacked ({error}); delete it") from error
    finally:
        shutil.rmtree(temporary)
