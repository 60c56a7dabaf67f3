"""Cells that are killed: functions that run in a process of their own."""

import multiprocessing
import os
import signal
from pathlib import Path

from cells import TINY, compose_settings

from sslbench import atomic as files
from sslbench.cell import checkpoint
from sslbench.cell.folder import CellFolder
from sslbench.cell.identity import cell_id
from sslbench.engine import loop
from sslbench.sweep.job import train_cell
from sslbench.sweep.preflight import Preflight


def tiny_cell(outputs, *overrides):
    settings = compose_settings(*TINY, f"outputs={outputs}", *overrides)
    settings = Preflight().make_concrete(settings)
    return settings, CellFolder(outputs, cell_id(settings))


def train(outputs, *overrides):
    settings, cell = tiny_cell(outputs, *overrides)
    with cell.locked():
        return train_cell(settings, cell, show_bar=False)


def in_process(function, *arguments):
    """Run a function in a fresh process and return its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sslbench.run"])
    process = context.Process(target=function, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def kill_at_step(step, outputs, *overrides):
    """Train, and die by SIGKILL right before a step."""
    take_step = loop._Fit.take_step

    def dying(self, number):
        if number == step:
            os.kill(os.getpid(), signal.SIGKILL)
        take_step(self, number)

    loop._Fit.take_step = dying
    train(outputs, *overrides)


def kill_in_checkpoint(number, name, outputs, *overrides):
    """Train, and die by SIGKILL when half of the `number`-th file called `name` is written."""
    replace_file = files.replace_file
    seen = 0

    def dying(path: Path, write):
        nonlocal seen
        seen += path.name == name
        if path.name == name and seen == number:
            path.with_name(f".{path.name}.{os.getpid()}.tmp").write_bytes(b"half a checkpoint")
            os.kill(os.getpid(), signal.SIGKILL)
        replace_file(path, write)

    checkpoint.replace_file = dying
    train(outputs, *overrides)


def signal_at_step(step, signal_number, outputs, *overrides):
    """Train, and get a signal during a step."""
    take_step = loop._Fit.take_step

    def interrupted(self, number):
        if number == step:
            os.kill(os.getpid(), signal_number)
        take_step(self, number)

    loop._Fit.take_step = interrupted
    train(outputs, *overrides)
