"""Sweeps: planned as a whole, contained failures, gone on with after a crash."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from cells import TINY, compose_config, compose_settings
from filelock import FileLock
from hydra.utils import instantiate
from test_cli import ROOT, environment, train

from sslbench.cell.folder import Busy, CellFolder
from sslbench.cell.record import Record, code_digest, load_record
from sslbench.sweep.plan import BadCells, Planner, parent_overrides
from sslbench.sweep.preflight import Preflight
from sslbench.sweep.present import _Overview, exit_report, headline, plan_table
from sslbench.sweep.slots import device_slot

SMALL = ("data=digits", "tracking=off", "model.channels=8", "method.batch_size=8", "log_every=2")


def records(tmp_path):
    return {
        path.name: load_record(path) for path in sorted((tmp_path / "outputs/cells").glob("*/"))
    }


def planner(tmp_path, **options):
    def compose(overrides):
        return compose_settings(*TINY, f"outputs={tmp_path}", *overrides)

    return Planner(compose, Preflight(), **{"retry_failed": True, "retry_limit": 3, **options})


class TestPlan:
    def test_duplicates_are_planned_once(self, tmp_path):
        plan = planner(tmp_path).plan([["ratio=1:1"], ["ratio=1:5"], ["seed=1"]])
        assert len(plan.cells) == 2  # supervised learning uses no ratio
        assert plan.num_requested == 3

    def test_every_bad_cell_is_listed_with_its_reason(self, tmp_path):
        with pytest.raises(BadCells) as refused:
            planner(tmp_path).plan(
                [
                    ["method=semi"],
                    ["model=foo"],
                    ["method=semi", "ratio=none"],
                    ["steps=0"],
                    ["method.ema=0"],
                    ["seed=1", "ratio=67"],
                ]
            )
        message = str(refused.value)
        assert message.startswith("5 of 6 cells are invalid; nothing was started")
        for words in ("model=foo", "ratio=none", "steps=0", "to method=semi", "ratio=67: write"):
            assert words in message

    @pytest.mark.parametrize(
        ("axis", "job"),
        [
            ("{seed: 0}", "seed=0"),
            ("{model.widths: [16, 32]}", "model.widths=[16,32]"),
            ("{ratio: [61, 67]}", None),
            ("{ratio: ['1:1', '1:7']}", None),
        ],
    )
    def test_an_axis_is_no_list_but_its_value_may_be_one(self, axis, job):
        config = compose_config(f"+hydra.sweeper.grids.mine={axis}", with_hydra=True)
        sweeper = instantiate(config.hydra.sweeper)
        sweeper.hydra_context = SimpleNamespace(config_loader=None)
        if job is not None:
            assert sweeper._requests([]) == [[job]]
        else:
            with pytest.raises(ValueError, match="ratio: .*: put the values of an axis in quotes"):
                sweeper._requests([])

    def test_a_parent_is_planned_before_its_child(self, tmp_path):
        child = ["method=semi", "seed=2", "init.from=barlow"]
        plan = planner(tmp_path).plan([child])
        assert [cell.settings.method.name for cell in plan.cells] == ["barlow", "semi"]
        barlow, semi = plan.cells
        assert barlow.settings.seed == 2
        assert semi.settings.init_from == barlow.cell_id
        assert f"init.from='{barlow.cell_id}'" in semi.overrides

    def test_a_parent_that_is_asked_for_too_is_one_cell(self, tmp_path):
        barlow, child = ["method=barlow", "method.knn_k=5"], ["method=semi", "init.from=barlow"]
        plan = planner(tmp_path).plan([barlow, child, [*child, "seed=1"]])
        first, semi, other_parent, _ = plan.cells
        assert semi.parent is first
        assert other_parent.settings.seed == 1
        assert other_parent.settings.method.knn_k == 200
        assert [c.cell_id for c in planner(tmp_path).plan([child, barlow]).cells[:2]] == [
            first.cell_id,
            semi.cell_id,
        ]

    @pytest.mark.parametrize("key", ["ratio=1:1,1:5", "optimizer.lr=0.1,0.2"])
    def test_a_child_is_the_same_cell_in_any_sweep(self, key, tmp_path):
        name, _, values = key.partition("=")
        children = [
            ["method=semi", "init.from=barlow", f"{name}={value}"] for value in values.split(",")
        ]
        alone = [planner(tmp_path).plan([child]).cells[-1].cell_id for child in children]
        for order in (children, children[::-1]):
            cells = planner(tmp_path).plan(order).cells
            assert len(cells) == 4
            assert {c.cell_id for c in cells if c.parent is not None} == set(alone)
        asked = [f"method=barlow {name}={values.split(',')[0]}".split()]
        assert {c.cell_id for c in planner(tmp_path).plan([*asked, *children]).cells} >= set(alone)

    def test_done_cells_are_skipped_and_failed_ones_tried_up_to_a_limit(self, tmp_path):
        [cell] = planner(tmp_path).plan([["seed=5"]]).cells
        states = []
        for status, failures in (("done", 0), ("failed", 2), ("failed", 3), ("interrupted", 0)):
            cell.folder.path.mkdir(parents=True, exist_ok=True)
            Record(cell.cell_id, status, {}, failures=failures).save(cell.folder.path)
            states.append(planner(tmp_path).plan([["seed=5"]]).cells[0].state)
        assert states == ["done", "to do", "failed", "to do"]
        Record(cell.cell_id, "failed", {}, failures=1).save(cell.folder.path)
        assert planner(tmp_path, retry_failed=False).plan([["seed=5"]]).cells[0].state == "failed"

    def test_cells_of_other_code_are_counted(self, tmp_path):
        cells = planner(tmp_path).plan([["seed=1"], ["seed=2"], ["seed=3"]]).cells
        found = ({"code": code_digest()}, {"code": "0123456789ab"}, {})
        for cell, versions in zip(cells, found, strict=True):
            cell.folder.path.mkdir(parents=True)
            Record(cell.cell_id, "done", {}, runtime={"versions": versions}).save(cell.folder.path)
        text = headline(planner(tmp_path).plan([["seed=1"], ["seed=2"], ["seed=3"]]))
        assert text.startswith("3 cells: 3 done\n1 of those done were trained by other code")
        assert str(cells[1].folder.path) in text

    def test_parents_keep_what_is_not_the_methods(self):
        overrides = ["steps=3", "method=semi", "method.ema=0.9", "ratio=1:5", "init.from=x"]
        start = ["method=barlow", "init.from=null"]
        assert parent_overrides(overrides, "barlow") == ["steps=3", "ratio=1:5", *start]
        assert parent_overrides(overrides, "barlow steps=9") == ["ratio=1:5", *start, "steps=9"]


def test_a_cell_is_held_by_one_process(tmp_path):
    folder = CellFolder(tmp_path, "cell")
    with folder.locked():
        assert CellFolder(tmp_path, "cell").state() == "running"
        with pytest.raises(Busy), CellFolder(tmp_path, "cell").locked():
            pass
    assert folder.state() == "missing"


def test_who_looks_at_a_cell_is_not_taken_for_who_trains_it(tmp_path):
    folder = CellFolder(tmp_path, "cell")
    with folder.locked():
        Record("cell", "done", {}).save(folder.path)
    with ThreadPoolExecutor(4) as pool:
        states = list(pool.map(lambda _: folder.state(), range(2000)))
    assert set(states) == {"done"}


def test_an_unreadable_record_is_named_and_not_overwritten(tmp_path):
    plan = planner(tmp_path).plan([["seed=0"]])
    [cell] = plan.cells
    cell.folder.path.mkdir(parents=True)
    (cell.folder.path / "record.json").write_text("{")
    assert "delete it to run the cell" in exit_report(plan)
    with pytest.raises(BadCells, match="delete it to run the cell"):
        planner(tmp_path).plan([["seed=0"]])


def test_who_only_looks_at_a_cell_does_not_keep_it_from_being_trained(tmp_path):
    folder = CellFolder(tmp_path, "cell")
    folder.path.mkdir(parents=True)
    look = FileLock(folder.path / ".lock", thread_local=False)
    look.acquire()
    leaving = threading.Timer(0.2, look.release)
    leaving.start()
    with folder.locked():
        pass
    leaving.join()


def test_a_killed_process_holds_nothing(tmp_path):
    code = f"""
        import os, signal
        from sslbench.cell.folder import CellFolder
        with CellFolder({str(tmp_path)!r}, "cell").locked():
            os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert killed.returncode == -signal.SIGKILL
    with CellFolder(tmp_path, "cell").locked():
        pass


