"""Someone's own cells, of several methods or models, against the plainest of them."""

from collections.abc import Iterable

import pandas as pd

from sslbench import paper
from sslbench.paper import TEST, Row
from sslbench.tables.against_base import Variant, against_base, columns_of, corrected, varied_keys
from sslbench.tables.compare import Predictions
from sslbench.tables.contents import Ablation
from sslbench.tables.groups import MIN_SEEDS, Group, row_order, slug
from sslbench.tables.sentences import difference_in_words, listed, mean_in_words, seeds_in_words

PLURALS = {"method": "methods", "model": "models", "ratio": "ratios", "from": "starts"}


def find_comparisons(
    groups: list[Group], ablations: Iterable[Ablation], predictions: Predictions
) -> list[Ablation]:
    """Return one for each set of images, unless the ablations have all of its rows."""
    columns = ["method", "model", "ratio", "from"]
    covered = {
        Row(*line) for each in ablations for line in each.values[columns].itertuples(index=False)
    }
    found = []
    for images in dict.fromkeys(group.images for group in groups):
        variants = [Variant(g, row) for g in groups if g.images == images for row in g.rows]
        if not covered.issuperset(row for _, row in variants):
            found.append(_comparison(variants, predictions))
    return found


def _comparison(variants: list[Variant], predictions: Predictions) -> Ablation:
    variants = sorted(variants, key=_from_the_plainest)
    is_of_methods = len({row.method for _, row in variants}) > 1
    keys = ["method"] * is_of_methods + varied_keys(variants)
    values = corrected(list(against_base(variants, keys, predictions, paired=False)), keys)
    # What has no ratio is no other one, and what starts from nothing is another start.
    counts = {key: values[key].nunique(dropna=key == "ratio") for key in PLURALS}
    differing = [PLURALS[key] for key, number in counts.items() if number > 1]
    what = listed(differing or keys or ["one kind of training"])
    data, images = variants[0].group.data_title, variants[0].group.data_name
    first = values["name"].iloc[0]
    return Ablation(
        name=f"comparison-{slug(data)}",
        title=f"Comparison on {data}, by {what}",
        question=f"How do {what} compare on {images}?"
        if len(variants) > 1
        else f"What does {first} reach on {images}?",
        keys=tuple(keys),
        columns=columns_of(keys, values),
        values=values,
        sentence=_sentence(values),
    )


def _from_the_plainest(variant: Variant) -> tuple:
    """Sort what has finished cells first, then by method and model, the paper's first."""
    group, row = variant
    methods, models = [*paper.METHODS, row.method], [*paper.MODELS, row.model]
    places = methods.index(row.method), row.method, models.index(row.model), row_order(row)
    return not group.done(row), *places, len(group.changes), group.title


def _sentence(values: pd.DataFrame) -> str:
    """Say which line is best, and how far it surely is above the base line."""
    lines = values[values["metric"] == TEST.title]
    done = lines.dropna(subset="mean")
    if done.empty:
        return "NO DATA: no cell is finished"
    best, base = done.loc[done["mean"].idxmax()], lines.iloc[0]
    name = best["name"]
    if best["is_base"]:
        reached = mean_in_words(*best[["mean", "low", "high", "interval_of"]])
        tested = done.dropna(subset="difference")
        below = int((tested["sign"] < 0).sum())
        words = f"{name} reaches {reached} on {seeds_in_words([best['n']])}"
        if tested.empty:
            return f"{words}; nothing is there to compare it with"
        return f"BEST: {words}; {below} of {len(tested)} others are significantly below it"
    words = difference_in_words(
        f"{name} > the base line, {base['name']}",
        *best[["difference", "difference_low", "difference_high", "metric", "difference_of"]],
    )
    if not best["sign"]:
        return f"NO BEST: {words}, which may be chance"
    head = "BEST" if min(best["n"], base["n"]) >= MIN_SEEDS else "LEANS"
    return f"{head} on {seeds_in_words([best['n'], base['n']])}: {words}"
