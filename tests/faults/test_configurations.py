"""Any command line is planned, or refused in a few words of the user's."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from faults.command_lines import command_lines, draw, keys
from faults.configurations import check, judge, survey

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")
FEW = settings(
    max_examples=5,
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@FEW
@given(command_lines())
def test_a_command_line_is_planned_or_refused_in_few_words(tmp_path, arguments):
    assert check(tmp_path, arguments) == ""


def test_all_settings_are_drawn_from_and_a_seed_is_its_lines():
    assert {"seed", "method.ema", "model.widths", "augmentation.view_a.crop.scale"} <= set(keys())
    assert draw(3) == draw(3)


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        ("sslbench: steps=0: must be greater than 0", ""),
        (f"sslbench: outputs={'x' * 500}: cannot be written to", ""),
        ("Traceback (most recent call last)", "traceback"),
        ("seed=: LexerNoViableAltException: x", "names a class"),
        ("a\n" * 13, "13 lines"),
        ("a" * 121, "a line of 121"),
        ("", "refused without a word"),
    ],
)
def test_what_is_no_message_for_users_is_noticed(message, wrong):
    found = judge(message, (f"outputs={'x' * 500}",))
    assert found.startswith(wrong)
    assert bool(found) == bool(wrong)


def test_a_sweep_is_planned_and_a_cell_not_trained(tmp_path):
    for arguments in (("-m", "hydra.sweeper.dry_run=true", "seed=0,1"), ("seed=0",)):
        assert check(tmp_path, (*arguments, "data=digits", "tracking=off")) == ""
    assert not list(tmp_path.glob("outputs/cells/*/metrics.jsonl"))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(10))
def test_a_hundred_command_lines(number):
    assert survey(number) == []
