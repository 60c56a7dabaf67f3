"""Where a cell can be watched: Weights & Biases, or nowhere.

Nothing here can fail a cell: trouble is a warning, nothing prompts, and each wait is bounded.
"""

import logging
import netrc
import os
import socket
import threading
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from sslbench.cell.record import DONE, INTERRUPTED, Record
from sslbench.config.settings import Settings, Tracking
from sslbench.evaluate.projection import choose_points, project_tsne, read_embeddings
from sslbench.palette import class_style

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)
INIT_SECONDS, FINISH_SECONDS = 30.0, 60.0
PROBE_SECONDS = 5.0
FLUSH_SECONDS = "1"
MAX_POINTS = 500
"""In the picture and in the table of embeddings; t-SNE of so many takes about a second."""
SHEET = "images.png"
TEST_EMBEDDINGS = "embeddings-test.npz"


class Tracker(Protocol):
    """Takes points of curves, then what came of the cell, then the end."""

    def log(self, point: dict[str, Any]) -> None:
        """Add a point; `step` is among its keys, the others are named `split/metric`."""
        ...

    def results(self, record: Record, folder: Path) -> None:
        """Add what the record says; if the cell is done, pictures and tables from its folder."""
        ...

    def finish(self, exit_code: int) -> None:
        """Close the run and say how it ended; once closed, this does nothing."""
        ...


class NullTracker:
    """Tracks nothing."""

    def log(self, point: dict[str, Any]) -> None:
        pass

    def results(self, record: Record, folder: Path) -> None:
        pass

    def finish(self, exit_code: int) -> None:
        pass


class WandbTracker:
    """A W&B run. At the first trouble it warns, and from then on only tries to close the run."""

    def __init__(self, run: "wandb.Run", *, checkpoints: bool = False) -> None:
        self._run = run
        self._checkpoints = checkpoints
        self._in_order, self._open = True, True

    def log(self, point: dict[str, Any]) -> None:
        self._attempt(lambda: self._run.log(point))

    def results(self, record: Record, folder: Path) -> None:
        self._attempt(lambda: self._run.summary.update(summary_values(record)))
        if record.status == DONE:
            self._attempt(lambda: _log_results(self._run, record, folder))
            if self._checkpoints:
                self._attempt(lambda: _log_checkpoint(self._run, record, folder))

    def finish(self, exit_code: int) -> None:
        if self._open:
            self._open, self._in_order = False, True
            self._attempt(lambda: self._run.finish(exit_code=exit_code))

    def _attempt(self, action: Callable[[], object]) -> None:
        if not self._in_order:
            return
        try:
            action()
        except Exception as error:
            log.warning("Weights & Biases failed, going on without it: %r", error)
            self._in_order = False


class StartingTracker:
    """A tracker that starts in a thread of its own, while a cell's data and networks are made.

    Whoever has something to track waits until it has started.
    """

    def __init__(self, start: Callable[[], Tracker]) -> None:
        pool = ThreadPoolExecutor(1)
        self._started = pool.submit(start)
        pool.shutdown(wait=False)

    def log(self, point: dict[str, Any]) -> None:
        self._started.result().log(point)

    def results(self, record: Record, folder: Path) -> None:
        self._started.result().results(record, folder)

    def finish(self, exit_code: int) -> None:
        self._started.result().finish(exit_code)


def exit_code(record: Record) -> int:
    """Return what W&B shows a cell's end by: 0 finished, others failed, 128 + n by signal n."""
    if record.status == INTERRUPTED:
        return 128 + record.error["signal"]
    return 0 if record.status == DONE else 1


def summary_values(record: Record) -> dict[str, Any]:
    """Return what stands beside the run's name in tables: status, figures, times."""
    values: dict[str, Any] = {"status": record.status}
    for split, figures in record.results.items():
        if isinstance(figures, dict):
            values |= {
                f"{split}/{name}": figure
                for name, figure in figures.items()
                if isinstance(figure, int | float)
            }
        else:
            values[split] = figures
    values |= {
        name: value for name, value in record.runtime.items() if isinstance(value, int | float)
    }
    if record.error is not None:
        values["error"] = f"{record.error['type']}: {record.error['message']}"
    return values


def _log_results(run: "wandb.Run", record: Record, folder: Path) -> None:
    import wandb

    names = record.data["class_names"]
    embeddings = read_embeddings(folder / TEST_EMBEDDINGS)
    with np.load(folder / TEST_EMBEDDINGS) as file:
        predictions = file["logits"].argmax(1)
    chosen = choose_points(embeddings.labels, MAX_POINTS)
    places = project_tsne(embeddings.values[chosen])
    labels, guesses = embeddings.labels[chosen], predictions[chosen]
    table = wandb.Table(columns=["image", "x", "y", "label", "prediction", "correct"])
    for index, (x, y), label, guess in zip(
        embeddings.indices[chosen], places, labels, guesses, strict=True
    ):
        table.add_data(
            int(index), float(x), float(y), names[label], names[guess], bool(label == guess)
        )
    run.log(
        {
            "step": record.results["steps"],
            "confusion_matrix": wandb.plot.confusion_matrix(
                y_true=embeddings.labels.tolist(),
                preds=predictions.tolist(),
                class_names=names,
                title="Confusion matrix (test)",
            ),
            "images": wandb.Image(str(folder / SHEET)),
            "embeddings/tsne": wandb.Image(draw_embeddings(places, labels, names)),
            "embeddings/table": table,
        }
    )


