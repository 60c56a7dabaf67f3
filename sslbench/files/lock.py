"""A lock that holds between machines: a file that says who has it, and that its holder touches.

The kernel's locks (`flock`) are one machine's alone on some network file systems, and missing on
others. This one asks of the file system that a file is created once however many try (`O_EXCL`),
that a rename replaces a file at once, and that a file which is opened shows its latest time of
change: NFS from version 3, Lustre, GPFS, CephFS and every local disk do. Clocks are not compared.

filelock's lease is much alike, but is never taken over where two files cannot be exchanged in one
step, which NFS cannot.
"""

import json
import logging
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from sslbench.machine.identity import process_start, this_machine

log = logging.getLogger(__name__)
HEARTBEAT_SECONDS, STALE_SECONDS = 10.0, 60.0
"""A holder on another machine that has not touched its file for so long, as this process has seen
it, is gone; or its machine is, or its network."""
HALF_WRITTEN_SECONDS = 2.0
"""What is no claim for so long does not become one."""
LONG_GONE_SECONDS = 600.0
"""By the clocks, which are not that far apart: for whoever only looks, and looks once."""
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 1.0
"""For whoever only writes down what is asked for, and has the lock for milliseconds."""
LIMIT = 4096
LOST_EXIT_CODE = os.EX_TEMPFAIL
"""Of a process whose lock another machine has taken."""
_seen: dict[str, tuple[tuple[str, int], float]] = {}
"""By lock: the claim and the time of its change, and since when this process has seen them."""


class Held(Exception):
    """Another process has the lock."""


class Claim(NamedTuple):
    """What a lock's file says, `token` empty if it is nothing, and when it was touched last."""

    token: str
    touched_ns: int
    host: str = ""
    machine: str = ""
    pid: int = 0
    started: str = ""
    since: str = ""

    @property
    def is_from_here(self) -> bool:
        return self.machine == this_machine()

    @property
    def is_dead(self) -> bool:
        """Whether it is of a process of this machine that has ended."""
        return self.is_from_here and process_start(self.pid) != self.started


def read_claim(path: Path) -> Claim | None:
    """Return who has a lock, None if nobody has."""
    try:
        with open(path, "rb", opener=_at_once) as file:
            touched, content = os.fstat(file.fileno()).st_mtime_ns, file.read(LIMIT)
    except FileNotFoundError:
        return None
    try:
        claim = Claim(touched_ns=touched, **json.loads(content))
        is_whole = re.fullmatch("[0-9a-f]+", claim.token) and isinstance(claim.pid, int)
    except (ValueError, TypeError):  # half written, damaged or of an older version
        is_whole = False
    return claim if is_whole else Claim("", touched)


def _at_once(path: str, flags: int) -> int:
    """Open a file, or a pipe that stands in its place, and wait for nobody."""
    return os.open(path, flags | os.O_NONBLOCK)


def is_held(path: Path) -> bool:
    """Whether a process that lives has a lock; of one elsewhere it may be known only later."""
    claim = read_claim(path)
    if claim is None or _is_stale(path, claim):
        return False
    limit = LONG_GONE_SECONDS if claim.token else HALF_WRITTEN_SECONDS
    return claim.is_from_here or time.time() - claim.touched_ns / 1e9 < limit


def _is_stale(path: Path, claim: Claim) -> bool:
    if claim.is_from_here:
        return claim.is_dead
    now, found = time.monotonic(), (claim.token, claim.touched_ns)
    known, since = _seen.get(str(path), (None, now))
    if known != found:
        _seen[str(path)], since = (found, now), now
    return now - since >= (STALE_SECONDS if claim.token else HALF_WRITTEN_SECONDS)


@contextmanager
def alone(path: Path, doing: str) -> Iterator[None]:
    """Hold a lock, when it is free; whoever has to wait says what for.

    Args:
        doing: What is done under it, as in `downloads STL-10`.
    """
    lock, is_told = Lock(path), False
    while True:
        try:
            lock.acquire()
            break
        except Held as held:
            if not is_told:
                log.info("waiting for another that %s: %s", doing, held)
                is_told = True
    try:
        yield
    finally:
        lock.release()


class Lock:
    """One process's claim to a lock. It is given back, or found stale: by a dead process at once.

    A process that was halted for so long that another machine has taken the lock leaves, as soon as
    it notices.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = secrets.token_hex(8)
        self._over = threading.Event()

    def acquire(self, *, outlast: bool = False) -> None:
        """Take the lock, from a holder that is gone too.

        Args:
            outlast: Wait for a holder elsewhere until it shows that it lives, or is stale.

        Raises:
            Held: If another process has it.
        """
        began, first = time.monotonic(), None
        while not self._create():
            claim = read_claim(self._path)
            if claim is None:  # it was given back
                continue
            if _is_stale(self._path, claim):
                if self._take_over(claim):
                    break
            elif claim.token:
                first = first or claim
                waits = outlast and not claim.is_from_here and claim == first
                if not waits and time.monotonic() - began > PATIENCE_SECONDS:
                    raise Held(f"process {claim.pid} on {claim.host}, since {claim.since}")
            time.sleep(POLL_SECONDS)
        threading.Thread(target=self._beat, name="lock", daemon=True).start()

    def release(self) -> None:
        """Give the lock back, unless another has taken it meanwhile."""
        self._over.set()
        with suppress(FileExistsError, FileNotFoundError):  # it is taken over, or all was deleted
            self._replace(self._token, None)

    def _create(self) -> bool:
        try:
            with self._path.open("xb") as file:
                file.write(self._claim())
        except FileExistsError:
            return False
        return True

    def _claim(self) -> bytes:
        who = {"host": socket.gethostname(), "machine": this_machine(), "pid": os.getpid()}
        since = datetime.now(UTC).isoformat(timespec="seconds")
        when = {"started": process_start(os.getpid()), "since": since}
        return json.dumps(who | when | {"token": self._token}).encode() + b"\n"

    def _take_over(self, stale: Claim) -> bool:
        """Take the lock from a claim that is stale, unless it is not there any more."""
        try:
            return self._replace(stale.token, self._claim())
        except FileExistsError as error:  # another does so now, or has died of it
            right = Path(error.filename)
            with suppress(FileNotFoundError):
                found = Claim("", right.stat().st_mtime_ns, host="right")
                if _is_stale(right, found._replace(token=stale.token)):
                    right.unlink()
            return False

    def _replace(self, token: str, content: bytes | None) -> bool:
        """Put another claim, or none, in the place of one; True unless that is not there any more.

        Whoever does so creates a file that is named after it, which only one can.

        Raises:
            FileExistsError: If another process does so.
        """
        right = self._path.with_name(f"{self._path.name}.{token}")
        right.touch(exist_ok=False)
        try:
            claim = read_claim(self._path)
            if claim is None or claim.token != token:
                return False
            if content is None:
                self._path.unlink()
            else:
                right.write_bytes(content)
                right.replace(self._path)
            return True
        finally:
            right.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):  # the disk does not answer: later
                claim = read_claim(self._path)
                if claim is None or claim.token != self._token:
                    self._leave(claim)
                os.utime(self._path)

    def _leave(self, claim: Claim | None) -> None:
        """End this process: what is another's now is not to be written to."""
        if self._over.is_set():
            return
        by = f"process {claim.pid} on {claim.host} has taken it" if claim else "it was deleted"
        log.error("%s: %s, as this process gave no sign of life; it leaves", self._path, by)
        os._exit(LOST_EXIT_CODE)
