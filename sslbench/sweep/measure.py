"""How much work encoders are and how fast this machine is, in a process beside the planning.

Importing torch and torchvision takes as long as all the rest of a dry run. Questions and answers
are lines of JSON: an encoder of one's own may print, exit or crash.
"""

import json
import os
import sys
import timeit
from contextlib import suppress
from functools import cache
from statistics import median
from typing import Any, Self

from sslbench.config.as_json import model_from_json
from sslbench.engine.work import PASSES_PER_STEP, count_work
from sslbench.machine.processes import kill_with_parent, start_module


class Measurements:
    """Asks the process, which lives as long as the context."""

    def __enter__(self) -> Self:
        self._process = start_module(__name__, "-W", "ignore", text=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()

    def ask(self, question: str, about: Any) -> dict[str, Any]:
        """Return what a function of `ANSWERS` returns.

        Raises:
            ValueError: If it raises something, or ends the process.
        """
        with suppress(BrokenPipeError):  # and there is no answer
            print(json.dumps([question, about]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        found = json.loads(answer or '{"error": "the process that measures has died"}')
        if "error" in found:
            raise ValueError(found["error"])
        return found


def work_of_model(settings: dict[str, Any]) -> dict[str, int]:
    """Count an encoder's work on images of a `side`; `settings` are JSON values, as the model's."""
    return count_work(model_from_json(settings), settings["side"])._asdict()


def measure_rate(precision: str) -> dict[str, Any]:
    """Measure `flops_per_second` of a residual network's typical layer, forward and backward.

    `of_gpu`, or of one core: threads beside another program wait for each other, many times longer
    than what they wait for takes. `precision` becomes `bf16` or `fp32`.
    """
    import torch
    import torchvision.models  # noqa: F401  most encoders need it soon
    from torch import nn

    from sslbench.engine import device as hardware

    hardware.keep_freed_memory()
    hardware.use_threads(1)
    device = hardware.choose_device("auto")
    precision = hardware.choose_precision(precision, device)
    channels, side, num_images = 64, 24, 64
    layer = nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
    ).to(device, memory_format=torch.channels_last)
    images = torch.randn(num_images, channels, side, side, device=device)
    images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
    in_precision = hardware.autocast(precision, device)

    def step() -> None:
        with in_precision():
            loss = layer(images).float().sum()
        loss.backward()

        images.grad.sum().item()  # waits for the device

    seconds = median(timeit.repeat(step, number=1, repeat=6)[1:])
    rate = PASSES_PER_STEP * 2 * 9 * channels**2 * side**2 * num_images / seconds
    return {"flops_per_second": rate, "of_gpu": device.type == "cuda", "precision": precision}


ANSWERS = {"work": work_of_model, "rate": measure_rate}


@cache
def _answer(line: str) -> str:
    question, about = json.loads(line)
    try:
        return json.dumps(ANSWERS[question](about))
    except Exception as error:
        return json.dumps({"error": f"{type(error).__name__}: {error}"})


def main() -> None:
    """Answer questions until there are no more."""
    kill_with_parent()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an encoder prints is no answer
    _answer(json.dumps(["rate", "auto"]))  # to have it by the time it is asked for
    for line in sys.stdin:
        print(_answer(line.strip()), file=answers, flush=True)


if __name__ == "__main__":
    main()
