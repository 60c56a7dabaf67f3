"""What a sweep composes once for many cells: the same settings as composed in full, only sooner."""

from types import SimpleNamespace

import pytest
from helpers.commands import ROOT
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException

from hydra_plugins.sslbench_sweeper.grids import GridsSweeper
from sslbench.config.compose import VERSION_BASE, conf_dir, register, to_settings
from sslbench.config.grid import GridComposer

EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
EXPERIMENTS.remove("hpo")  # which is no grid of cells
VALUES = ("seed=3,4", "steps=7", "method.epochs=9.5", "optimizer.lr=1e-3", "precision=fp32")
ORDERED = (
    ["seed=1", "seed=2"],
    ["augmentation.view_a.blur.p=0.5", "~augmentation.view_a.blur"],
    ["data.split_seed=${seed}", "seed=8", "outputs='a b'"],
    ["ratio=1:7", "ratio.of=batch", "method=semi", "method.threshold=0"],
    ["ratio={labeled: 2}", "ratio.labeled=3"],
    ["steps=null", "optimizer.lr=${method.adam_lr}", "method.adam_lr=0.5"],
    ["seed=-1"],
    ["method.threshold=0.5"],
    ["model=none", "seed=1"],
)


@pytest.fixture(scope="module")
def composed():
    """Return what composing in full returns, and how often that was."""
    register()

    def load(overrides):
        load.calls += 1
        return compose("config", overrides, return_hydra_config=True)

    load.calls = 0
    with initialize_config_dir(conf_dir(), **VERSION_BASE):
        yield load


def outcome(function, *arguments):
    try:
        return function(*arguments)
    except (HydraException, ValueError) as error:
        return type(error), str(error)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_cells_of_an_experiment_are_what_composing_each_in_full_gives(experiment, composed):
    chosen = f"experiment={experiment}"
    options = composed([chosen]).hydra.sweeper
    sweeper = GridsSweeper(options.params, options.grids)
    sweeper.hydra_context = SimpleNamespace(config_loader=GlobalHydra.instance().config_loader())
    *_, first, second = sweeper.expand([chosen, *VALUES])
    before, compose_cell = composed.calls, GridComposer(composed)
    settings, choices = [compose_cell(cell) for cell in (first, second)][1]
    assert composed.calls - before == 1
    config = composed(second)
    assert settings == to_settings(config)
    assert choices == config.hydra.runtime.choices


@pytest.mark.parametrize("overrides", ORDERED, ids=" ".join)
def test_overrides_that_hang_together_or_are_wrong_are_composed_in_full(overrides, composed):
    expected = outcome(lambda: to_settings(composed(overrides)))
    found = outcome(GridComposer(composed), overrides)
    assert (found if isinstance(found[0], type) else found[0]) == expected


def test_there_are_all_experiments():
    assert len(EXPERIMENTS) == 14