def draw_embeddings(
    coordinates: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> Image.Image:
    """Draw `(n, 2)` coordinates in the colours of their `(n,)` labels, with a legend."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot(xticks=[], yticks=[], title="Test embeddings (t-SNE)")
    for label, name in enumerate(names):
        color, marker = class_style(label)
        points = coordinates[labels == label]
        axes.scatter(*points.T, s=12, color=color, marker=marker, label=name)
    figure.legend(loc="outside right upper", frameon=False, markerscale=2)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _log_checkpoint(run: "wandb.Run", record: Record, folder: Path) -> None:
    import wandb

    artifact = wandb.Artifact(record.cell, type="model", metadata=summary_values(record))
    artifact.add_file(str(folder / record.results["weights"]))
    run.log_artifact(artifact)


def start_tracker(
    settings: Settings, cell_id: str, folder: Path, config: dict[str, Any]
) -> Tracker:
    """Start tracking a cell under its own id, so that running it again continues the same run."""
    tracking = settings.tracking
    if tracking.name == "off":
        return NullTracker()
    parts = [settings.method.name, settings.model.name]
    parts += [settings.ratio.name] if settings.method.uses_pool else []
    run = start_run(
        tracking,
        folder,
        id=cell_id,
        config=config | {"cell": cell_id},
        name=" ".join([*parts, f"seed {settings.seed}"]),
        job_type=settings.method.name,
        tags=[*parts[1:], settings.data.name, f"seed {settings.seed}"],
    )
    if run is None:
        return NullTracker()
    return WandbTracker(run, checkpoints=tracking.checkpoints)


def start_run(tracking: Tracking, folder: Path, **identity: Any) -> "wandb.Run | None":
    """Start or continue the run `id`; None, and a warning, where W&B does not start."""
    # W&B's own error reporting would wait for DNS at exit, up to 12 s without a network.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    # What is not yet written is lost when the process is killed; W&B's own choice is 15 s.
    os.environ.setdefault("WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL", FLUSH_SECONDS)
    mode = tracking_mode(tracking)
    try:
        import wandb

        run = wandb.init(
            mode=mode,
            project=tracking.project,
            entity=tracking.entity,
            group=tracking.group,
            resume="allow",
            dir=folder,
            reinit="finish_previous",
            settings=wandb.Settings(
                silent=True,
                console="off",
                x_disable_stats=True,
                disable_git=True,
                save_code=False,
                init_timeout=INIT_SECONDS,
                finish_timeout=FINISH_SECONDS,
            ),
            **identity,
        )
        run.define_metric("step", hidden=True)
        run.define_metric("*", step_metric="step")
    except Exception as error:
        log.warning("Weights & Biases (%s) did not start, going on without it: %r", mode, error)
        return None
    return run


def tracking_mode(tracking: Tracking) -> str:
    """Turn `auto` into `online` where a key is configured and the server answers, else `offline`.

    WANDB_MODE wins over `auto`. Without a key nothing is ever online: W&B would prompt for one.
    """
    mode = os.environ.get("WANDB_MODE", "auto") if tracking.mode == "auto" else tracking.mode
    if mode not in ("auto", "online"):
        return mode
    if not has_key():
        if mode == "online":
            log.warning("Weights & Biases: no key is configured (wandb login); recording offline")
        return "offline"
    if mode == "auto" and not _server_answers():
        log.warning("Weights & Biases: %s does not answer; recording offline", _server())
        return "offline"
    return "online"


def _server() -> str:
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")


def has_key() -> bool:
    """Whether W&B finds a key without asking for one."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    try:
        hosts = netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError):
        return False
    return urlsplit(_server()).netloc in hosts


def _server_answers() -> bool:
    """Whether a connection can be made; behind a proxy that is left for W&B to find out."""
    if urllib.request.getproxies().keys() & {"http", "https", "all"}:
        return True
    server = urlsplit(_server())
    port = server.port or (80 if server.scheme == "http" else 443)
    answered = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((server.hostname, port), timeout=PROBE_SECONDS).close()
        except OSError:
            return
        answered.set()

    # In a thread of its own, since looking up a name has no time limit.
    attempt = threading.Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(PROBE_SECONDS)
    return answered.is_set()
