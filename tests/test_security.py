"""Who is let in and what gets out: passwords, downloads, archives, files, names, variables, W&B."""

import ast
import copy
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock
from unittest.mock import MagicMock

import pandas as pd
import pytest
from helpers.layouts import make_layout
from helpers.synthetic import edit_record, make_cell
from omegaconf import OmegaConf

from sslbench import tracking, wandb_run
from sslbench.cell.record import Record
from sslbench.config.as_json import settings_to_json
from sslbench.config.compose import compose_config, compose_settings, to_settings
from sslbench.config.settings import Tracking
from sslbench.data import download as downloads
from sslbench.data import stl10
from sslbench.data.download import Unavailable, check_available, check_url, download
from sslbench.data.layout import read_layout
from sslbench.data.stl10 import how_to_get, unpack
from sslbench.exit_codes import UsageError
from sslbench.files.checksums import read_sealed
from sslbench.files.small import read_small
from sslbench.report import build_report
from sslbench.sweep.present import distinctions
from sslbench.sweep.slots import device_slot
from sslbench.tables.contents import Table
from sslbench.tables.groups import slug
from sslbench.tables.render import to_latex, to_markdown, to_text, write_csv, write_table
from sslbench.words.escape import markdown, markdown_code, printable, visible, without_formula
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
    settings = compose_settings(["data=digits", f"data.url='{url}'"])
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


# Downloads


@pytest.mark.parametrize(
    "url",
    [
        *("", "host/a", "ftp://host/a", "gopher://host/a", "data:text/plain,x", "javascript:x"),
        *("http://", "https:///a", "http://:80/a", "http://host:port/a", "http://host:99999/a"),
        *("http://[::1/a", "http://[zz]/a", "http://ho st/a", "http://host/a b", "http://host/a\n"),
        *("http://host/\x00", "http://host/\x1b[2J", "http://hést/a", "http://host/日本"),
        *(
            "http://host/\u202egz",
            f"http://me:{SECRET}@host:port/a",
            f"http://me:{SECRET} x@host/a",
        ),
    ],
)
def test_what_is_no_address_is_refused_in_a_line(url):
    with pytest.raises(ValueError, match=r"^data\.url=.*must be an address") as refused:
        check_available(url, 10)
    message = str(refused.value)
    assert SECRET not in message
    assert message.isascii()
    assert message.isprintable()


ANSWERS = {
    "a page": ({"Content-Type": "text/html; charset=utf-8"}, r"a page \(text/html\)"),
    "a page of the right size": ({"Content-Type": "TEXT/HTML"}, "a page"),
    "an xhtml page": ({"Content-Type": "application/xhtml+xml"}, "a page"),
    "a negative length": ({"Content-Length": "-1"}, "a Content-Length of '-1'"),
    "a length in words": ({"Content-Length": "ten"}, "a Content-Length of 'ten'"),
    "a huge length": ({"Content-Length": "9" * 30}, "a Content-Length of '9999"),
    "another length": ({"Content-Length": "11"}, "a file of 11 bytes"),
    "arabic digits": ({"Content-Length": "\xb2"}, "a Content-Length of"),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_is_not_the_file_is_a_line_and_no_part(answer, server, tmp_path):
    server.archive = b"x" * 10
    server.headers, message = ANSWERS[answer]
    with pytest.raises(ValueError, match=message) as refused:
        check_available(server.url, 10)
    assert not isinstance(refused.value, Unavailable)
    assert "\n" not in str(refused.value)
    part = tmp_path / "a.part"
    part.write_bytes(b"begun")
    server.archive = b"x" * 15
    with pytest.raises(ValueError, match="the same command resumes it"):
        download(server.url, tmp_path / "a", 20, "")
    assert part.read_bytes() == b"begun"


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://host/a", "gopher://host/a"])
def test_a_server_leads_to_no_file_of_this_machine(target, server):
    server.redirect = target
    with pytest.raises(Unavailable, match="(?i)redirect"):
        check_available(server.url, 10)


def test_a_server_that_sends_more_is_cut(server, tmp_path):
    server.archive, server.headers = b"x" * 5_000_000, {"Content-Length": None}
    with pytest.raises(ValueError, match=r"10 bytes with md5 .* deleted"):
        download(server.url, tmp_path / "a", 10, "")
    assert not list(tmp_path.iterdir())


def test_another_part_than_was_asked_for_is_not_kept(server, tmp_path):
    server.archive = b"x" * 20
    server.headers = {"Content-Range": "bytes 0-14/20"}
    (tmp_path / "a.part").write_bytes(b"begun")
    with pytest.raises(ValueError, match="another part"):
        download(server.url, tmp_path / "a", 20, "")
    assert (tmp_path / "a.part").read_bytes() == b"begun"


def test_a_drip_is_given_up_and_what_came_is_kept(server, tmp_path, monkeypatch):
    server.archive = b"x" * 20
    server.breaks_after = 5
    monkeypatch.setattr(downloads, "RATE_SECONDS", 1e-9)
    monkeypatch.setattr(downloads, "MIN_BYTES_PER_SECOND", 10**12)
    with pytest.raises(ValueError, match=r"after 5 of 20 bytes \(less than .* in a second"):
        download(server.url, tmp_path / "a", 20, "")
    assert (tmp_path / "a.part").read_bytes() == b"x" * 5


def test_a_head_that_never_ends_is_given_up(server, monkeypatch):
    server.sends_head = False
    monkeypatch.setattr(downloads, "ANSWER_SECONDS", 0.1)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="no answer within 0.1 seconds"):
        check_available(server.url, 10)
    assert time.monotonic() - began < 3
    server.sends_head = True


