import pytest
from cells import compose_settings

from sslbench.config import settings
from sslbench.engine.schedule import build_schedule, learning_rate


def test_epochs_become_the_papers_steps():
    assert build_schedule(settings.Supervised(), 5000).total_steps == 4000
    barlow = build_schedule(settings.BarlowTwins(), 100_000)
    assert barlow.total_steps == 4000
    assert barlow.snapshot_at == {50, 500, 1000, 2000, 4000}
    assert build_schedule(settings.Semi(), 5000).total_steps == 15_625


def test_every_epoch_is_evaluated_and_the_last_step():
    schedule = build_schedule(settings.Supervised(epochs=2.5), 1000)
    assert schedule.evaluate_at == {8, 16, 20}
    assert build_schedule(settings.Supervised(eval_every=2.0), 1000, 20).evaluate_at == {16, 20}


def test_an_epoch_shorter_than_a_step_is_evaluated_at_steps():
    schedule = build_schedule(settings.Supervised(epochs=4), 60)
    assert schedule.total_steps == 2
    assert schedule.evaluate_at <= {1, 2}


def test_the_last_window_is_what_follows_the_last_but_one_evaluation():
    assert build_schedule(settings.Supervised(batch_size=32), 5000, 160).last_window == 4
    assert build_schedule(settings.Supervised(epochs=2), 1000).last_window == 8
    assert build_schedule(settings.Supervised(), 5000, 7).last_window == 7


def test_steps_override_epochs():
    assert build_schedule(settings.Semi(), 5000, 7).total_steps == 7


def test_constant_rate_after_warm_up():
    optimizer = compose_settings("optimizer.lr=0.4", "optimizer.warmup=0.2").optimizer
    rates = [learning_rate(optimizer, step, total_steps=20) for step in range(20)]
    assert rates[:4] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert set(rates[4:]) == {0.4}


def test_cosine_goes_from_the_rate_towards_zero():
    optimizer = compose_settings("optimizer.lr=0.4", "optimizer.schedule=cosine").optimizer
    rates = [learning_rate(optimizer, step, total_steps=100) for step in range(100)]
    assert rates[0] == 0.4
    assert rates[50] == pytest.approx(0.2)
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.001
