"""W&B dashboards, without W&B: what would be saved, and what an offline run holds."""

import json
import subprocess
import sys

import pytest
from crash import train
from synthetic import make_cell, make_settings
from wandb_files import read_runs

from sslbench import dashboard


@pytest.fixture(autouse=True)
def without_account(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    assert train(folder, "method=supervised", "steps=2").status == "done"
    return folder


def strings(value):
    if isinstance(value, dict):
        value = value.values()
    elif isinstance(value, str):
        return {value}
    elif not isinstance(value, list):
        return set()
    return set().union(*map(strings, value))


def leave(*arguments):
    with pytest.raises(SystemExit) as stopped:
        dashboard.main(list(arguments))
    return stopped.value.code


def test_a_dry_run_writes_all_that_would_be_saved(outputs, capsys):
    arguments = ["--entity", "me", "--project", "mine", "--dry-run", f"--outputs={outputs}"]
    assert leave(*arguments) == 0
    assert "dashboard.json" in capsys.readouterr().out
    contents = json.loads((outputs / "report" / "dashboard.json").read_text())
    workspace, report, tables = (contents[name] for name in ("workspace", "report", "tables"))
    assert (workspace["entity"], workspace["project"]) == ("me", "mine")
    sections = workspace["spec"]["section"]["panelBankConfig"]["sections"]
    assert [section["name"] for section in sections][:2] == ["Accuracy", "Results"]
    assert {"val/accuracy", "test/accuracy", "embeddings/tsne", "step"} <= strings(sections)
    assert "method.value.name" in strings(sections)
    assert tables
    titles = [text for text in strings(report) if text.startswith("## ")]
    assert len(titles) == len(tables)
    for table in tables.values():
        assert all(len(row) == len(table["columns"]) for row in table["data"])


def test_the_tables_go_to_one_offline_run(outputs, capsys):
    for _ in range(2):
        with pytest.raises(SystemExit) as stopped:
            dashboard.main(["--summary", f"--outputs={outputs}"])
        assert stopped.value.code == 0
    assert "wandb sync" in capsys.readouterr().out
    runs = read_runs(outputs / "report")
    assert [found.run.run_id for found in runs] == ["summary", "summary"]
    found = runs[-1]
    assert found.exit_code == 0
    paths = [value for key, value in found.history[-1].items() if key.endswith("/path")]
    assert any("tables/table1" in path for path in paths)


def test_a_login_is_needed_to_save(outputs, capsys):
    with pytest.raises(SystemExit) as stopped:
        dashboard.main(["--entity", "me", f"--outputs={outputs}"])
    assert stopped.value.code == 2
    assert "wandb login" in capsys.readouterr().err


def test_an_entity_is_needed_to_build(outputs, capsys):
    with pytest.raises(SystemExit) as stopped:
        dashboard.main(["--dry-run", f"--outputs={outputs}"])
    assert stopped.value.code == 2
    assert "--entity" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--entity", ""),
        ("--entity", " "),
        ("--entity", "a/b"),
        ("--project", ""),
        ("--project", "x y/z"),
        ("--project", "50%"),
    ],
)
def test_names_that_wandb_does_not_take_are_refused(option, value, outputs, capsys):
    others = ["--entity=me", "--dry-run", f"--outputs={outputs}"]
    assert leave(*others, f"{option}={value}") == 2
    assert f"argument {option}: {value!r}" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_refused_and_not_made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments in (["--dry-run", "--outputs=nowhere"], ["--summary"]):
        assert leave("--entity=me", *arguments) == 2
        assert "no such folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_dry_run_over_a_corrupt_record_fails(tmp_path, capsys):
    make_cell(tmp_path, make_settings("convnet"), files=False)
    torn = make_cell(tmp_path, make_settings("resnet18"), files=False)
    (torn / "record.json").write_text('{"cell": "re')
    assert leave("--entity=me", "--dry-run", f"--outputs={tmp_path}") == 1
    assert torn.name in capsys.readouterr().err
    assert (tmp_path / "report" / "dashboard.json").exists()


def test_a_report_folder_that_cannot_be_made_is_named(tmp_path, capsys):
    (tmp_path / "report").write_text("in the way")
    assert leave("--entity=me", "--dry-run", f"--outputs={tmp_path}") == 2
    message = capsys.readouterr().err
    assert str(tmp_path / "report") in message
    assert f"--outputs {tmp_path}" in message


def test_a_missing_extra_is_named(outputs, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        dashboard.main(["--entity", "me", "--dry-run", f"--outputs={outputs}"])
    assert stopped.value.code == 2
    assert "pip install 'sslbench[dashboard]'" in capsys.readouterr().err


def test_help_needs_nothing_heavy():
    code = (
        "import sys, sslbench.dashboard as d\n"
        "try: d.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(bool({'torch', 'wandb', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