def test_device_slots_are_shared_out_and_given_back(tmp_path):
    both = ("a", "b")
    with device_slot(both, 1, tmp_path) as first, device_slot(both, 1, tmp_path) as second:
        assert {first, second} == {0, 1}
    with device_slot(("a",), 2, tmp_path) as first, device_slot(("a",), 2, tmp_path) as second:
        assert first == second == 0
    # Who sees the second device alone does not wait for the first, and takes the second one away.
    with device_slot(("a",), 1, tmp_path), device_slot(("b",), 1, tmp_path) as visible:
        assert visible == 0
    with device_slot(("b",), 1, tmp_path), device_slot(both, 1, tmp_path) as left:
        assert left == 0


def test_device_slots_are_for_all_users(tmp_path):
    folder = tmp_path / "slots"
    mask = os.umask(0o077)
    try:
        with device_slot(("a",), 1, folder):
            modes = {path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}
    finally:
        os.umask(mask)
    assert modes == {0o777, 0o666}


SABOTAGE = """
import os, sys
if "SABOTAGE" in os.environ:
    import importlib.abc, importlib.util

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name != "sslbench.run":
                return None
            sys.meta_path.remove(self)
            spec = importlib.util.find_spec(name)
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                build = module.build_parts

                def sabotaged(settings):
                    if settings.seed == 1:
                        raise RuntimeError("sabotage")
                    if settings.seed == 2:
                        os._exit(9)
                    if settings.seed == 3:
                        sys.exit(7)
                    if settings.seed == 4:
                        settings.optimizer.lr = 1e30
                    return build(settings)

                module.build_parts = sabotaged

            spec.loader.exec_module = exec_module
            return spec

    sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_failing_cell_costs_itself_alone(launcher, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(SABOTAGE)
    env = environment(tmp_path)
    env["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{ROOT}"
    arguments = [*SMALL, "steps=2", "seed=0,1,2,3,4,5", "log_every=1", f"hydra/launcher={launcher}"]
    command = [sys.executable, "-m", "sslbench.train", "-m", *arguments]
    result = subprocess.run(
        command, cwd=tmp_path, env=env | {"SABOTAGE": "1"}, capture_output=True, text=True
    )
    assert result.returncode == 1, result.stdout + result.stderr
    by_seed = {record.settings["seed"]: record for record in records(tmp_path).values()}
    assert {seed: record.status for seed, record in by_seed.items()} == {
        0: "done",
        1: "failed",
        2: "failed",
        3: "failed",
        4: "failed",
        5: "done",
    }
    assert by_seed[1].error["type"] == "RuntimeError"
    assert by_seed[2].error == {
        "type": "ProcessDied",
        "message": "the cell's process ended by exit code 9",
    }
    assert by_seed[3].error["type"] == "SystemExit"
    assert by_seed[4].error["type"] == "NonFiniteLoss"
    assert "4 of 6 cells are not done" in result.stdout
    assert "RuntimeError: sabotage" in result.stdout

    healed = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert healed.returncode == 0, healed.stdout + healed.stderr
    assert "2 done, 4 to do" in healed.stdout
    assert all(record.status == "done" for record in records(tmp_path).values())


def test_a_failed_parent_blocks_its_children(tmp_path):
    arguments = [*SMALL, "steps=2", "optimizer.lr=1e30", "log_every=1"]
    result = train(tmp_path, "-m", *arguments, "method=semi", "model=convnet", "init.from=barlow")
    assert result.returncode == 1, result.stdout + result.stderr
    statuses = {name.partition("-")[0]: r.status for name, r in records(tmp_path).items()}
    assert statuses == {"barlow": "failed", "semi": "blocked"}
    assert "did not finish" in result.stdout


def test_an_experiments_file_may_say_where_cells_start_from(tmp_path):
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    mine = tmp_path / "conf" / "experiment" / "mine.yaml"
    body = "# @package _global_\ndefaults: [{override /method: semi}]\ninit: {from: barlow}\n"
    mine.write_text(body)
    command = ["-m", "experiment=mine", *SMALL, "steps=1"]
    env = environment(tmp_path) | {"SSLBENCH_CONF": str(tmp_path / "conf")}
    result = train(tmp_path, *command, env=env)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 cells: 2 to do" in result.stdout
    mine.write_text(body + "method: {threshold: 0.5}\n")
    result = train(tmp_path, *command, env=env)
    assert result.returncode == 2
    assert "unknown key method.threshold; it belongs to method=semi" in result.stderr
    assert "hydra.sweeper.params" in result.stderr


def test_the_papers_plan_is_18_cells_a_seed(tmp_path):
    plan = ("hydra.sweeper.dry_run=true", "hydra.sweeper.probe=false")
    result = train(tmp_path, "-m", "experiment=paper", "data=digits", *plan, "seed=0,1")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert "36 cells: 36 to do, 8 asked for twice" in lines
    starts = [line.partition("-")[0] for line in lines if "-digits-s" in line]
    assert {name: starts.count(name) for name in starts} == {
        "supervised": 6,
        "barlow": 6,
        "semi": 24,
    }
    assert not (tmp_path / "outputs" / "cells").exists()


def test_a_dry_run_needs_no_data_and_fetches_none(tmp_path):
    plan = ("hydra.sweeper.dry_run=true", "data.url=http://127.0.0.1:9/")
    result = train(tmp_path, "-m", "experiment=paper", *plan)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("18 cells: 18 to do")
    assert "STL-10 is not in data: the sweep would download it first" in result.stdout
    assert not (tmp_path / "data").exists()


def test_a_plan_tells_apart_what_ids_do_not(tmp_path):
    thresholds = [["method=semi", f"method.threshold={t}", "seed=1"] for t in (0, 0.7)]
    plan = planner(tmp_path).plan(thresholds)
    lines = plan_table(plan, {}, 1).splitlines()[2:]
    assert [line.split()[-1] for line in lines] == ["method.threshold=0", "method.threshold=0.7"]
    for cell in plan.cells:
        assert f"settings: {cell.overrides[1]}" in exit_report(plan)


def test_what_is_not_tried_again_is_said(tmp_path):
    [cell] = planner(tmp_path).plan([["seed=5"]]).cells
    cell.folder.path.mkdir(parents=True)
    Record(cell.cell_id, "failed", {}, failures=3).save(cell.folder.path)
    report = exit_report(planner(tmp_path).plan([["seed=5"]]))
    assert "the same command" not in report
    assert "1 were not tried again" in report
    assert "hydra.sweeper.retry_limit=4 tries them" in report
    assert planner(tmp_path, retry_limit=4).plan([["seed=5"]]).cells[0].state == "to do"


def test_a_dry_run_estimates_time_and_memory_by_a_probe(tmp_path):
    result = train(tmp_path, "-m", *SMALL, "steps=7", "seed=0,1", "hydra.sweeper.dry_run=true")
    assert result.returncode == 0, result.stderr
    rows = [line for line in result.stdout.splitlines() if line.startswith("supervised-convnet")]
    assert len(rows) == 2
    assert all("GiB" in row and "probe" in row for row in rows)
    assert "one after the other" in result.stdout
    assert train(tmp_path, "-m", *SMALL, "steps=7", "seed=0").returncode == 0
    again = train(tmp_path, "-m", *SMALL, "steps=7", "seed=0,1", "hydra.sweeper.dry_run=true")
    assert "1 done, 1 to do" in again.stdout
    assert "records" in again.stdout


def test_the_overview_counts_what_this_sweep_has_done(tmp_path):
    plan = planner(tmp_path).plan([["seed=0"], ["seed=1"], ["seed=2"]])
    first, second, third = plan.cells
    second.folder.path.mkdir(parents=True)
    Record(second.cell_id, "failed", {}, failures=1).save(second.folder.path)
    os.utime(second.folder.path / "record.json", (0, 0))  # of an earlier try
    overview = _Overview(plan)
    assert overview.line().startswith("[0/3 done, 0 running]")
    first.folder.path.mkdir(parents=True)
    Record(first.cell_id, "done", {}).save(first.folder.path)
    Record(second.cell_id, "failed", {}, failures=2).save(second.folder.path)
    with third.folder.locked():
        line = overview.line()
    assert line.startswith("[1/3 done, 1 running, 1 failed]")
    assert line.endswith(third.cell_id)
