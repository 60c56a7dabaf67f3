"""How often the report's verdicts are wrong, and which gaps they find: by simulation.

    python -m benchmarks.verdicts --repeats 300

Made-up trainings of all rows that the seven claims compare. An image is hard for all trainings, for
a row and for one training; a training's seed moves its accuracy by a point of standard deviation.
Each candidate test is applied to the same trainings, and corrected by Holm's method over all
comparisons. False: some verdict although all rows are equally good; of methods that are, and of
rows whose seeds vary by half a point to three. Found: the share of the differences between
ResNet18 and ConvNet that are significant where ConvNet is worse by the gap, in three claims.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import Pool
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchmarks.command import Table, command_parser, numbers, print_tables
from sslbench.paper import Row
from sslbench.tables import statistics
from sslbench.tables.claims import SIGNIFICANCE
from sslbench.tables.judge import Pair, claim_pairs
from sslbench.tables.statistics import Spread, Trainings

ACCURACY = 0.65
SHARED, OF_ROW, OF_TRAINING = 0.5, 0.2, 0.3
"""Parts of the variance of how hard an image is: two trainings agree on 78 % of images in a row, on
69 % between rows, as measured on photographs (77 to 81 %, 69 %)."""
NUM_TRAIN = 5000
UNEQUAL = (0.5, 1.0, 3.0)
"""Standard deviations over seeds in points, of which one is drawn for each row."""
PAIRS = claim_pairs(of_paper=False)
ROWS = list(dict.fromkeys(row for pair in PAIRS for row in (pair.better, pair.worse)))
World = dict[tuple[Row, str], Trainings]
"""By row and split."""


class Setup(NamedTuple):
    """What is simulated: images, seeds, deviations over seeds, and how much ConvNet is worse."""

    num_test: int
    num_seeds: int
    deviations: tuple[float, ...]
    gap: float


def main() -> None:
    parser = command_parser("verdicts", __doc__)
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--seeds", type=numbers, default=(1, 2, 3, 5), metavar="A,B")
    parser.add_argument("--images", type=numbers, default=(2400, 6400), metavar="A,B")
    deviations = "points of deviation over seeds, of which each row has one (%(default)s)"
    parser.add_argument("--deviations", type=numbers, default=(1,), metavar="A,B", help=deviations)
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repeats, arguments.seeds, arguments.images = 4, (1, 3), (600,)
    print_tables(list(tables(arguments)), arguments)


def tables(arguments: argparse.Namespace) -> Iterator[Table]:
    with Pool(arguments.processes) as pool:
        for images in arguments.images:
            rows = []
            for seeds in arguments.seeds:
                usual = arguments.deviations
                setups = [Setup(images, seeds, each, 0) for each in (usual, UNEQUAL)]
                setups += [Setup(images, seeds, usual, gap) for gap in (2.0, 4.7, 12.0)]
                rates = [rate(setup, arguments.repeats, pool.map) for setup in setups]
                rows += [
                    (str(seeds), name, *(f"{100 * each[name]:.1f}" for each in rates))
                    for name in rates[0]
                ]
            columns = ("seeds", "test", "false", "false, unequal seeds", "2", "4.7", "12 points")
            yield Table(f"Per cent of {arguments.repeats} reports, {images} images", columns, rows)


def rate(setup: Setup, repeats: int, run: Callable = map) -> dict[str, float]:
    """Return by test how often something false is said, or, with a gap, how much of it is found."""
    found = list(run(partial(outcome, setup), range(repeats)))
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def outcome(setup: Setup, repeat: int) -> dict[str, float]:
    rng = np.random.default_rng([repeat, setup.num_seeds, setup.num_test, int(10 * setup.gap)])
    world = simulate(setup, rng)
    measure = _found if setup.gap else _is_false
    tests = TESTS if setup.num_seeds > 1 else {"images of one seed": _one_seed}
    return {name: measure(_signs(*test(world))) for name, test in tests.items()}


def simulate(setup: Setup, rng: np.random.Generator) -> World:
    """Draw the trainings of all rows: which images they get right, and a share of train images."""
    world: World = {}
    deviations = dict(zip(ROWS, rng.choice(setup.deviations, len(ROWS)) / 100, strict=True))
    seeds = {row: rng.normal(0, deviations[row], setup.num_seeds) for row in ROWS}
    accuracy = {row: ACCURACY - setup.gap / 100 * (row.model == "convnet") for row in ROWS}
    for split, size in (("test", setup.num_test), ("val", setup.num_test // 4)):
        shared = rng.normal(0, np.sqrt(SHARED), size)
        for row in ROWS:
            hard = shared + rng.normal(0, np.sqrt(OF_ROW), size)
            own = rng.normal(0, np.sqrt(OF_TRAINING), (setup.num_seeds, size))
            skill = stats.norm.ppf(accuracy[row] + seeds[row])
            right = hard + own < skill[:, None]
            world[row, split] = Trainings(right.mean(1), right, size)
    for row in ROWS:
        shares = rng.binomial(NUM_TRAIN, accuracy[row] + seeds[row]) / NUM_TRAIN
        world[row, "train"] = Trainings(shares, None, NUM_TRAIN)
    return world


def _signs(differences: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return the signs of differences that are significant after Holm's correction, else 0."""
    return np.sign(differences) * (statistics.holm(p) < SIGNIFICANCE)


