"""A cell's model card: what it is, what it was trained on, how good it is, how to load it."""

import json
from pathlib import Path
from statistics import NormalDist
from typing import Any

from sslbench.atomic import replace_file
from sslbench.cell.record import Record

CARD = "card.md"
METHODS = {
    "supervised": "by cross-entropy on the labelled images",
    "barlow": "by Barlow Twins on unlabelled images, then frozen; a linear probe on the labelled "
    "images classifies",
    "semi": "by cross-entropy on the labelled images and by pseudo-labels on the unlabelled ones",
}
NAMES = {"digits": "the built-in stand-in (digits)", "stl10": "STL-10"}
STAND_IN = (
    "It was trained and measured on **the built-in stand-in** (handwritten digits in colour), not "
    "on STL-10: its figures must not be set beside any published ones, and its embeddings are of "
    "little use for photographs."
)
SPLITS = ("train_plain", "val", "test")
TRAIN = (
    "means over the last training steps, on augmented images; for Barlow Twins the accuracy is the "
    "probe's on the train images as they are"
)


def save_card(path: Path, record: Record) -> None:
    """Write the card of a cell whose results are all there."""
    text = card(record)
    replace_file(path, lambda file: file.write(text.encode()))


def card(record: Record) -> str:
    """Return the card as Markdown."""
    settings, data, results = record.settings, record.data, record.results
    model, method = settings["model"]["name"], settings["method"]["name"]
    parts = [
        f"# {record.cell}",
        f"Encoder `{model}`, trained {METHODS.get(method, f'by {method}')}. Seed "
        f"{settings['seed']}, ratio of labelled to unlabelled images {settings['ratio']['name']}. "
        f"Accuracy on the test images: **{results['test']['accuracy']:.2%}**.",
        "## Load the encoder",
        _snippet(record),
        "The encoder is frozen, in eval mode, with its normalisation inside.",
        "## Figures",
        _figures(record),
        "## Data",
        f"{NAMES.get(data['name'], data['name'])}, fingerprint `{data['fingerprint']}`: "
        f"{data['num_labeled']} labelled images, {data['num_unlabeled']} unlabelled ones (the "
        f"ratio says how many are used), {data['num_val']} for validation and {data['num_test']} "
        f"for the test. Classes: {', '.join(data['class_names'])}. Channel means "
        f"{_numbers(data['mean'])}, deviations {_numbers(data['std'])}, on the scale 0 to 1.",
        "## Training",
        _training(record),
        "## Limits",
        _limits(record),
        "## Settings",
        "```json\n" + json.dumps(settings, indent=2, ensure_ascii=False) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _snippet(record: Record) -> str:
    outputs = record.settings["outputs"]
    return (
        "```python\n"
        "import torch\n"
        "from sslbench import load_encoder\n\n"
        f"encoder = load_encoder({record.cell!r}, outputs={outputs!r})\n"
        "images = torch.zeros(8, 3, 96, 96, dtype=torch.uint8)  # or floats from 0 to 1\n"
        "with torch.inference_mode():\n"
        "    embeddings = encoder(images)  # (8, encoder.embedding_dim), float32\n"
        "```"
    )


def _figures(record: Record) -> str:
    lines = ["| split | accuracy | loss | what it is |", "| --- | --- | --- | --- |"]
    rules = {"train": TRAIN} | {split: record.rules[split] for split in SPLITS}
    for split, rule in rules.items():
        figures = record.results[split]
        loss = f"{figures['loss']:.4f}" if "loss" in figures else ""
        lines.append(f"| {split} | {figures['accuracy']:.2%} | {loss} | {rule} |")
    for split, accuracy in record.results.get("knn", {}).items():
        lines.append(f"| {split}, k-NN | {accuracy:.2%} | | {record.rules['knn']} |")
    lines += ["", "Accuracy on the test images by class: " + _per_class(record) + "."]
    return "\n".join(lines)


def _per_class(record: Record) -> str:
    accuracies = record.results["test"]["per_class_accuracy"]
    return ", ".join(
        f"{name} {'no images' if accuracy is None else f'{accuracy:.1%}'}"
        for name, accuracy in zip(record.data["class_names"], accuracies, strict=True)
    )


def _training(record: Record) -> str:
    settings, results, runtime = record.settings, record.results, record.runtime
    optimizer, start = settings["optimizer"], settings["init"]["from"]
    chosen = "the best on the validation images" if results["weights"] == "best.pt" else "the last"
    step = results["best_step"] if results["weights"] == "best.pt" else results["steps"]
    origin = "drawn at random" if start is None else f"those of `{start}`"
    return (
        f"{results['steps']} steps of {settings['method']['batch_size']} images by "
        f"{optimizer['name']}, learning rate {optimizer['lr']:g} ({optimizer['schedule']}). First "
        f"weights: {origin}. Kept weights: {chosen}, of step {step} (`{results['weights']}`, "
        f"SHA-256 of the weights `{results['weights_sha256'][:16]}`). "
        f"{runtime['train_seconds']:.0f} s on {runtime['processor']} in {runtime['precision']}, "
        f"torch {runtime['versions']['torch']}, code {runtime['versions']['commit']}."
    )


def _limits(record: Record) -> str:
    limits = [STAND_IN] if record.data["name"] == "digits" else []
    accuracy, num_images = record.results["test"]["accuracy"], record.data["num_test"]
    low, high = _interval(accuracy, num_images)
    limits += [
        "One seed: the report (`python -m sslbench.report`) shows how figures vary over seeds.",
        f"{num_images} test images: from their number alone, an accuracy of {accuracy:.1%} has the "
        f"95 % interval {low:.1%} to {high:.1%}.",
        "It expects images of 96 x 96 pixels; for other sizes, resize first.",
    ]
    return "\n".join(f"- {limit}" for limit in limits)


def _interval(accuracy: float, num_images: int) -> tuple[float, float]:
    """Return the 95 % interval of a share by Wilson, as the report has it.

    It is computed here as importing SciPy's statistics would take each cell about a second.
    """
    z = NormalDist().inv_cdf(0.975)
    center = accuracy + z**2 / (2 * num_images)
    margin = z * (accuracy * (1 - accuracy) / num_images + (z / (2 * num_images)) ** 2) ** 0.5
    scale = 1 + z**2 / num_images
    low = max(0.0, center - margin)  # which rounding would make -0.0 %
    return low / scale, (center + margin) / scale


def _numbers(values: list[Any]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)
