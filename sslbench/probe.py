"""What a frozen encoder is worth on a data set: `python -m sslbench.probe CELL data=…`.

A linear probe and k-NN are fitted on the labelled images' embeddings; validation and test images
say how good they are. So it measures transfer, and any encoder at all: settings may name one.
"""

import argparse
import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.exit_codes import UsageError, exit_at_ctrl_c

if TYPE_CHECKING:
    from torch import Tensor

    from sslbench.config.settings import Settings
    from sslbench.data import Dataset
    from sslbench.interfaces import LabeledEmbeddings
    from sslbench.load import Encoder

OF_IMAGES = ("data", "outputs", "device", "threads")
"""Settings that go with a cell; its encoder's are its own."""
FOLDER = "probes"
ANY_SIDE = "model=resnet18"
"""In settings that go with a cell, whose model plays no part: one for images of whatever side."""


@dataclass(frozen=True)
class Result:
    """Accuracies by split, and what they were measured on."""

    encoder: str
    data: dict[str, Any]
    l2: float
    k: int
    probe: dict[str, float]
    knn: dict[str, float]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sslbench.probe",
        usage="%(prog)s [-h] [--l2 L2] [--k K] [--json] [-cd FOLDER] [CELL] [setting=value ...]",
        description="Fit a linear probe and k-NN on a frozen encoder's embeddings of any data set, "
        f"by default a CELL's own. With a CELL go the settings {', '.join(OF_IMAGES)}; without "
        "one, settings name the encoder: model=timm model.name=resnet50 init.from=FILE data=…",
    )
    add = parser.add_argument
    add("words", nargs="+", metavar="CELL setting=value", help="a cell's id or folder; settings")
    add("--l2", type=float, default=1.0, help="penalty of the probe, 1 / C (%(default)s)")
    add("--k", type=int, default=200, help="neighbours, at most all labelled images (%(default)s)")
    add("--config-dir", "-cd", metavar="FOLDER", help="of parts of one's own, as train takes it")
    add("--json", action="store_true", help="print JSON")
    return parser


