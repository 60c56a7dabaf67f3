"""Writes docs/readings.md: its text from docs/readings.head.md, its tables from records.

python docs/make_readings.py
"""

from pathlib import Path

from sslbench.tables.gather import gather
from sslbench.tables.groups import find_groups
from sslbench.tables.readings import reading_tables
from sslbench.tables.render import to_markdown

HERE = Path(__file__).parent
RECORDS = HERE.parent / "benchmarks" / "stl10_shaped" / "readings"


def main() -> None:
    """Write the page."""
    (HERE / "readings.md").write_text(build_page())


def build_page() -> str:
    """Return the whole page."""
    cells, problems = gather(RECORDS)
    groups, misfits = find_groups(cells)
    tables = reading_tables(groups, problems)
    assert not problems + misfits, problems + misfits
    return "\n".join([(HERE / "readings.head.md").read_text(), *map(to_markdown, tables)])


if __name__ == "__main__":
    main()