def test_a_malformed_proxy_tells_no_password(monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://me:{SECRET}")
    with pytest.raises(Unavailable, match="http_proxy") as refused:
        check_available("http://host.invalid/a", 10)
    assert SECRET not in str(refused.value)


# Archives


@pytest.mark.parametrize("kind", ["bytes", "members", "plain tar", "cut", "no archive"])
def test_an_archive_that_is_not_as_it_should_be_leaves_nothing(kind, tmp_path, monkeypatch):
    folder = make_layout(tmp_path / "published", num_unlabeled=2)
    archive, root = tmp_path / "a.tar.gz", tmp_path / "data"
    with tarfile.open(archive, "w" if kind == "plain tar" else "w:gz") as tar:
        tar.add(folder, "stl10_binary")
        for number in range(5 if kind == "members" else 0):
            tar.addfile(tarfile.TarInfo(f"{number}"))
    if kind == "cut":
        archive.write_bytes(archive.read_bytes()[:-1000])
    if kind == "no archive":
        archive.write_bytes(b"<html>")
    root.mkdir()
    limit = {"max_bytes": 1000} if kind == "bytes" else {}
    monkeypatch.setattr(stl10, "MAX_MEMBERS", 11)
    with pytest.raises(ValueError, match="not unpacked"):
        unpack(archive, root, **limit)
    assert not list(root.iterdir())


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


def test_nothing_read_is_executed():
    loads = 0
    for path, node in CALLS:
        if not isinstance(node, ast.Call):
            modules = [each.name for each in node.names] + [getattr(node, "module", None)]
            assert not {"pickle", "dill", "cloudpickle", "shelve", "marshal"} & set(modules), path
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


# Names that others chose

FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "=cmd|' /C calc'!A0",
    "-a",
    "+",
    "=",
]


@pytest.mark.parametrize("name", FORMULAS)
def test_a_spreadsheet_gets_no_formula(name, tmp_path):
    frame = pd.DataFrame([[name, -0.5]], index=[name], columns=[name, "number"])
    write_csv(frame, tmp_path / "a.csv")
    found = pd.read_csv(tmp_path / "a.csv", index_col=0)
    assert found["number"].tolist() == [-0.5]
    cells = [found.index[0], found.columns[0], found.iloc[0, 0]]
    write_table(table(name), tmp_path)
    cells.append(pd.read_csv(tmp_path / "name.csv").loc[0, "model"])
    assert all(cell.startswith("'") or cell[0] not in "=+-@\t\r" for cell in cells)


@pytest.mark.parametrize("number", ["-0.5", "+1", "-1e-5", "-inf"])
def test_a_number_in_words_stays_one(number):
    assert without_formula(number) == number


NAMES = {
    "<script>alert(1)</script>": r"\<script\>alert(1)\</script\>",
    "[a](javascript:x)": r"\[a\](javascript:x)",
    "![](https://host/pixel.png)": r"!\[\](https://host/pixel.png)",
    "_background_": r"\_background\_",
    "*a* ~b~ `c`": r"\*a\* \~b\~ \`c\`",
    "a|b": r"a\|b",
    "$x$": r"\$x\$",
    "&lt;": r"\&lt;",
    "a\\": r"a\\",
    "a\n\n# b": "a # b",
    "a\x1b[2J\u202eb": r"a\\x1b\[2J\\u202eb".replace("\\\\x", r"\\x"),
}


