"""One large file from a server: resumed where it stopped, checked before it is used."""

import hashlib
import http.client
import logging
import threading
import time
import urllib.request
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from sslbench.words.escape import has_invisible
from sslbench.words.redact import is_redacted, redacted

log = logging.getLogger(__name__)

CONNECT_SECONDS, STALL_SECONDS, ANSWER_SECONDS = 5, 60, 60
"""For a connection, for the next bytes, and for all of an answer's head."""
RATE_SECONDS, MIN_BYTES_PER_SECOND = 120, 4096
"""A server that sends less than this in so long a time is given up; the same command goes on."""
CHUNK_BYTES = 1 << 20
SCHEMES = ("http", "https", "file")
PAGES = ("text/html", "application/xhtml+xml")
UNANSWERED = (OSError, http.client.HTTPException, UnicodeError)


class Unavailable(ValueError):
    """The file cannot be had from here; nothing was written."""


class Refused(ValueError):
    """What the server sends is not the file."""


def part_of(path: Path) -> Path:
    """Return where a download is kept until it is whole."""
    return path.with_name(f"{path.name}.part")


def file_md5(path: Path) -> str:
    """Return a file's MD5 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def shown(url: str) -> str:
    """Return an address as it may be printed and stored: without its password, in one line."""
    return redacted("".join(url.split()))


def check_url(url: str) -> None:
    """Refuse what is no address, or one that was stored without its password.

    Raises:
        ValueError: If nothing can be downloaded from there.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in SCHEMES and bool(parts.hostname or parts.scheme == "file")
        usable = usable and parts.port != 0  # which raises where it is no number
    except ValueError:
        usable = False
    if not usable or "".join(url.split()) != url or has_invisible(url) or not url.isascii():
        raise ValueError(
            f"data.url={ascii(shown(url))[1:-1]:.200}: must be an address such as "
            "https://host/stl10_binary.tar.gz (http, https or file; spaces and other letters than "
            "ASCII are written as %20 and so on)"
        )
    if is_redacted(url):
        raise ValueError(
            f"data.url={url}: was stored without its password, so that nothing can be downloaded "
            "from there; type data.url=… in full, once, in a command that begins a cell"
        )


def check_available(url: str, num_bytes: int) -> None:
    """Ask the server for the file and read none of it.

    Raises:
        Unavailable: If the server does not answer within seconds, or refuses.
        ValueError: If the address is none, or the file there is another.
    """
    check_url(url)
    try:
        with _request(url, 0, CONNECT_SECONDS) as response:
            _require_file(response, num_bytes)
    except UNANSWERED as error:
        raise Unavailable(f"{shown(url)} is not available ({_reason(error)})") from None
    except Refused as error:
        raise ValueError(
            f"data.url={shown(url)}: {error}, expected a file of {num_bytes:,} bytes; point "
            "data.url at a copy of the official archive, or leave it out"
        ) from None


def download(url: str, path: Path, num_bytes: int, md5: str) -> None:
    """Download to `path`, going on with what an earlier call left in `path.part`.

    Raises:
        ValueError: If the connection broke, or the file is not the expected one.
    """
    part = part_of(path)
    if _size(part) < num_bytes:
        check_url(url)
        log.info("downloading %s to %s", shown(url), path)
        try:
            _append(url, part, num_bytes)
            reason = "the server closed the connection"
        except (*UNANSWERED, Refused) as error:
            reason = _reason(error)
        if _size(part) < num_bytes:
            raise ValueError(
                f"{shown(url)}: the download stopped after {_size(part):,} of {num_bytes:,} bytes "
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


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to other servers, to no file of this machine, and tells others no password."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme not in ("http", "https"):  # file:// is refused by urllib itself
            raise http.client.HTTPException(f"the server redirects to {shown(newurl):.200}")
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and (new.netloc != old.netloc or new.scheme < old.scheme):
            following.remove_header("Authorization")
        return following


def _request(url: str, offset: int, timeout: float) -> Any:
    """Open an address, at an offset; a name and a password in it become a header.

    In a thread, as a server may send its head one byte at a time, each within the timeout.
    """
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    if at:
        headers["Authorization"] = f"Basic {b64encode(unquote(user).encode()).decode()}"
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=host)), headers=headers)
    answer: list[Any] = []

    def ask() -> None:
        try:
            answer.append(urllib.request.build_opener(_Redirects).open(request, timeout=timeout))
        except Exception as error:
            answer.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if not answer:
        raise TimeoutError(f"no answer within {ANSWER_SECONDS} seconds")
    if isinstance(answer[0], Exception):
        raise answer[0]
    return answer[0]


def _require_file(response: Any, num_bytes: int) -> None:
    """Refuse a page, such as one to log in at, and a file of another size, before it is read.

    Raises:
        Refused: Saying what the server sends.
    """
    kind = response.headers.get_content_type()
    if kind in PAGES:
        raise Refused(f"a page ({kind}), perhaps to log in at or an error")
    offered = response.headers.get("Content-Length")
    if offered is None:
        return
    if not (offered.isascii() and offered.isdigit() and len(offered) < 20):
        raise Refused(f"a Content-Length of {offered!a:.50}")
    if int(offered) != num_bytes:
        raise Refused(f"a file of {int(offered):,} bytes")


def _append(url: str, part: Path, num_bytes: int) -> None:
    """Write what the server sends behind what is there, at most up to `num_bytes`.

    Raises:
        Refused: If it sends something else, or next to nothing.
    """
    from tqdm import tqdm

    with _request(url, _size(part), STALL_SECONDS) as response:
        resumes = response.status == http.HTTPStatus.PARTIAL_CONTENT
        start = _size(part) if resumes else 0
        _require_file(response, num_bytes - start)
        sent = response.headers.get("Content-Range") or f"bytes {start}-"
        if resumes and not sent.startswith(f"bytes {start}-"):
            raise Refused("the server sends another part than was asked for")
        with (
            part.open("ab" if resumes else "wb") as file,
            tqdm(
                total=num_bytes,
                initial=start,
                desc=part.stem,
                unit="B",
                unit_scale=True,
                disable=None,  # off where stderr is no terminal
            ) as bar,
        ):
            began, size = time.monotonic(), start
            # As much as has come: `read` waits until it has all, however slowly that comes.
            while chunk := response.read1(min(CHUNK_BYTES, num_bytes - file.tell())):
                file.write(chunk)
                bar.update(len(chunk))
                if time.monotonic() - began > RATE_SECONDS:
                    if file.tell() - size < RATE_SECONDS * MIN_BYTES_PER_SECOND:
                        raise Refused(f"less than {MIN_BYTES_PER_SECOND:,} bytes in a second")
                    began, size = time.monotonic(), file.tell()


def _reason(error: Exception) -> str:
    """Return an error in one line. What http.client quotes of an address may be a password."""
    if isinstance(error, http.client.InvalidURL):
        return "the address, or a proxy's in http_proxy or https_proxy, is malformed"
    return redacted(" ".join(str(error).split()) or type(error).__name__)[:300]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
