"""A page of a data set's images, to see with one's own eyes that it was read rightly."""

from pathlib import Path

from PIL import Image, ImageDraw

from sslbench.data import Dataset

NUM_COLUMNS = 10
SIDE, GAP, TITLE_HEIGHT = 96, 4, 14


def contact_sheet(dataset: Dataset, path: Path, num_images: int = 50) -> None:
    """Save labelled train images under their class names, then a row of unlabelled ones."""
    labeled = dataset.train_indices[:num_images]
    tiles = [
        (dataset.train_images[index], dataset.class_names[dataset.train_labels[index]])
        for index in labeled
    ]
    tiles += [(None, "")] * (-len(tiles) % NUM_COLUMNS)
    tiles += [(image, "unlabelled") for image in dataset.unlabeled_images[:NUM_COLUMNS]]

    width, height = SIDE + GAP, SIDE + TITLE_HEIGHT + GAP
    num_rows = -(-len(tiles) // NUM_COLUMNS)
    sheet = Image.new("RGB", (NUM_COLUMNS * width + GAP, num_rows * height + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (image, title) in enumerate(tiles):
        row, column = divmod(number, NUM_COLUMNS)
        left, top = GAP + column * width, GAP + row * height
        pen.text((left, top), title, fill="black")
        if image is not None:
            sheet.paste(Image.fromarray(image.transpose(1, 2, 0)), (left, top + TITLE_HEIGHT))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
