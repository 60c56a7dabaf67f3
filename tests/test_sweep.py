"""Sweeps: planned as a whole, contained failures, what is read about them."""

import os

import pytest
from helpers import cells
from helpers.commands import PARTS, TINY, records, share_digits, train_here
from rich.console import Console

from sslbench.cell.versions import code_digest
from sslbench.config.compose import compose_settings
from sslbench.sweep.crew import Crew
from sslbench.sweep.live import Overview
from sslbench.sweep.plan import Planner
from sslbench.sweep.preflight import Preflight
from sslbench.sweep.present import exit_report, headline, plan_table


def planner(tmp_path, **options):
    def compose(overrides):
        return cells.composer([*TINY, f"outputs={tmp_path}", *overrides])

    share_digits(tmp_path)
    return Planner(compose, Preflight(), **{"retry_failed": True, "retry_limit": 3, **options})


def save_record(job, status, **more):
    job.cell.save_request()
    cells.save_record(job.cell.folder.path, status, **more)


class TestPlan:
    def test_every_bad_cell_is_listed_with_its_reason(self, tmp_path):
        bad = [
            "model=foo",
            "method=semi ratio=none",
            "steps=0",
            "method.knn_k=9",
            "seed=1 ratio=67",
        ]
        with pytest.raises(ValueError) as refused:
            planner(tmp_path).plan([["method=semi"], *map(str.split, bad)])
        message = str(refused.value)
        assert message.startswith("5 of 6 cells are invalid; nothing was started")
        assert message.endswith("\nhydra.sweeper.skip_invalid=true leaves them out")
        for words in (*bad, "key method.knn_k", "ratio=67: write", "steps=0: must be greater"):
            assert words in message

    def test_invalid_cells_can_be_left_out(self, tmp_path):
        bad = ["method=semi ratio=none init.from=barlow", *(f"steps=0 seed={n}" for n in range(8))]
        cells = [["seed=1"], *map(str.split, bad)]
        plan = planner(tmp_path, skip_invalid=True).plan(cells)
        assert [job.cell.settings.seed for job in plan.jobs] == [1]  # nor a parent without a child
        text = headline(plan)
        assert text.startswith("1 cells: 1 to do\n9 invalid cells are left out:\n")
        assert "steps=0 seed=1\n  and 6 more\n      steps=0: must be greater than 0" in text
        assert "ratio=none: this method learns from unlabelled images" in text
        with pytest.raises(ValueError, match="9 of 9 cells are invalid; nothing was started"):
            planner(tmp_path, skip_invalid=True).plan(cells[1:])

    def test_a_parent_that_is_asked_for_too_is_one_cell(self, tmp_path):
        barlow, child = ["method=barlow", "method.knn_k=5"], ["method=semi", "init.from=barlow"]
        plan = planner(tmp_path).plan([barlow, child, [*child, "seed=1"]])
        first, semi, other_parent, _ = plan.jobs
        assert semi.parent is first
        assert other_parent.cell.settings.seed == 1
        assert other_parent.cell.settings.method.knn_k == 200
        turned = planner(tmp_path).plan([child, barlow]).jobs
        assert [job.cell.id for job in turned] == [first.cell.id, semi.cell.id]

    @pytest.mark.parametrize(
        "values",
        [
            ("ratio=1:1", "ratio=1:5"),
            pytest.param(("optimizer.lr=1", "seed=1"), marks=pytest.mark.slow),
        ],
    )
    def test_a_child_is_the_same_cell_in_any_sweep(self, values, tmp_path):
        children = [["method=semi", "init.from=barlow", value] for value in values]
        alone = [planner(tmp_path).plan([child]).jobs[-1].cell.id for child in children]
        for order in (children, children[::-1]):
            jobs = planner(tmp_path).plan(order).jobs
            assert len(jobs) == 4
            assert {job.cell.id for job in jobs if job.parent is not None} == set(alone)
        jobs = planner(tmp_path).plan([["method=barlow", values[0]], *children]).jobs
        assert {job.cell.id for job in jobs} >= set(alone)

    def test_done_cells_are_skipped_and_failed_ones_tried_up_to_a_limit(self, tmp_path):
        def planned(**options):
            [job] = planner(tmp_path, **options).plan([["seed=5"]]).jobs
            return job

        job = planned()
        states = []
        for status, failures in (("done", 0), ("failed", 2), ("failed", 3), ("interrupted", 0)):
            save_record(job, status, failures=failures)
            states.append(planned().state)
        assert states == ["done", "to do", "failed", "to do"]
        save_record(job, "failed", failures=1)
        assert planned(retry_failed=False).state == "failed"
        save_record(job, "failed", failures=3, runtime={"versions": {"code": "of another code"}})
        assert planned().state == "to do"
        with job.cell.folder.locked():
            assert planned().state == "running"

    def test_what_may_not_be_downloaded_is_refused_though_nothing_would_be(self, tmp_path):
        root = f"data.root={tmp_path}"
        settings = compose_settings(["data=stl10", "data.download=false", root])
        with pytest.raises(ValueError, match=r"data\.download=false"):
            Preflight(may_download=False).make_concrete(settings)

    def test_cells_of_other_code_are_counted(self, tmp_path):
        seeds = [["seed=1"], ["seed=2"], ["seed=3"]]
        jobs = planner(tmp_path).plan(seeds).jobs
        for job, code in zip(jobs, (code_digest({}), "0" * 12, None), strict=True):
            save_record(job, "done", runtime={"versions": {"code": code}})
        text = headline(planner(tmp_path).plan(seeds))
        assert text.startswith("3 cells: 3 done\n1 of those done were trained by other code")
        assert str(jobs[1].cell.folder.path) in text

    def test_a_plan_tells_apart_what_ids_do_not(self, tmp_path):
        thresholds = [["method=semi", f"method.threshold={t}", "seed=1"] for t in (0, 0.7)]
        plan = planner(tmp_path).plan(thresholds)
        lines = plan_table(plan, {}, Crew(1)).splitlines()[2:]
        assert [line.split()[-1] for line in lines] == [job.overrides[1] for job in plan.jobs]
        for job in plan.jobs:
            assert f"settings: {job.overrides[1]}" in exit_report(plan)

    def test_what_is_not_tried_again_is_said(self, tmp_path):
        save_record(planner(tmp_path).plan([["seed=5"]]).jobs[0], "failed", failures=3)
        report = exit_report(planner(tmp_path).plan([["seed=5"]]))
        assert "the same command" not in report
        assert "1 were not tried again" in report
        assert "hydra.sweeper.retry_limit=4 tries them" in report

    def test_an_unreadable_record_is_named_and_not_overwritten(self, tmp_path):
        plan = planner(tmp_path).plan([["seed=0"]])
        save_record(plan.jobs[0], "done")
        (plan.jobs[0].cell.folder.path / "record.json").write_text("{")
        assert "resume=evaluate makes it anew" in exit_report(plan)
        plan = planner(tmp_path).plan([["seed=0"], ["seed=1"]])
        assert [job.state for job in plan.jobs] == ["damaged", "to do"]
        assert "resume=evaluate" in exit_report(plan)
        [job] = planner(tmp_path).plan([["seed=0", "resume=restart"]]).jobs
        assert job.state == "to do"

    def test_a_done_cell_whose_files_or_start_changed_is_done_no_more(self, tmp_path):
        child = ["method=semi", "init.from=barlow"]
        jobs = planner(tmp_path).plan([child]).jobs
        for job, more in zip(jobs, ({"weights_sha256": "a"}, {"start_sha256": "a"}), strict=True):
            save_record(job, "done", results=more)
        assert headline(planner(tmp_path).plan([child])) == "2 cells: 2 done"
        save_record(jobs[0], "done", results={"weights_sha256": "b"})
        plan = planner(tmp_path).plan([child])
        assert [job.state for job in plan.jobs] == ["done", "stale"]
        assert "was trained anew since" in exit_report(plan)
        (jobs[0].cell.folder.path / "best.pt").write_bytes(b"other")
        plan = planner(tmp_path).plan([child])
        assert [job.state for job in plan.jobs] == ["damaged", "stale"]
        assert "best.pt: damaged, or changed" in exit_report(plan)

    def test_the_overview_counts_what_this_sweep_has_done(self, tmp_path):
        first, second, third = (plan := planner(tmp_path).plan([[f"seed={s}"] for s in "012"])).jobs
        save_record(second, "failed", failures=1)
        os.utime(second.cell.folder.path / "record.json", (0, 0))  # of an earlier try
        overview = Overview(plan)

        def shown():
            console = Console(width=100)
            with console.capture() as captured:
                console.print(overview.table())
            return captured.get()

        assert "0/3 done, 0 running" in shown()
        save_record(first, "done")
        save_record(second, "failed", failures=2)
        with third.cell.folder.locked():
            points = ('{"step": 4, "split": "val", "accuracy": 0.25}', '{"step": 6, "split": "tr')
            (third.cell.folder.path / "metrics.jsonl").write_text("\n".join(points))
            text = shown()
        assert "1/3 done, 1 running, 1 failed" in text
        assert third.cell.id in text
        assert "25.00%" in text


