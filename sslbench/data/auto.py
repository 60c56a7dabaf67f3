"""`data=auto`: STL-10 where it is or can be had, else the built-in stand-in, said loudly."""

import logging
from dataclasses import dataclass, fields
from pathlib import Path

from sslbench.config.data import Data
from sslbench.data.digits import Digits
from sslbench.data.download import Unavailable
from sslbench.data.layout import Layout
from sslbench.data.stl10 import STL10
from sslbench.data.stl10_archive import how_to_get

log = logging.getLogger(__name__)

WARNING = """
{bar}
This is NOT STL-10: data=auto takes the built-in stand-in, handwritten digits.
Its results are NOT comparable with the paper's.
Why: {reason}.
How to get STL-10:
{advice}
{bar}"""


@dataclass
class Auto(STL10):
    """STL-10 if it is under `root` or can be downloaded, else the stand-in."""

    kind: str = "auto"

    def open(self, outputs: Path) -> Layout:
        raise AssertionError("concrete comes first")

    def concrete(self, outputs: Path) -> Data:
        try:
            self.obtain()
        except Unavailable as error:
            advice = how_to_get(Path(self.root), self.url, self.release)
            log.warning("%s", WARNING.format(bar="=" * 80, reason=error, advice=advice))
            return self._as(Digits).concrete(outputs)
        return self._as(STL10).concrete(outputs)

    def undownloaded(self) -> Data:
        return self._as(STL10).undownloaded()

    def _as(self, kind: type[Data]) -> Data:
        """Return the same settings of another kind."""
        theirs = {field.name for field in fields(kind)} - {"kind", "name"}
        return kind(**{name: getattr(self, name) for name in theirs})
