"""Who is let in and what gets out: passwords, files, variables, GPUs."""

import ast
import copy
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.layouts import make_layout
from omegaconf import OmegaConf

from sslbench.config.as_json import settings_to_json
from sslbench.config.compose import compose_config, compose_settings, to_settings
from sslbench.data.download import Unavailable, check_available, check_url
from sslbench.data.layout import read_layout
from sslbench.data.stl10_archive import how_to_get
from sslbench.exit_codes import UsageError
from sslbench.files.checksums import read_sealed
from sslbench.files.small import read_small
from sslbench.sweep.present import distinctions
from sslbench.words.escape import printable
from sslbench.words.redact import redacted

ROOT = Path(__file__).resolve().parent.parent
SECRET = "s3cr3t"
HUGE = 200 * 2**30


def sparse(path, size=HUGE):
    with path.open("wb") as file:
        file.truncate(size)
    return path


# Passwords


@pytest.mark.parametrize(
    "address",
    [
        f"https://me:{SECRET}@host/a.tar.gz",
        f"http://{SECRET}@host/a.tar.gz",
        f"HTTPS://me:{SECRET}@host:8443/a",
        f"https://me:{SECRET}%40x@[::1]/a",
        f"https://me:a@{SECRET}@host/a",
        f"https://me:a/{SECRET}@host/a",
        f"https://me:a?{SECRET}@host/a",
        f"https://host/a?token={SECRET}",
        f"https://host/a?x=1&X-Amz-Signature={SECRET}&y=2",
        f"data.url='https://me:{SECRET}@host/a'",
        f"(proxy http://me:{SECRET}@proxy:3128 refused it)",
        f"ftp://me:{SECRET}@host/a, https://you:{SECRET}@host/b?c={SECRET}",
    ],
)
def test_passwords_in_addresses_are_replaced(address, capsys):
    assert SECRET not in redacted(address)
    assert "***" in redacted(address)
    UsageError(f"{address} does not work")
    assert SECRET not in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["http://host:80/a/b.tar.gz", "no address: a@b?c", "file:///a/b", "what? https://host/"]
)
def test_what_holds_no_password_stays(text):
    assert redacted(text) == text


def test_a_cells_files_and_wandb_get_no_password():
    url = f"https://me:{SECRET}@host/a.tar.gz?key={SECRET}"
    settings = compose_settings(["data=stl10", f"data.url='{url}'"])
    assert settings.data.url == url
    stored = settings_to_json(settings)
    assert SECRET not in json.dumps(stored)
    assert SECRET not in how_to_get(Path("data"), url)
    with pytest.raises(ValueError, match=r"stored without its password.*type data\.url=… in full"):
        check_url(stored["data"]["url"])


def test_a_sweeps_plan_tells_no_password():
    jobs = [
        SimpleNamespace(cell=SimpleNamespace(id=str(seed)), overrides=[f"seed={seed}", *words])
        for seed, words in enumerate(([], [f"data.url=https://me:{SECRET}@host/a"]))
    ]
    assert distinctions(SimpleNamespace(jobs=jobs))["1"] == "data.url=https://***@host/a"


def test_a_password_goes_to_its_server_and_to_no_other(server, tmp_path):
    server.archive = b"x" * 10
    address = server.url.replace("http://", f"http://me:{SECRET}@")
    check_available(address, 10)
    assert server.authorizations == ["Basic bWU6czNjcjN0"]  # base64 of me:s3cr3t
    server.redirect = f"http://localhost:{server.server_port}/moved"
    check_available(address, 10)
    assert server.authorizations[1:] == ["Basic bWU6czNjcjN0", None]
    server.redirect = f"http://127.0.0.1:{server.server_port}/moved"
    check_available(address, 10)
    assert server.authorizations[-1] == "Basic bWU6czNjcjN0"
    server.status, server.redirect = 401, None
    with pytest.raises(Unavailable) as refused:
        check_available(address, 10)
    assert SECRET not in str(refused.value)


# Files of others


@pytest.mark.parametrize("name", ["class_names.txt", "fold_indices.txt", "train_y.bin"])
def test_a_huge_file_of_data_is_refused_by_its_size(name, tmp_path):
    folder = make_layout(tmp_path, folds=True)
    sparse(folder / name)
    with pytest.raises(ValueError, match=rf"{name}: {HUGE:,} bytes, expected at most .*copy"):
        read_layout(folder, "copy it again", tmp_path)


