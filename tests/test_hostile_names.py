"""Names that others chose are shown as they are, in whatever shows them."""

import re

import pandas as pd
import pytest

from sslbench.tables.contents import Table
from sslbench.tables.groups import slug
from sslbench.tables.render import to_latex, to_markdown, write_csv, write_table
from sslbench.tables.text import to_text
from sslbench.words.escape import markdown, markdown_code, visible, without_formula

FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "=cmd|' /C calc'!A0",
    "-a",
    "+",
    "=",
]


@pytest.mark.parametrize("name", FORMULAS)
def test_a_spreadsheet_gets_no_formula(name, tmp_path):
    frame = pd.DataFrame([[name, -0.5]], index=[name], columns=[name, "number"])
    write_csv(frame, tmp_path / "a.csv")
    found = pd.read_csv(tmp_path / "a.csv", index_col=0)
    assert found["number"].tolist() == [-0.5]
    cells = [found.index[0], found.columns[0], found.iloc[0, 0]]
    write_table(table(name), tmp_path)
    cells.append(pd.read_csv(tmp_path / "name.csv").loc[0, "model"])
    assert all(cell.startswith("'") or cell[0] not in "=+-@\t\r" for cell in cells)


@pytest.mark.parametrize("number", ["-0.5", "+1", "-1e-5", "-inf"])
def test_a_number_in_words_stays_one(number):
    assert without_formula(number) == number


NAMES = {
    "<script>alert(1)</script>": r"\<script\>alert(1)\</script\>",
    "[a](javascript:x)": r"\[a\](javascript:x)",
    "![](https://host/pixel.png)": r"!\[\](https://host/pixel.png)",
    "_background_": r"\_background\_",
    "*a* ~b~ `c`": r"\*a\* \~b\~ \`c\`",
    "a|b": r"a\|b",
    "$x$": r"\$x\$",
    "&lt;": r"\&lt;",
    "a\\": r"a\\",
    "a\n\n# b": "a # b",
    "a\x1b[2J\u202eb": r"a\\x1b\[2J\\u202eb".replace("\\\\x", r"\\x"),
}


def table(name):
    frame = pd.DataFrame([[name, "0.50", "[1.00, 2.00]*"]], columns=["model", "ours", "interval"])
    return Table("name", f"Of {name}", "note", frame, frame)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_no_markup(name):
    assert markdown(name) == NAMES[name]
    text = to_markdown(table(name))
    (row,) = [line for line in text.splitlines() if line.startswith("| ") and "0.50" in line]
    cells = [cell.strip() for cell in re.split(r"(?<!\\)(?:\\\\)*\|", row)[1:-1]]
    assert cells[1:] == ["0.50", "[1.00, 2.00]*"]
    assert len(text.splitlines()) == 7
    assert not set(to_text(table(name))) & {"\x1b", "\u202e"}
    assert len(to_text(table(name)).splitlines()) == 5
    latex = to_latex(table(name)).splitlines()
    assert len(latex) == 8
    cell = latex[6].partition(" & ")[0].replace("$<$", "").replace("$>$", "")
    assert not re.search(r"(?<!\\)[_$&%#]|^[\[*]", cell)


@pytest.mark.parametrize("text", ["a", "`", "``a`b", "a\nb", "a\x1b"])
def test_code_ends_where_it_should(text):
    found = markdown_code(text)
    fence = re.match("`+", found)[0]
    inside = found.removeprefix(fence).removesuffix(fence)
    assert fence not in re.findall("`+", inside)
    assert "\n" not in found
    assert "\x1b" not in found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("\u200b", r"\u200b"),
        ("\u3000", r"\u3000"),
        ("\x07", r"\x07"),
        ("日本", "日本"),
        ("a\nb", "a b"),
    ],
)
def test_no_name_looks_empty(name, expected):
    assert visible(name) == expected


@pytest.mark.parametrize(
    "names", [("_own_$", "own"), ("שלום", "日本"), ("_a", "a"), ("$", "%"), ("a" * 99, "a" * 98)]
)
def test_two_names_never_share_a_file(names):
    first, second = map(slug, names)
    assert first != second
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", first)
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", second)