def table(name):
    frame = pd.DataFrame([[name, "0.50", "[1.00, 2.00]*"]], columns=["model", "ours", "interval"])
    return Table("name", f"Of {name}", "note", frame, frame)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_no_markup(name):
    assert markdown(name) == NAMES[name]
    text = to_markdown(table(name))
    (row,) = [line for line in text.splitlines() if line.startswith("| ") and "0.50" in line]
    cells = [cell.strip() for cell in re.split(r"(?<!\\)(?:\\\\)*\|", row)[1:-1]]
    assert cells[1:] == ["0.50", "[1.00, 2.00]*"]
    assert len(text.splitlines()) == 7
    assert not set(to_text(table(name))) & {"\x1b", "\u202e"}
    assert len(to_text(table(name)).splitlines()) == 5
    latex = to_latex(table(name)).splitlines()
    assert len(latex) == 7
    cell = latex[4].partition(" & ")[0].replace("$<$", "").replace("$>$", "")
    assert not re.search(r"(?<!\\)[_$&%#]|^[\[*]", cell)


@pytest.mark.parametrize("text", ["a", "`", "``a`b", "a\nb", "a\x1b"])
def test_code_ends_where_it_should(text):
    found = markdown_code(text)
    fence = re.match("`+", found)[0]
    inside = found.removeprefix(fence).removesuffix(fence)
    assert fence not in re.findall("`+", inside)
    assert "\n" not in found
    assert "\x1b" not in found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("\u200b", r"\u200b"),
        ("\u3000", r"\u3000"),
        ("\x07", r"\x07"),
        ("日本", "日本"),
        ("a\nb", "a b"),
    ],
)
def test_no_name_looks_empty(name, expected):
    assert visible(name) == expected


@pytest.mark.parametrize(
    "names", [("_own_$", "own"), ("שלום", "日本"), ("_a", "a"), ("$", "%"), ("a" * 99, "a" * 98)]
)
def test_two_names_never_share_a_file(names):
    first, second = map(slug, names)
    assert first != second
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", first)
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", second)


NO_SETTINGS = ["--config-dir", "hydra.sweep.dir", "hydra/launcher", "+a", "a\n", "a b", "~a"]


def test_commands_to_paste_set_settings_alone(tmp_path):
    for number, key in enumerate(["data.fold", *NO_SETTINGS]):
        folder = make_cell(tmp_path, cell_id=f"cell-{number}")
        edit_record(folder, "changes", {key: 40 + number})
    lines = [line for each in build_report(tmp_path).tables for line in each.commands]
    assert any("data.fold=40" in line for line in lines)
    assert not [line for line in lines if re.search(r"=4[1-9]", line)]


# Variables


@pytest.fixture(scope="module")
def config():
    return compose_config(["data=digits"])


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


# GPUs

