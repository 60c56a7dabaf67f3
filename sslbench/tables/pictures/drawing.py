"""Files of a picture: SVG that fits light and dark pages, or PDF or PNG."""

import io
import re
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

import pandas as pd
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from PIL import Image

from sslbench.files.atomic import replace_file
from sslbench.palette import DARK
from sslbench.scatter import rendered
from sslbench.tables.contents import Picture
from sslbench.tables.render import write_csv

SHOWN = "svg"
"""Format of the pictures in the page."""
SVG = "{http://www.w3.org/2000/svg}"
NO_DATES = {
    "svg": dict.fromkeys(("Creator", "Date", "Format", "Type")),
    "pdf": dict.fromkeys(("Creator", "Producer", "CreationDate")),
}
"""So that the same data make the same file."""
_PLACE = re.compile(r"(\.\d)\d+")
_REFERENCE = re.compile(r"(#|url\(#)(\w+)(\)?)")
_OUTLINE = re.compile(r"(\.\d\d)\d+")

ElementTree.register_namespace("", SVG[1:-1])
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")


def save_picture(
    canvas: Canvas,
    stem: Path,
    titles: tuple[str, str, str],
    frame: pd.DataFrame,
    formats: Collection[str] = (),
) -> Picture:
    """Write a picture as SVG and in other formats, its data beside it.

    Args:
        titles: Its title, its caption, and in words what is seen in it.
        frame: Its data.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    write_csv(frame, Path(f"{stem}.csv"))
    for kind in dict.fromkeys([SHOWN, *formats]):
        _save(canvas, Path(f"{stem}.{kind}"))
    width, height = canvas.get_size_inches()
    return Picture(stem.name, *titles, Path(f"{stem}.{SHOWN}"), (float(width), float(height)))


def _save(canvas: Canvas, path: Path) -> None:
    kind = path.suffix[1:]
    if kind == "png":  # with a palette of its own: a third of the size, hardly a difference
        image = rendered(canvas).quantize(256, dither=Image.Dither.NONE)
        replace_file(path, lambda file: image.save(file, format="PNG", dpi=(canvas.dpi,) * 2))
        return
    contents = _saved(canvas, kind)
    if kind == SHOWN:
        contents = _themed(contents)
    replace_file(path, lambda file: file.write(contents))


def _saved(canvas: Canvas, kind: str) -> bytes:
    with io.BytesIO() as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        if kind == SHOWN:
            _draw_svg(canvas, file)
        else:
            canvas.savefig(file, format=kind, metadata=NO_DATES[kind])
        return file.getvalue()


def _draw_svg(canvas: Canvas, file: IO[bytes]) -> None:
    """Draw on no background; once, where `savefig` draws all of it twice."""
    dpi, backgrounds = canvas.dpi, [each.patch for each in (canvas, *canvas.axes)]
    for each in backgrounds:
        each.set_visible(False)
    FigureCanvasSVG(canvas).print_svg(file, metadata=NO_DATES[SHOWN])
    for each in backgrounds:
        each.set_visible(True)
    canvas.dpi = dpi


def _themed(contents: bytes) -> bytes:
    """Write each style once, as a class with a dark twin, and no more digits than can be seen."""
    root = ElementTree.fromstring(contents)
    for metadata in root.findall(f"{SVG}metadata"):
        root.remove(metadata)
    _shorten_names(root)
    classes: dict[str, str] = {}
    for element in root.iter():
        style = element.attrib.pop("style", "")
        if style:
            element.set("class", classes.setdefault(style, f"s{len(classes)}"))
        for name, digits in (("x", _PLACE), ("y", _PLACE), ("d", _OUTLINE)):
            if name in element.attrib:
                element.set(name, digits.sub(r"\1", element.attrib[name]))
    rules = {f".{name}": style for style, name in classes.items()}
    dark = {name: new for name, style in rules.items() if (new := _darkened(style)) != style}
    sheet = root.find(f".//{SVG}style")
    assert sheet is not None, "matplotlib writes one"
    sheet.text = f"{sheet.text}{_css(rules)}@media (prefers-color-scheme:dark){{{_css(dark)}}}"
    return ElementTree.tostring(root, encoding="utf-8")


def _shorten_names(root: ElementTree.Element) -> None:
    """Give what is referred to a short name, and all else none."""
    names: dict[str, str] = {}
    for element in root.iter():
        for key, value in element.attrib.items():
            if found := _REFERENCE.fullmatch(value):
                before, name, after = found.groups()
                element.set(key, before + names.setdefault(name, f"n{len(names)}") + (after or ""))
    for element in root.iter():
        name = element.attrib.pop("id", None)
        if name in names:
            element.set("id", names[name])


def _darkened(style: str) -> str:
    return re.sub("#[0-9a-f]{6}", lambda found: DARK.get(found[0], found[0]), style)


def _css(rules: dict[str, str]) -> str:
    return "".join(f"{name}{{{style}}}" for name, style in rules.items())
