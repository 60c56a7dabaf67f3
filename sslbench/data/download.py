"""One large file from a server: resumed where it stopped, checked before it is used."""

import hashlib
import http.client
import logging
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

log = logging.getLogger(__name__)

CONNECT_SECONDS, STALL_SECONDS = 5, 60
CHUNK_BYTES = 1 << 20


class Unavailable(ValueError):
    """The file cannot be had from here; nothing was written."""


def part_of(path: Path) -> Path:
    """Return where a download is kept until it is whole."""
    return path.with_name(f"{path.name}.part")


def file_md5(path: Path) -> str:
    """Return a file's MD5 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def check_available(url: str, num_bytes: int) -> None:
    """Ask the server for the file and read none of it.

    Raises:
        Unavailable: If the server does not answer within seconds, or refuses.
        ValueError: If the address is none, or the file there is of another size.
    """
    if urlsplit(url).scheme not in ("http", "https", "file"):
        raise ValueError(f"data.url={url}: must begin with http://, https:// or file://")
    try:
        with _request(url, 0, CONNECT_SECONDS) as response:
            offered = response.headers.get("Content-Length")
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{url} is not available ({error})") from error
    if offered is not None and int(offered) != num_bytes:
        raise ValueError(
            f"data.url={url}: a file of {int(offered):,} bytes, expected {num_bytes:,}; point "
            "data.url at a copy of the official archive, or leave it out"
        )


def download(url: str, path: Path, num_bytes: int, md5: str) -> None:
    """Download to `path`, going on with what an earlier call left in `path.part`.

    Raises:
        ValueError: If the connection broke, or the file is not the expected one.
    """
    part = part_of(path)
    if _size(part) < num_bytes:
        log.info("downloading %s to %s", url, path)
        try:
            _append(url, part, num_bytes)
            reason = "the server closed the connection"
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
        if _size(part) < num_bytes:
            raise ValueError(
                f"{url}: the download stopped after {_size(part):,} of {num_bytes:,} bytes "
                f"({reason}); the same command resumes it"
            )
    found = file_md5(part)
    if found != md5:
        size = _size(part)
        part.unlink()
        raise ValueError(
            f"{path}: {size:,} bytes with md5 {found}, expected {num_bytes:,} with {md5}; it was "
            "deleted; run again to download it anew, or from a mirror by data.url=…"
        )
    part.replace(path)


def _request(url: str, offset: int, timeout: float) -> Any:
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)


def _append(url: str, part: Path, num_bytes: int) -> None:
    from tqdm import tqdm

    with _request(url, _size(part), STALL_SECONDS) as response:
        resumes = response.status == http.HTTPStatus.PARTIAL_CONTENT
        with (
            part.open("ab" if resumes else "wb") as file,
            tqdm(
                total=num_bytes,
                initial=file.tell(),
                desc=part.stem,
                unit="B",
                unit_scale=True,
                disable=None,  # off where stderr is no terminal
            ) as bar,
        ):
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                bar.update(len(chunk))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
