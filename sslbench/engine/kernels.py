"""What a step is computed with: torch's own kernels, or compiled ones where the steps pay for it.

Compiled, a step of the paper's encoders takes a quarter less on a GPU and its first one 5 to 45 s
more, 1 to 23 s where the kernels are in the cache. Results differ by rounding; so what a cell was
begun with is what it goes on with.
"""

import logging
import os
from pathlib import Path

import torch
from joblib import hash as hash_of

from sslbench.cell.resume import GO_ON_ALL_THE_SAME, CannotGoOn, Origin, Standing
from sslbench.config.settings import FORCE, Settings
from sslbench.engine.step import EagerStep
from sslbench.engine.training import Training
from sslbench.interfaces import Batch
from sslbench.words.wording import shorten

log = logging.getLogger(__name__)
PLAIN, COMPILED = "plain", "compiled"
PAYS_FROM_STEPS, PAYS_FROM_STEPS_IF_CACHED = 10_000, 3_000


def asked_for(settings: Settings) -> Origin:
    """Return the kernels that a cell must have, as a part of its origin; `auto` asks for none."""
    if settings.compile == "auto":
        return {}
    return {"kernels": COMPILED if settings.compile == "on" else PLAIN}


def use_kernels(training: Training, origin: Origin, standing: Standing) -> None:
    """Compile the steps to come where that is asked for, or pays; `origin` gets what is used.

    Raises:
        CannotGoOn: If a cell that was begun so cannot be compiled now.
    """
    mark = _mark(training.settings, origin)
    if "kernels" not in origin:
        pays_from = PAYS_FROM_STEPS_IF_CACHED if mark.exists() else PAYS_FROM_STEPS
        pays = training.device.type == "cuda" and training.schedule.total_steps >= pays_from
        origin["kernels"] = COMPILED if pays else PLAIN
    if origin["kernels"] == PLAIN or training.schedule.total_steps == standing.step:
        return
    problem = compile_step(training, mark.parent)
    if problem is None:
        mark.touch()
        return
    if standing.state is not None and training.settings.resume != FORCE:
        raise CannotGoOn(f"{problem}; it was begun with compiled kernels; {GO_ON_ALL_THE_SAME}")
    log.warning("%s; it goes on without", problem)
    origin["kernels"] = PLAIN


def _mark(settings: Settings, origin: Origin) -> Path:
    """Return the file that tells that kernels of such a cell lie in the cache that all share."""
    parts = (settings.model, settings.method, settings.augmentation, settings.optimizer)
    of = {name: it for name, it in origin.items() if name not in ("images", "start", "kernels")}
    return Path(settings.outputs) / "cache" / "kernels" / hash_of([parts, of])


def compile_step(training: Training, cache: Path) -> str | None:
    """Compile encoder and loss of the steps to come; say what went wrong, if it did.

    On a GPU their views too. On a CPU these take each operation's own images out, and what follows
    from such numbers is not compiled.
    """
    cache.mkdir(parents=True, exist_ok=True)
    cache.chmod(0o700)  # what lies there is run
    os.environ |= {
        "TORCHINDUCTOR_CACHE_DIR": str(cache.resolve()),
        "TRITON_CACHE_DIR": str(cache.resolve() / "triton"),
        # Kernels are chosen by rule instead of by stopwatch: they are the same each time.
        "TORCHINDUCTOR_DETERMINISTIC": "1",
    }
    step = training.take_step
    eager = step if isinstance(step, EagerStep) else step.eager
    plain = eager.assemble, eager.forward
    torch._logging.set_logs(all=logging.ERROR)  # what it could not do well is nothing to a user
    if training.device.type != "cpu":
        _assemble_first(eager)  # loads the images, which is nothing for a graph
        eager.assemble = torch.compile(training.feed.assemble, dynamic=False)
    eager.forward = torch.compile(training.method, dynamic=False)
    try:
        _try_out(eager)
    except Exception as error:
        eager.assemble, eager.forward = plain
        reason = shorten(str(error).strip().partition("\n")[0])
        return f"the step cannot be compiled ({type(error).__name__}: {reason})"
    return None


def _assemble_first(step: EagerStep) -> Batch:
    return step.assemble(step.feed.to_device(step.feed.draw(0)))


def _try_out(step: EagerStep) -> None:
    """Compute a loss and its gradients, and leave everything as it was."""
    buffers = {name: it.clone() for name, it in step.method.named_buffers()}
    step.method.train()
    try:
        batch = _assemble_first(step)
        with step.autocast():
            loss, _ = step.forward(batch)
        loss.backward()
    finally:
        step.optimizer.zero_grad(set_to_none=True)
        for name, buffer in step.method.named_buffers():
            buffer.copy_(buffers[name])
