import signal
import threading

import pytest
from helpers.commands import PAPER, results, train_here
from helpers.server import Server

from sslbench.data.digits import open_digits

# A job in the background ignores Ctrl-C, and hands that on to the commands that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def without_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def outputs(tmp_path_factory):
    """An output folder with the stand-in drawn; tests may add cells, and change none."""
    folder = tmp_path_factory.mktemp("outputs")
    open_digits(folder)
    return folder


@pytest.fixture(scope="session")
def paper(tmp_path_factory):
    """What the toy of the paper comes to on this machine, where nothing disturbs it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    result = train_here(folder, *PAPER)
    assert result.returncode == 0, result
    return results(folder)
