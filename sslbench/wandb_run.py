"""A run on Weights & Biases: online, offline or not at all, and never a prompt.

W&B's own environment variables say what the settings leave open.
"""

import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.words.redact import redacted

if TYPE_CHECKING:
    import wandb

    from sslbench.config.settings import Tracking

log = logging.getLogger(__name__)
WANDB_DEFAULTS = {
    "console": "off",
    "disable_git": True,
    "save_code": False,
    "init_timeout": 20,
    "finish_timeout": 60,
    "finish_timeout_raises": True,
}
"""W&B's settings where its variables (WANDB_CONSOLE and so on) say nothing; times in seconds."""
FORGET_SECONDS = 5
MAX_TAG = 64
"""Letters that W&B takes of a tag."""
TROUBLE = (Exception, SystemExit)
"""What a library may raise, at its import too; Ctrl-C is ours."""


def start_run(
    tracking: "Tracking", folder: Path, *, name: str, job_type: str, tags: list[str], **more: Any
) -> "wandb.Run | None":
    """Start or continue a run: offline if the server does not answer, None if that fails too.

    Args:
        more: `id` and `config`, for `wandb.init`.
    """
    _prepare_process(folder)
    modes = tracking_modes(tracking.mode)
    open_to_user = {"project": "sslbench", "name": name, "job_type": job_type, "dir": folder}
    typed = {"project": tracking.project, "entity": tracking.entity, "group": tracking.group}
    tags = [*tags, *filter(None, os.environ.get("WANDB_TAGS", "").split(","))]
    for mode in modes:
        try:
            import wandb

            with _redacted_arguments():
                run = wandb.init(
                    **_unless_in_environment(open_to_user)
                    | {key: value for key, value in typed.items() if value is not None},
                    **more,
                    mode=mode,
                    tags=[tag[:MAX_TAG] for tag in tags],
                    resume="allow",
                    reinit="create_new",
                    settings=wandb.Settings(silent=True, **_unless_in_environment(WANDB_DEFAULTS)),
                )
            run.define_metric("step", hidden=True)
            run.define_metric("*", step_metric="step")
        except TROUBLE as error:
            log.warning("Weights & Biases (%s) did not start: %s", mode, one_line(error))
            if mode != modes[-1]:
                with suppress(*TROUBLE):  # gives the run's id free for the next attempt
                    wandb.teardown()
        else:
            log.info("Weights & Biases: %s", place_of(run))
            return run
    return None


@contextmanager
def _redacted_arguments() -> Iterator[None]:
    """Hide passwords in the command line, which W&B keeps with a run."""
    typed = sys.argv
    sys.argv = [redacted(word) for word in typed]
    try:
        yield
    finally:
        sys.argv = typed


def end_service() -> None:
    """Kill W&B's own process, which does not answer: at exit W&B would wait for it."""
    for children in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # it, or the thread that started it, has ended
            for pid in children.read_text().split():
                if b"wandb-core" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(int(pid), signal.SIGKILL)

    def forget() -> None:
        with suppress(*TROUBLE):
            import wandb

            wandb.teardown()

    thread = threading.Thread(target=forget, daemon=True)
    thread.start()
    thread.join(FORGET_SECONDS)


def one_line(error: BaseException) -> str:
    """Return an error for the log."""
    words = f"{type(error).__name__}: {error}".split()
    return redacted(" ".join(words))[:300]


def place_of(run: "wandb.Run") -> str:
    """Return a run's page, or the command that uploads it."""
    return f"offline; wandb sync {Path(run.dir).parent}" if run.offline else str(run.url)


def _prepare_process(folder: Path) -> None:
    """Keep W&B from waiting, and from filling the terminal where disk or home cannot be written."""
    # Its own error reporting would wait for DNS at exit, up to 12 s without a network.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    if not _has_home():
        for kind in ("CACHE", "CONFIG", "DATA"):
            os.environ.setdefault(f"WANDB_{kind}_DIR", str(folder / "wandb"))
    # It keeps log files of its own: on a full disk each line in them would print a traceback.
    logging.raiseExceptions = False


def _has_home() -> bool:
    """Whether there is a home that files can be made in, which rights alone do not tell."""
    try:
        with tempfile.TemporaryFile(dir=Path.home()):
            return True
    except (OSError, RuntimeError):  # that of a user whom the system does not know
        return False


def tracking_modes(mode: str) -> list[str]:
    """Return the modes to try in turn, for `tracking.mode`; none where W&B is disabled or broken.

    `auto` is WANDB_MODE where it is set, else online where a key is configured, else offline.
    Without a key nothing is ever online: W&B would prompt for one.
    """
    chosen = os.environ.get("WANDB_MODE") or "auto" if mode == "auto" else mode
    if chosen == "disabled":
        return []
    try:
        import wandb  # noqa: F401
    except TROUBLE as error:
        log.warning("Weights & Biases cannot be imported: %s", one_line(error))
        return []
    if chosen in ("offline", "dryrun"):
        return ["offline"]
    try:
        if has_key():
            return ["online" if chosen == "auto" else chosen, "offline"]
        problem = "no key is configured (wandb login)"
    except TROUBLE as error:  # of any kind: W&B reads files of its own
        chosen, problem = "online", one_line(error)
    if chosen != "auto":
        log.warning("Weights & Biases: %s; recording offline", problem)
    return ["offline"]


def has_key() -> bool:
    """Whether W&B finds a key of its server, without asking for one and without the network.

    Raises:
        ValueError: If what it finds is no key, or W&B cannot be imported.
    """
    try:
        import wandb
    except TROUBLE as error:
        raise ValueError(f"Weights & Biases cannot be imported: {one_line(error)}") from error

    # Unless silent it looks up whose key it is; in other modes than online it does not look.
    wandb.setup(wandb.Settings(silent=True, mode="online"))
    try:
        return wandb.login(prompt=False, verify=False)
    except wandb.errors.AuthenticationError as error:
        raise ValueError(error) from error


def _unless_in_environment(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if f"WANDB_{key.upper()}" not in os.environ}
