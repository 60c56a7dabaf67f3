"""A cell: what is to be trained, under the name that follows from it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sslbench.cell.folder import CellFolder, cells_folder
from sslbench.cell.identity import cell_id
from sslbench.cell.record import SETTINGS, Changes, Record
from sslbench.config.arguments import typed_config_dirs
from sslbench.config.as_json import settings_from_json, settings_to_json
from sslbench.config.settings import Settings
from sslbench.files.checksums import read_sealed, write_sealed


class Cell:
    """Concrete settings, the id that follows from them, and the folder of that name."""

    def __init__(
        self,
        settings: Settings,
        find_changes: Callable[[], Changes],
        config_dirs: Sequence[str] | None = None,
    ) -> None:
        """`config_dirs` are those of the command line if none are given."""
        self.settings = settings
        self.folder = CellFolder(settings.outputs, cell_id(settings))
        self._find_changes = find_changes
        self._config_dirs = typed_config_dirs() if config_dirs is None else list(config_dirs)

    @property
    def id(self) -> str:
        return self.folder.cell_id

    @cached_property
    def request(self) -> dict[str, Any]:
        """What is asked for, as JSON values: the first part of the cell's record."""
        streams = self.settings.method.streams(self.settings.ratio)
        return {
            "settings": settings_to_json(self.settings),
            "changes": self._find_changes(),
            "streams": [stream.of for stream in streams],
            "config_dirs": self._config_dirs,
        }

    def run_with(self, **execution: Any) -> "Cell":
        """Return the same cell, to be run in another way: by settings that are no part of it."""
        settings, changes = replace(self.settings, **execution), lambda: self.request["changes"]
        found = Cell(settings, changes, self._config_dirs)
        assert found.id == self.id, "a setting of what the cell is"
        return found

    def with_threads(self, default: int | None) -> "Cell":
        """Return the same cell with the threads that were typed, or else that it was begun with.

        Others would not lead to the same bits. `default` is for a cell that is not begun.
        """
        threads = self.settings.threads or self.folder.begun_threads() or default
        return self.run_with(threads=threads)

    def record(self, status: str, **more: Any) -> Record:
        """Return a new record of this cell."""
        return Record(cell=self.id, status=status, **self.request, **more)

    def save_request(self) -> None:
        """Write what is asked for to the cell's folder, so that it can be loaded by its id."""
        self.folder.path.mkdir(parents=True, exist_ok=True)
        write_sealed(self.folder.path / SETTINGS, self.request)


def load_cell(outputs: str, cell: str) -> Cell:
    """Load a cell that was begun or planned below `outputs`.

    Raises:
        ValueError: If there is none, or its settings are damaged or of another version.
    """
    path = cells_folder(outputs) / cell / SETTINGS
    if Path(cell).name != cell:
        raise ValueError(f"cell={cell}: give the id of a cell, the name of its folder")
    try:
        contents = read_sealed(path)
        settings = settings_from_json(contents["settings"] | {"outputs": outputs})
        changes = contents["changes"]
        found = Cell(settings, lambda: changes, contents.get("config_dirs", []))
    except FileNotFoundError:
        raise ValueError(f"cell={cell}: there is no such cell below {path.parents[1]}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a cell's settings ({error})") from error
    if found.id != cell:
        raise ValueError(f"{path}: the settings of another cell, {found.id}; ask for that one")
    return found
