"""A cell's model card: what it is, how to load it, how good it is and on what, for Hugging Face."""

from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from scipy.stats import binomtest

from sslbench.cell.beside import paper_figures
from sslbench.cell.record import DATA_TITLES, Record
from sslbench.files.atomic import replace_file
from sslbench.words.escape import markdown, markdown_code

CARD = "card.md"


def save_card(path: Path, record: Record) -> None:
    """Write the card of a cell whose results are all there."""
    text = card(record)
    replace_file(path, lambda file: file.write(text.encode()))


def card(record: Record) -> str:
    """Return the card as Markdown, under a head of YAML with the accuracies as a `model-index`."""
    num_test = record.data["num_test"]
    num_right = round(record.results["test"]["accuracy"] * num_test)
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=False,  # it is Markdown: names are escaped by the filters
        keep_trailing_newline=True,
    )
    templates.filters["md"] = markdown
    templates.filters["code"] = markdown_code
    templates.filters["numbers"] = lambda values: ", ".join(f"{value:.4f}" for value in values)
    return templates.get_template("card.md.jinja").render(
        record=record,
        settings=record.settings,
        data=record.data,
        results=record.results,
        runtime=record.runtime,
        head=_head(record),
        reported=paper_figures(record),
        images=" and ".join(map(_british, record.streams)),
        batch=_batch(record),
        data_title=DATA_TITLES.get(record.data["name"], markdown(record.data["name"])),
        interval=binomtest(num_right, num_test).proportion_ci(method="wilson"),
    )


def _batch(record: Record) -> str:
    """Say how many images a step takes, such as `32 labelled and 64 unlabelled images`."""
    sizes = record.runtime.get("images_per_step")
    if not sizes:
        return f"{record.settings['method']['batch_size']} {_british(record.streams[0])} images"
    return " and ".join(f"{size} {_british(name)}" for name, size in sizes.items()) + " images"


def _british(stream: str) -> str:
    return stream.replace("labeled", "labelled")


def _head(record: Record) -> str:
    name = record.data["name"]
    accuracies = [
        EvalResult(
            task_type="image-classification",
            dataset_type=name,
            dataset_name=DATA_TITLES.get(name, name),
            dataset_split=split,
            metric_type="accuracy",
            metric_value=record.results[split]["accuracy"],
        )
        for split in ("val", "test")
    ]
    return ModelCardData(
        model_name=record.cell,
        library_name="sslbench",
        tags=["image-feature-extraction", record.settings["method"]["name"]],
        eval_results=accuracies,
    ).to_yaml()