HOLD = """
import sys, time
from sslbench.sweep.slots import device_slot
with device_slot([sys.argv[1]], 1):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_place_on_a_gpu_goes_with_the_process_that_holds_it(tmp_path, monkeypatch):
    name = str(tmp_path)[-60:]
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    holder = subprocess.Popen([sys.executable, "-c", HOLD, name], stdout=subprocess.PIPE, cwd=ROOT)
    assert holder.stdout.readline() == b"held\n"
    killing = threading.Timer(0.3, holder.send_signal, [signal.SIGKILL])
    killing.start()
    began = time.monotonic()
    with device_slot([name], 1) as device:
        assert device == 0
    assert 0.2 < time.monotonic() - began < 10
    holder.communicate()
    assert not list(tmp_path.iterdir())  # there is no file to link, to close to others or to delete


# Weights & Biases


def started(folder, **options):
    parts = {part: SimpleNamespace(name=part) for part in ("method", "model", "data")}
    settings = SimpleNamespace(tracking=Tracking(**options), uses_pool=False, seed=0, **parts)
    return tracking.start_tracker(settings, "cell", folder, {})


def use(tracker, folder):
    tracker.log({"step": 1})
    tracker.results(Record("cell", "failed", {}), folder)
    tracker.finish(1)


BROKEN = [
    "raise ImportError('no wandb')",
    "raise RuntimeError('old numpy')",
    "raise SystemExit(3)",
    "1 +",
]


@pytest.mark.parametrize("source", BROKEN)
def test_a_wandb_that_cannot_be_imported_costs_a_line(source, tmp_path, monkeypatch, caplog):
    (tmp_path / "wandb.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "wandb"]:
        monkeypatch.delitem(sys.modules, name)
    use(started(tmp_path), tmp_path)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
    assert len(caplog.messages) == 1
    assert "cannot be imported" in caplog.text
    with pytest.raises(ValueError, match="cannot be imported"):
        wandb_run.has_key()


@pytest.mark.parametrize(
    "error", [RuntimeError("a\nb"), SystemExit(3), OSError(28, "No space left")]
)
@pytest.mark.parametrize("call", ["log", "finish", "summary.update", "start"])
def test_what_wandb_raises_costs_a_line(call, error, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tracking, "end_service", lambda: None)
    run = MagicMock(**{f"{call}.side_effect": error})
    if call == "start":
        monkeypatch.setattr(wandb_run, "tracking_modes", lambda mode: ["offline"])
        monkeypatch.setattr("wandb.init", run.start)
        tracker = started(tmp_path)
    else:
        tracker = tracking.WandbTracker(lambda: run)
    use(tracker, tmp_path)
    assert len(caplog.messages) == 1
    assert "\n" not in caplog.messages[0]


@pytest.mark.parametrize("call", ["start", "log", "finish"])
def test_a_wandb_that_hangs_is_waited_for_a_bounded_time(call, tmp_path, monkeypatch, caplog):
    hanging, ended = threading.Event(), []
    monkeypatch.setattr(tracking, "START_SECONDS", 0.05)
    monkeypatch.setattr(tracking, "FINISH_SECONDS", 0.05)
    monkeypatch.setattr(tracking, "end_service", lambda: ended.append(True))
    run = MagicMock(**{f"{call}.side_effect": lambda *_, **__: hanging.wait(10)})
    began = time.monotonic()
    tracker = tracking.WandbTracker(lambda: run.start() and run if call == "start" else run)
    use(tracker, tmp_path)
    assert time.monotonic() - began < 2
    assert ended == [True]
    assert "no answer" in caplog.text
    hanging.set()


def test_what_waits_for_wandb_is_bounded(tmp_path, monkeypatch, caplog):
    hanging = threading.Event()
    monkeypatch.setattr(tracking, "MAX_WAITING", 5)
    monkeypatch.setattr(tracking, "FINISH_SECONDS", 0.05)
    monkeypatch.setattr(tracking, "end_service", lambda: None)
    tracker = tracking.WandbTracker(
        lambda: MagicMock(**{"log.side_effect": lambda _: hanging.wait(10)})
    )
    for step in range(100):
        tracker.log({"step": step})
    tracker.finish(0)
    assert len(caplog.messages) == 1
    hanging.set()


@pytest.mark.parametrize("home", [None, "/proc/nonexistent"])
def test_a_user_without_a_home_has_wandbs_files_with_the_cell(home, tmp_path, monkeypatch):
    def unknown(number):
        raise KeyError(number)

    variables = {key: value for key, value in os.environ.items() if key != "HOME"}
    variables |= {} if home is None else {"HOME": home}
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr(wandb_run, "tracking_modes", lambda mode: [])
    with mock.patch.dict(os.environ, variables, clear=True):
        wandb_run.start_run(Tracking(), tmp_path, name="a", job_type="b", tags=[])
        assert os.environ["WANDB_CACHE_DIR"] == str(tmp_path / "wandb")


def test_the_command_line_that_wandb_keeps_holds_no_password(tmp_path, monkeypatch):
    monkeypatch.setattr(wandb_run, "tracking_modes", lambda mode: ["offline"])
    seen = []
    monkeypatch.setattr("wandb.init", lambda **_: seen.extend(sys.argv) or MagicMock(offline=False))
    typed = ["train", f"data.url=https://me:{SECRET}@host/a", "seed=1"]
    monkeypatch.setattr(sys, "argv", typed)
    started(tmp_path).finish(0)
    assert seen == ["train", "data.url=https://***@host/a", "seed=1"]
    assert sys.argv == typed
