import pytest

from faults.rounds import Player


@pytest.fixture(scope="session")
def player(tmp_path_factory: pytest.TempPathFactory) -> Player:
    """Plays on one stage, so that undisturbed cells are trained once for all tests."""
    return Player(tmp_path_factory.mktemp("faults"), here=True)
