"""A cell's model card: what it is, how to load it, how good it is and on what, for Hugging Face."""

from pathlib import Path
from statistics import NormalDist

from huggingface_hub import EvalResult, ModelCardData

from sslbench.atomic import replace_file
from sslbench.cell.record import Record

CARD = "card.md"
DATA = {"digits": "the built-in stand-in (digits)", "stl10": "STL-10"}
STAND_IN = (
    "It was trained and measured on **the built-in stand-in** (handwritten digits in colour), not "
    "on STL-10: its metrics must not be set beside any published ones, and its embeddings are of "
    "little use for photographs."
)
TRAIN = (
    "means over the last training steps on augmented images, or, where these have no labels, the "
    "probe's accuracy on the train images as they are"
)
MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]<>()#|~$&!"})


def save_card(path: Path, record: Record) -> None:
    """Write the card of a cell whose results are all there."""
    text = card(record)
    replace_file(path, lambda file: file.write(text.encode()))


def card(record: Record) -> str:
    """Return the card as Markdown, under a head of YAML with the accuracies as a `model-index`."""
    method, model = record.settings["method"], record.settings["model"]["name"]
    images = " and ".join(record.streams).replace("labeled", "labelled")
    return f"""---
{_head(record)}
---

# {_escape(record.cell)}

Encoder `{model}`, trained by `{method["name"]}` on {images} images. \
{method.get("description", "")}

## Load

{_snippet(record)}

The encoder is frozen, in eval mode, with its normalisation inside; resize images of \
another size first.

## Metrics

{_metrics(record)}

## Data

{_data(record)}

## Training

{_training(record)}

## Limits

{_limits(record)}
"""


def _head(record: Record) -> str:
    name = record.data["name"]
    accuracies = [
        EvalResult(
            task_type="image-classification",
            dataset_type=name,
            dataset_name=DATA.get(name, name),
            dataset_split=split,
            metric_type="accuracy",
            metric_value=record.results[split]["accuracy"],
        )
        for split in ("val", "test")
    ]
    tags = ["image-feature-extraction", record.settings["method"]["name"]]
    data = ModelCardData(
        model_name=record.cell, library_name="sslbench", tags=tags, eval_results=accuracies
    )
    return data.to_yaml()


def _snippet(record: Record) -> str:
    side, outputs = record.data.get("side", 96), record.settings["outputs"]
    return f"""```python
import torch
from sslbench import load_encoder

encoder = load_encoder({record.cell!r}, outputs={outputs!r})
images = torch.zeros(8, 3, {side}, {side}, dtype=torch.uint8)  # or floats from 0 to 1
with torch.inference_mode():
    embeddings = encoder(images)  # (8, encoder.embedding_dim), float32
```"""


def _metrics(record: Record) -> str:
    lines = ["| split | accuracy | loss | what it is |", "| --- | --- | --- | --- |"]
    rules = {"train": TRAIN} | record.rules
    for split in ("train", "train_plain", "val", "test"):
        metrics = record.results[split]
        loss = f"{metrics['loss']:.4f}" if "loss" in metrics else ""
        lines.append(f"| {split} | {metrics['accuracy']:.2%} | {loss} | {rules[split]} |")
    for split, accuracy in record.results.get("knn", {}).items():
        lines.append(f"| {split}, k-NN | {accuracy:.2%} | | {record.rules['knn']} |")
    by_class = zip(
        record.data["class_names"], record.results["test"]["per_class_accuracy"], strict=True
    )
    classes = [
        f"{_escape(name)} {'no images' if accuracy is None else f'{accuracy:.1%}'}"
        for name, accuracy in by_class
    ]
    return "\n".join([*lines, "", f"Of the test images by class: {', '.join(classes)}."])


def _data(record: Record) -> str:
    data = record.data
    mean, std = (", ".join(f"{value:.4f}" for value in data[key]) for key in ("mean", "std"))
    return (
        f"{DATA.get(data['name'], data['name'])}, fingerprint `{data['fingerprint']}`: "
        f"{data['num_labeled']} labelled images, {data['num_unlabeled']} unlabelled ones, "
        f"{data['num_val']} for validation and {data['num_test']} for the test. "
        f"Channel means {mean}, deviations {std}, on the scale 0 to 1."
    )


def _training(record: Record) -> str:
    settings, results, runtime = record.settings, record.results, record.runtime
    optimizer, start = settings["optimizer"], settings["init"]["from"]
    is_best = results["weights"] == "best.pt"
    chosen = "the best on the validation images" if is_best else "the last"
    step = results["best_step"] if is_best else results["steps"]
    ratio = f"Labelled to unlabelled {settings['ratio']['name']}. "
    return (
        f"{results['steps']} steps of {settings['method']['batch_size']} images by "
        f"`{optimizer['name']}`, learning rate {optimizer['lr']:g} ({optimizer['schedule']}), seed "
        f"{settings['seed']}. {ratio if 'unlabeled' in record.streams else ''}"
        f"First weights: {'drawn at random' if start is None else f'those of `{start}`'}. "
        f"Kept weights: {chosen}, of step {step} (`{results['weights']}`, SHA-256 "
        f"`{results['weights_sha256'][:16]}`). {runtime['train_seconds']:.0f} s on "
        f"{runtime['processor']} in {runtime['precision']}, torch {runtime['versions']['torch']}, "
        f"code {runtime['versions']['commit']}."
    )


def _limits(record: Record) -> str:
    accuracy, num_images = record.results["test"]["accuracy"], record.data["num_test"]
    low, high = _interval(accuracy, num_images)
    limits = [STAND_IN] if record.data["name"] == "digits" else []
    limits += [
        "One seed: the report (`python -m sslbench.report`) shows how metrics vary over seeds.",
        f"{num_images} test images: from their number alone, an accuracy of {accuracy:.1%} has the "
        f"95 % interval {low:.1%} to {high:.1%}.",
    ]
    return "\n".join(f"- {limit}" for limit in limits)


def _interval(accuracy: float, num_images: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927).

    The report has it by a library, which would take each cell a second to import.
    """
    z = NormalDist().inv_cdf(0.975)
    center = accuracy + z**2 / (2 * num_images)
    margin = z * (accuracy * (1 - accuracy) / num_images + (z / (2 * num_images)) ** 2) ** 0.5
    scale = 1 + z**2 / num_images
    return max(0.0, center - margin) / scale, (center + margin) / scale  # rounding makes -0.0


def _escape(text: str) -> str:
    return " ".join(text.translate(MARKDOWN).split())
