"""Searches by optuna: what they maximise, and that the same command finishes what was stopped."""

import sys

import pytest
from helpers.commands import TINY, records, train, train_here

from sslbench.config.arguments import as_hydra_reads_it
from sslbench.config.forget import ForgetConfigs

SPACE = ("hydra/sweeper=optuna", "hydra.sweeper.n_jobs=1", "steps=1")
SPACE += ("optimizer.lr=tag(log,interval(1e-4,1e-1))",)


def test_a_job_returns_its_validation_accuracy_to_whichever_sweeper_asks(tmp_path, monkeypatch):
    returned = []

    def note(_, job_return, **__):
        returned.append(job_return.return_value)

    monkeypatch.setattr(ForgetConfigs, "on_job_end", note)
    result = train_here(tmp_path, "-m", "hydra/sweeper=basic", *TINY, "steps=1")
    assert result.returncode == 0, result
    [record] = records(tmp_path).values()
    assert returned == [record.results["val"]["accuracy"]]


def test_without_optuna_it_says_what_to_install(tmp_path, monkeypatch):
    if "hydra_plugins.hydra_optuna_sweeper" in sys.modules:
        pytest.skip("the extra hpo is installed")
    refused = train_here(tmp_path, "-m", "experiment=hpo")
    assert refused.returncode == 2
    assert "hydra/sweeper=optuna: not installed; pip install 'sslbench[hpo]'" in refused.stderr


@pytest.mark.slow
def test_a_search_that_was_stopped_is_finished_by_the_same_command(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="the extra hpo is missing")
    import optuna

    for number, told in (("2", "Best value"), ("3", "Best value")):
        result = train(tmp_path, "-m", *SPACE, *TINY, f"hydra.sweeper.n_trials={number}")
        assert result.returncode == 0, result.stdout
        assert told in result.stdout
    [database] = tmp_path.glob("outputs/studies/*/trials.db")
    study = optuna.load_study(study_name=database.parent.name, storage=f"sqlite:///{database}")
    assert study.direction.name == "MAXIMIZE"
    accuracies = [record.results["val"]["accuracy"] for record in records(tmp_path).values()]
    assert sorted(trial.value for trial in study.trials) == sorted(accuracies)
    assert len(accuracies) == 3


@pytest.mark.slow
def test_a_search_with_a_failed_trial_goes_on_and_exits_with_1(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="the extra hpo is missing")
    broken = ("optimizer.lr=choice(1e30,1e-3)", "hydra/sweeper/sampler=grid", "method.select=last")
    searched = (*SPACE[:2], *TINY, *broken, "steps=9", "hydra.sweeper.n_trials=2")
    result = train(tmp_path, "-m", *searched)
    assert result.returncode == 1, result.stdout
    assert "trials that failed: " in result.stdout + result.stderr
    assert sorted(record.status for record in records(tmp_path).values()) == ["done", "failed"]


def test_a_job_of_another_sweeper_that_fails_makes_the_sweep_fail(tmp_path):
    words = ("hydra/sweeper=basic", *TINY, "data.num_labeled=7")
    result = train_here(tmp_path, "-m", *words)
    assert result.returncode == 1, result
    assert "data.num_labeled=7: must be a multiple of the 10" in result.stdout + result.stderr
    assert "a cell is not done" in result.stderr


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("--optimizer.lr=0.01", "optimizer.lr=0.01"),
        ("--model=resnet18", "model=resnet18"),
        ("--seed=3", "seed=3"),
        ("--hydra.sweeper.dry_run=true", "hydra.sweeper.dry_run=true"),
        ("--config-dir=conf", "--config-dir=conf"),
        ("--cfg=job", "--cfg=job"),
        ("model.arguments.depth=3", "++model.arguments.depth=3"),
    ],
)
def test_settings_are_taken_as_wandbs_agent_writes_them(typed, read, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train", typed])
    with as_hydra_reads_it():
        assert sys.argv == ["train", read]
    assert sys.argv == ["train", typed]


def test_options_may_stand_between_settings(monkeypatch):
    typed = ["train", "seed=1", "--config-dir", "mine", "steps=2", "-m", "~tracking.group"]
    monkeypatch.setattr("sys.argv", typed)
    with as_hydra_reads_it():
        assert sys.argv == [
            *("train", "-m", "--config-dir", "mine"),
            *("seed=1", "steps=2", "~tracking.group"),
        ]