@pytest.mark.parametrize("name", ["record.json", "settings.json", "statistics.json"])
def test_a_huge_file_of_ours_is_refused_by_its_size(name, tmp_path):
    sparse(tmp_path / name)
    with pytest.raises(ValueError, match="expected at most"):
        read_sealed(tmp_path / name)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_never_ends_is_not_read(kind, tmp_path):
    path = Path("/dev/zero") if kind == "device" else tmp_path / "a"
    if kind == "pipe":
        os.mkfifo(path)
    if kind == "folder":
        path.mkdir()
    with pytest.raises(ValueError, match="not a plain file"):
        read_small(path)


@pytest.mark.parametrize(
    "letter",
    ["\x00", "\x07", "\x1b", "\x7f", "\x85", "\x9b", "\r", "\x0b", "\u2028", "\u202e", "\u2066"],
)
def test_a_class_is_not_named_by_what_moves_the_cursor(letter, tmp_path):
    folder = make_layout(tmp_path)
    (folder / "class_names.txt").write_bytes(f"bird\nc{letter}at\n".encode())
    with pytest.raises(ValueError, match=r"line 2.*control characters.*copy it") as refused:
        read_layout(folder, "copy it again", tmp_path)
    assert letter not in str(refused.value)
    assert letter not in printable(f"a{letter}b")


CALLS = [
    (path, node)
    for path in sorted((ROOT / "sslbench").rglob("*.py"))
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.Call | ast.Import | ast.ImportFrom)
]


BETWEEN_PROCESSES = {"calls.py", "call_server.py"}
"""They unpickle what this program's own processes send each other through pipes, and no file."""


def test_nothing_read_is_executed():
    loads = 0
    for path, node in CALLS:
        if not isinstance(node, ast.Call):
            modules = [each.name for each in node.names] + [getattr(node, "module", None)]
            if path.name not in BETWEEN_PROCESSES:
                executing = {"pickle", "dill", "cloudpickle", "shelve", "marshal"}
                assert not executing & set(modules), path
            continue
        name, given = ast.unparse(node.func), {each.arg for each in node.keywords}
        options = {each.arg: ast.unparse(each.value) for each in node.keywords}
        assert name not in ("eval", "exec", "os.system", "yaml.load", "joblib.load"), path
        assert "allow_pickle" not in given or options["allow_pickle"] == "False", path
        assert options.get("shell", "False") == "False", path
        if name == "torch.load":
            loads += 1
            assert options["weights_only"] == "True", path
    assert loads > 0


# Variables


@pytest.fixture(scope="module")
def config():
    return compose_config(["data=stl10"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tracking.group", "${oc.env:S}"),
        ("tracking.group", "a-${oc.env:S}-b"),
        ("tracking.group", "${oc.env:MISSING,other}"),
        ("tracking.group", "${oc.env:MISSING}"),
        ("tracking.group", "${oc.decode:${oc.env:S}}"),
        ("tracking.project", "${oc.select:data.url}"),
        ("tracking.entity", "${data.url}"),
        ("tracking.entity", "${.project}"),
        ("init.from", "${oc.env:S}"),
        ("seed", "${oc.env:S}"),
        ("method.snapshot_steps", ["${oc.env:S}"]),
        ("method.name", "${oc.env:S}"),
        ("model", "${oc.decode:'{name: ${oc.env:S}}'}"),
    ],
)
def test_a_variables_value_is_not_recorded(key, value, config, monkeypatch):
    monkeypatch.setenv("S", SECRET)
    config = copy.deepcopy(config)
    config.data.url, config.tracking.project = "http://${oc.env:S}@host", None
    if "project" in str(value):
        config.tracking.project = "${oc.env:S}"
    OmegaConf.update(config, key, value, force_add=True)
    with pytest.raises(ValueError, match=r"environment variable (S|MISSING).*write the value") as e:
        to_settings(config)
    assert SECRET not in str(e.value)


def test_a_variable_may_name_a_place(monkeypatch):
    monkeypatch.setenv("S", SECRET)
    variables = [
        "outputs='${oc.env:S}'",
        "data.root='${oc.env:S}/a'",
        "data.url='http://${oc.env:S}@h'",
    ]
    settings = compose_settings(variables)
    assert (settings.outputs, settings.data.root) == (SECRET, f"{SECRET}/a")
    assert SECRET not in settings_to_json(settings)["data"]["url"]
