"""A finished cell's encoder as a file for other programs: `python -m sslbench.export CELL --to …`.

What was written is read back by its own library and must give the encoder's own embeddings.
"""

import argparse
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.exit_codes import UsageError, exit_at_ctrl_c

if TYPE_CHECKING:
    from sslbench.export_formats import Reader
    from sslbench.load import Encoder

KINDS = {
    "safetensors": "the weights alone; init.from=FILE takes them too",
    "torch": "a program for torch.export.load, without any of this package's code",
    "onnx": "a program for ONNX Runtime",
    "timm": 'a folder for timm.create_model("local-dir:FOLDER", pretrained=True)',
}
NUM_IMAGES = 8
"""Of noise, that an export is compared on."""
TOLERANCE = 1e-4
"""Largest difference of embeddings, as a share of the largest value: other libraries add in another
order."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sslbench.export",
        description="Write a finished cell's encoder, with its normalisation, class names and "
        "accuracies, for other programs.",
        epilog="Formats: " + "; ".join(f"{name}: {what}" for name, what in KINDS.items()) + ".",
    )
    parser.add_argument("cell", help="its id, or its folder")
    parser.add_argument("--to", required=True, choices=KINDS, metavar="|".join(KINDS))
    path = "file or folder to write, replaced if it is there (default: the cell's id, here)"
    parser.add_argument("--output", type=Path, metavar="PATH", help=path)
    outputs = "folder that cells are in, for an id (%(default)s)"
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help=outputs)
    return parser


@exit_at_ctrl_c()
def main(arguments: list[str] | None = None) -> None:
    """Export, and leave with exit code 2 for what cannot be."""
    options = _parser().parse_args(arguments)
    from sslbench.words.trouble import last_words

    try:
        path, difference = export(options.cell, options.to, options.output, options.outputs)
    except (ValueError, OSError) as error:
        raise UsageError(last_words(error)) from None
    print(f"{path}: embeddings of {NUM_IMAGES} images differ by {difference:.1e} at most")


def export(
    cell: str, kind: str, output: Path | None = None, outputs: Path = Path("outputs")
) -> tuple[Path, float]:
    """Write a cell's encoder in one of the `KINDS`.

    Returns:
        The path, and by how much embeddings out of it differ at most, as a share of the largest.

    Raises:
        ValueError: If the cell has no encoder, the format none like it, or a package is missing.
    """
    from sslbench.config.as_json import model_from_json
    from sslbench.export_formats import FORMATS
    from sslbench.load import load_encoder
    from sslbench.words.trouble import describe

    written = FORMATS[kind]
    written.require_packages(f"--to {kind}")
    encoder = load_encoder(cell, outputs)
    path = output or Path(f"{encoder.about['name']}{written.suffix}")
    model = model_from_json({"model": encoder.about["model"]})
    with _quiet():
        try:
            read_back = written.write(encoder, model, path)
        except (ValueError, OSError):
            raise
        except Exception as error:  # exporters have each their own
            raise ValueError(
                f"--to {kind}: this encoder cannot be exported so ({describe(error)}); another "
                "format may take it"
            ) from error
    return path, compare(encoder, read_back, f"--to {kind}")


def compare(encoder: "Encoder", read_back: "Reader", asked: str) -> float:
    """Return the largest difference of embeddings, as a share of the largest value.

    Raises:
        ValueError: If it is more than rounding.
    """
    import torch

    shape = NUM_IMAGES, 3, encoder.side, encoder.side
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = encoder(images), read_back(images)
    difference = ((found - expected).abs().max() / expected.abs().max()).item()
    if not difference <= TOLERANCE:
        raise ValueError(
            f"{asked}: the file gives other embeddings, by {difference:.1e} of the largest: this "
            "encoder cannot be exported so; another format may take it"
        )
    return difference


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's exporters from telling how they work."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


if __name__ == "__main__":
    main()