def _is_false(signs: np.ndarray) -> bool:
    claims = np.array([pair.claim for pair in PAIRS])
    contradicted = (signs[claims < 7] < 0).any() or (signs[claims == 7] > 0).any()
    return bool(contradicted or any((signs[claims == each] > 0).all() for each in range(1, 7)))


def _found(signs: np.ndarray) -> float:
    is_gap = [pair.name == "ResNet18 > ConvNet" for pair in PAIRS]
    return float((signs[is_gap] > 0).mean())


def _sides(world: World, pair: Pair) -> tuple[Trainings, Trainings]:
    return world[pair.better, pair.metric.split], world[pair.worse, pair.metric.split]


def _one_seed(world: World) -> tuple[np.ndarray, np.ndarray]:
    """McNemar's test on the first seed, as a report on one seed has it."""
    found = []
    for pair in PAIRS:
        a, b = _sides(world, pair)
        if a.right is None:
            shares = (a.accuracies[0], b.accuracies[0])
            found.append(statistics.two_proportions(*shares, NUM_TRAIN, NUM_TRAIN))
        else:
            found.append(statistics.same_images(a.right[0], b.right[0]))
    return np.array([each.difference for each in found]), np.array([each.p for each in found])


def _over_seeds(world: World, test: Callable) -> tuple[np.ndarray, np.ndarray]:
    """Test accuracies alone, as if the images at hand were all that matter."""
    sides = [[side.accuracies for side in _sides(world, pair)] for pair in PAIRS]
    a, b = (np.array(each) for each in zip(*sides, strict=True))
    p = test(a, b, axis=1).pvalue
    return (a - b).mean(1), np.where(np.isnan(p), 1, p)


def _with_images(world: World, lent: str) -> tuple[np.ndarray, np.ndarray]:
    """Seeds and images, with variances between trainings that are own, pooled or as if drawn."""
    a, b = zip(*(_sides(world, pair) for pair in PAIRS), strict=True)
    number = len(a[0].accuracies)
    of_images = [
        statistics.image_variance(*sides, paired=False) for sides in zip(a, b, strict=True)
    ]
    variances = {key: np.var(each.accuracies, ddof=1) for key, each in world.items()}
    degrees = number - 1
    if lent == "pooled":
        splits = {split for _, split in world}
        pooled = {
            s: np.mean([v for (_, each), v in variances.items() if each == s]) for s in splits
        }
        variances = {key: pooled[key[1]] for key in world}
        degrees *= len(ROWS)
    parts = np.array(
        [
            [variances[row, pair.metric.split] / number for row in (pair.better, pair.worse)]
            for pair in PAIRS
        ]
    )
    parts *= (number - 1) / number if lent == "bootstrap" else 1
    error = np.sqrt(parts.sum(1) + of_images)
    freedom = error**4 / (parts**2 / degrees).sum(1) if lent != "bootstrap" else np.inf
    means = [[side.accuracies.mean() for side in sides] for sides in (a, b)]
    differences = np.subtract(*means)
    return differences, 2 * stats.t.sf(np.abs(differences) / error, freedom)


def _reports(world: World) -> tuple[np.ndarray, np.ndarray]:
    """Seeds and images, with variances that rows lend each other: the report's own code."""
    spreads = {
        key: Spread(float(np.var(each.accuracies, ddof=1)), len(each.accuracies) - 1)
        for key, each in world.items()
    }
    found = []
    priors = {
        split: statistics.seed_prior([spreads[row, split] for row in ROWS])
        for split in ("train", "val", "test")
    }
    for pair in PAIRS:
        split = pair.metric.split
        both = [statistics.moderated(spreads[row, split], priors[split]) for row in pair[2:4]]
        found.append(statistics.seeds_and_images(*_sides(world, pair), both))
    return np.array([each.difference for each in found]), np.array([each.p for each in found])


TESTS: dict[str, Callable[[World], tuple[np.ndarray, np.ndarray]]] = {
    "paired t over seeds": partial(_over_seeds, test=stats.ttest_rel),
    "Welch over seeds": partial(_over_seeds, test=partial(stats.ttest_ind, equal_var=False)),
    "bootstrap of seeds and images": partial(_with_images, lent="bootstrap"),
    "Welch, with images": partial(_with_images, lent="own"),
    "pooled variance, with images": partial(_with_images, lent="pooled"),
    "the report's": _reports,
}
"""By name what returns the family's differences and p-values."""


if __name__ == "__main__":
    main()