@exit_at_ctrl_c()
def main(arguments: list[str] | None = None) -> None:
    """Probe, print the accuracies and keep them; exit code 2 for what cannot be."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not 1e-9 <= options.l2 <= 1e9:
        parser.error(f"--l2 {options.l2}: must be from 1e-9 to 1e9")
    if options.k < 1:
        parser.error(f"--k {options.k}: must be at least 1")
    cells = [word for word in options.words if "=" not in word]
    overrides = [word for word in options.words if "=" in word]
    if len(cells) > 1:
        parser.error(f"{' '.join(cells)}: one cell at a time")
    from sslbench.words.trouble import last_words

    try:
        result, folder = probe(*cells, overrides=overrides, l2=options.l2, k=options.k)
        path = _save(result, folder)
    except (ValueError, OSError) as error:
        raise UsageError(last_words(error)) from None
    print(json.dumps(asdict(result), indent=2) if options.json else told(result))
    if not options.json:
        print(f"written to {path}")


def probe(
    cell: str | None = None, *, overrides: list[str], l2: float = 1.0, k: int = 200
) -> tuple[Result, Path]:
    """Probe a cell's encoder, or the one that the settings describe, on the settings' data.

    Of a cell, the data is its own but for what is overridden.

    Returns:
        The result, and the folder of outputs.

    Raises:
        ValueError: If a setting is wrong, or there is no such cell, encoder or data.
    """
    from sslbench.build import prepare_process
    from sslbench.config.read import read_settings
    from sslbench.data import open_dataset
    from sslbench.data.device import Images
    from sslbench.load import load_encoder
    from sslbench.sweep.preflight import Preflight

    settings = (
        read_settings(["tracking=off", *overrides])
        if cell is None
        else _settings_with(cell, overrides)
    )
    device = prepare_process(settings)
    settings = Preflight().make_concrete(settings)
    outputs = Path(settings.outputs)
    dataset = open_dataset(settings.data, outputs)
    encoder = load_encoder(cell, outputs) if cell else _build_encoder(settings, dataset)
    if encoder.side != dataset.files.side:
        raise ValueError(
            f"data.side={dataset.files.side}: {cell} takes images of {encoder.side} pixels"
        )
    encoder.to(device).eval()
    images = Images(dataset, device)
    embedded = {name: embed(encoder, getattr(images, name)) for name in ("train", "val", "test")}
    result = Result(
        encoder=encoder.about["name"],
        data=dataset.describe(),
        l2=l2,
        k=k,
        probe=_probe_accuracies(embedded, l2),
        knn=_knn_accuracies(embedded, k),
    )
    return result, outputs


def _refuse_other_settings(overrides: list[str]) -> None:
    others = [it for it in overrides if re.split(r"[.=]", it.lstrip("+~"))[0] not in OF_IMAGES]
    if others:
        raise ValueError(
            f"{others[0]}: a cell has an encoder of its own; with it go {', '.join(OF_IMAGES)}"
        )


def _settings_with(cell: str, overrides: list[str]) -> "Settings":
    """Return the settings that go with a cell: its own data but for what is overridden."""
    from sslbench.config.as_json import settings_from_json
    from sslbench.config.read import read_settings
    from sslbench.data.protocol import CHOICES
    from sslbench.load import finished_cell

    def read(words: list[str]) -> "Settings":
        return read_settings(["tracking=off", ANY_SIDE, *words])

    _refuse_other_settings(overrides)
    of_data = [it for it in overrides if it.lstrip("+~").startswith(("data=", "data."))]
    settings = read([it for it in overrides if it not in of_data])
    data = settings_from_json(finished_cell(cell, settings.outputs)[1].settings).data
    names = {it.partition("=")[0].lstrip("+~").removeprefix("data.") for it in of_data}
    if "data" in names:
        return read([*overrides, *[f"data.side={data.side}"] * ("side" not in names)])
    if not names:
        return replace(settings, data=data)
    typed = read([f"data={data.kind}", *overrides])
    if not names <= set(CHOICES):  # other images than the cell's may be meant
        data = replace(data, fingerprint="")
    return replace(typed, data=replace(data, **{it: getattr(typed.data, it) for it in names}))


def _build_encoder(settings: "Settings", dataset: "Dataset") -> "Encoder":
    """Build the encoder that settings describe, with weights drawn by their seed or loaded."""
    import torch

    from sslbench.build import build_encoder
    from sslbench.load import Encoder

    with torch.random.fork_rng(devices=[]):
        encoder = build_encoder(settings)
    weights = "random weights" if settings.init_from is None else Path(settings.init_from).name
    return Encoder(encoder, dataset.describe(), {"name": f"{settings.model.name}, {weights}"})


def embed(encoder: "Encoder", split: Any) -> "LabeledEmbeddings":
    """Return a split's `(N, D)` float32 embeddings and `(N,)` labels on the encoder's device.

    Raises:
        ValueError: If the images are of another size than the encoder's.
    """
    import torch

    from sslbench.evaluate.cell import batch_size

    device = encoder.mean.device
    indices = torch.from_numpy(split.indices).to(device)
    with torch.inference_mode():
        found = torch.cat(
            [encoder(split.store.take(rows)) for rows in indices.split(batch_size(device))]
        )
    return found, torch.from_numpy(split.labels).to(device)


def _probe_accuracies(embedded: dict[str, "LabeledEmbeddings"], l2: float) -> dict[str, float]:
    from sslbench.evaluate.probe import fit_linear_probe

    classify = fit_linear_probe(*embedded["train"], l2)
    return {name: _share(classify(x).argmax(1), y) for name, (x, y) in embedded.items()}


def _knn_accuracies(embedded: dict[str, "LabeledEmbeddings"], k: int) -> dict[str, float]:
    from sslbench.evaluate.probe import knn_predict

    splits = {name: of for name, of in embedded.items() if name != "train"}
    return {
        name: _share(knn_predict(*embedded["train"], x, k), y) for name, (x, y) in splits.items()
    }


def _share(guesses: "Tensor", labels: "Tensor") -> float:
    return (guesses == labels).float().mean().item()


def told(result: Result) -> str:
    """Return a result as a person reads it, with 95 % intervals from the number of test images."""
    from sslbench.tables.statistics import wilson_interval

    data = result.data
    sizes = ", ".join(
        f"{data[f'num_{split}']:,} {what}"
        for split, what in (("labeled", "labelled"), ("val", "validation"), ("test", "test images"))
    )
    lines = [f"{result.encoder} on {data['name']}: {sizes}"]
    for title, accuracies in (("linear probe", result.probe), ("k-NN", result.knn)):
        low, high = wilson_interval(accuracies["test"], data["num_test"])
        shown = "  ".join(f"{name} {value:7.2%}" for name, value in accuracies.items())
        lines.append(f"  {title:12}  {shown}  [{low:.2%}, {high:.2%}]")
    return "\n".join(lines)


def _save(result: Result, outputs: Path) -> Path:
    """Keep a result below `outputs`; the same question has the same file."""
    from joblib import hash as hash_of

    from sslbench.files.atomic import make_writable_folder, write_json

    folder = outputs / FOLDER
    make_writable_folder(folder)
    question = [result.encoder, result.data, result.l2, result.k]
    name = re.sub(r"[^\w.-]+", "-", f"{result.encoder}-on-{result.data['name']}")
    path = folder / f"{name}-{hash_of(question)[:8]}.json"
    write_json(path, asdict(result))
    return path


if __name__ == "__main__":
    main()