FAULTS = {
    "none": None,
    "error": ("RuntimeError", "sabotage"),
    "exit": ("SystemExit", "7"),
    "death": ("ProcessDied", "the cell's process ended by exit code 9"),
}


def test_a_failing_cell_costs_itself_alone_and_is_tried_again(tmp_path):
    broken = tmp_path / "broken"
    broken.touch()
    command = ["-m", *PARTS, *TINY, "steps=2", "log_every=1", "optimizer=faulty"]
    command += [f"optimizer.broken={broken}", f"optimizer.fault={','.join([*FAULTS][::-1])}"]
    result = train_here(tmp_path, *command)
    assert result.returncode == 1, result
    for record in records(tmp_path).values():
        error = FAULTS[record.settings["optimizer"]["fault"]]
        assert record.status == ("failed" if error else "done")
        assert (record.error and (record.error["type"], record.error["message"])) == error
    assert "3 of 4 cells are not done" in result.stdout
    assert "RuntimeError: sabotage" in result.stdout
    broken.unlink()
    healed = train_here(tmp_path, *command)
    assert healed.returncode == 0, healed
    assert "1 done, 3 to do" in healed.stdout
    assert {record.status for record in records(tmp_path).values()} == {"done"}


def test_a_failed_parent_blocks_its_children(tmp_path):
    failing = [*TINY, "steps=2", "optimizer.lr=1e30", "log_every=1"]
    result = train_here(tmp_path, "-m", *failing, "method=semi", "init.from=barlow")
    assert result.returncode == 1, result
    statuses = {name.partition("-")[0]: r.status for name, r in records(tmp_path).items()}
    assert statuses == {"barlow": "failed", "semi": "blocked"}
    assert "did not finish" in result.stdout
