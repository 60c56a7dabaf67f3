"""The transaction log of an offline W&B run: the format of LevelDB, behind a longer header."""

import json
import struct
from dataclasses import dataclass, field

import wandb
from wandb.proto import wandb_internal_pb2

BLOCK_SIZE, HEADER = 32768, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class OfflineRun:
    run: object = None
    history: list = field(default_factory=list)
    summary: dict = field(default_factory=dict)
    config: dict = field(default_factory=dict)
    artifacts: list = field(default_factory=list)
    exit_code: int | None = None


def _records(contents):
    position, parts = HEADER, b""
    while position + HEADER <= len(contents):
        room = BLOCK_SIZE - position % BLOCK_SIZE
        if room < HEADER:
            position += room
            continue
        _, size, kind = struct.unpack("<IHB", contents[position : position + HEADER])
        position += HEADER
        parts = parts if kind in (MIDDLE, LAST) else b""
        parts += contents[position : position + size]
        position += size
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record


def _values(items):
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def read_run(path):
    """Read one `run-*.wandb`."""
    found = OfflineRun()
    for record in _records(path.read_bytes()):
        match record.WhichOneof("record_type"):
            case "run":
                found.run = record.run
                found.config |= _values(record.run.config.update)
            case "history":
                found.history.append(_values(record.history.item))
            case "summary":
                found.summary |= _values(record.summary.update)
            case "config":
                found.config |= _values(record.config.update)
            case "artifact":
                found.artifacts.append((record.artifact.type, record.artifact.name))
            case "exit":
                found.exit_code = record.exit.exit_code
    return found


def read_runs(folder):
    """Read all offline runs below a folder, oldest first, once W&B has written them out."""
    wandb.teardown()
    return [read_run(path) for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]
