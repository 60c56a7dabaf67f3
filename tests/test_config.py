import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cells import compose_config, compose_settings

from sslbench.cell.identity import cell_id
from sslbench.config import settings as schema
from sslbench.config.compose import ALL_CORES, conf_dir, num_workers, to_settings
from sslbench.config.ratio import RULE
from sslbench.processes import available_cores
from sslbench.train import main

CONF = Path(conf_dir())
FILES = sorted(CONF.rglob("*.yaml"))
GROUPS = ("model", "method", "augmentation", "ratio", "optimizer", "data", "tracking")
CHOICES = [
    (group, path.stem)
    for group in (*GROUPS, "experiment")
    for path in (CONF / group).glob("*.yaml")
]
NO_RATIOS = ("1-20", "1:0", "01:05", "1:0.5", "abc")


def test_all_yaml_files_are_seen():
    assert len(FILES) == 32
    assert len(CHOICES) == 31


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_to_valid_settings(group, choice):
    overrides = ["method=supervised"] if (group, choice) == ("ratio", "none") else []
    settings = compose_settings(f"{group}={choice}", *overrides)
    if group in GROUPS:
        assert getattr(settings, group).name == choice
        config = compose_config(f"{group}={choice}", *overrides, with_hydra=True)
        assert to_settings(config) == settings


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_ratio_is_read_as_a_base_60_number(path):
    def scalars(node):
        if isinstance(node, yaml.ScalarNode):
            yield node
        elif isinstance(node, yaml.SequenceNode):
            for child in node.value:
                yield from scalars(child)
        elif isinstance(node, yaml.MappingNode):
            for pair in node.value:
                for child in pair:
                    yield from scalars(child)

    for scalar in scalars(yaml.compose(path.read_text())):
        assert not (scalar.tag.endswith(":int") and ":" in scalar.value), scalar.start_mark


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")))
def test_every_experiment_says_how_it_is_run(path):
    assert f"-m experiment={path.stem}" in path.read_text()


def test_a_method_brings_its_own_augmentation_rate_and_batches():
    semi = compose_settings("method=semi")
    assert semi.augmentation.name == "semi"
    assert (semi.optimizer.lr, semi.method.batch_size) == (2e-3, 32)
    assert semi.method.unlabeled_batch_size == 64
    barlow = compose_settings("method=barlow")
    assert barlow.augmentation.name == "barlow"
    assert (barlow.optimizer.lr, barlow.method.batch_size, barlow.method.epochs) == (5e-4, 100, 4)
    supervised = compose_settings()
    assert (supervised.method.batch_size, supervised.method.epochs) == (125, 100)


def test_what_a_method_brings_can_be_overridden():
    settings = compose_settings(
        "method=semi", "augmentation=none", "optimizer=sgd", "optimizer.lr=0.5", "method.epochs=2"
    )
    assert settings.augmentation.name == "none"
    assert (settings.optimizer.name, settings.optimizer.lr) == ("sgd", 0.5)
    assert settings.method.epochs == 2


@pytest.mark.parametrize(("ratio", "labeled", "unlabeled"), [("1:20", 1, 20), ("3:7", 3, 7)])
def test_any_ratio_is_a_choice(ratio, labeled, unlabeled):
    found = compose_settings("method=semi", f"ratio={ratio}").ratio
    assert (found.name, found.labeled, found.unlabeled) == (ratio, labeled, unlabeled)


@pytest.mark.parametrize(
    ("overrides", "ratio"),
    [
        ("ratio.unlabeled=5", "1:5"),
        ("ratio=2:10", "1:5"),
        ("ratio=14:7", "2:1"),
        ("ratio.unlabeled=-1 ratio.labeled=3", "all"),
        ("ratio=all ratio.unlabeled=20", "1:20"),
        ("ratio.name=mine", "1:20"),
    ],
)
@pytest.mark.parametrize("of", ["ratio.of=pool", "ratio.of=batch"])
def test_a_ratio_is_named_by_its_numbers_in_lowest_terms(overrides, ratio, of):
    shared = ("method=semi", "data=digits", of)
    found, same = (compose_settings(*shared, *it.split()) for it in (overrides, f"ratio={ratio}"))
    assert found.ratio == same.ratio
    assert found.ratio.name == ratio
    assert cell_id(found) == cell_id(same)


@pytest.mark.parametrize(
    "override",
    [
        "optimizer.lr=-1",
        "optimizer.lr=inf",
        "method.threshold=1.5",
        "method.batch_size=0",
        "augmentation.view_a.flip=2",
        "augmentation.view_b.blur_kernel=4",
        "data.fold=10",
        "data.val_fraction=1",
        "precision=fp16",
        "steps=0",
        "seed=-1",
        "ratio.of=epoch",
        "tracking.mode=sometimes",
        "method.ema=1.0",
        "model.dropout=-0.1",
    ],
)
def test_values_out_of_range_are_named(override):
    key, _, value = override.partition("=")
    with pytest.raises(ValueError, match=key.rpartition(".")[2]) as refused:
        compose_settings("method=semi", override)
    assert value in str(refused.value)


@pytest.mark.parametrize("key", ["optimizer.lr", "method.epochs", "optimizer.weight_decay"])
@pytest.mark.parametrize("value", ["1e999", "-inf", "nan"])
def test_numbers_are_finite(key, value):
    with pytest.raises(ValueError, match=f"{key}=(-?inf|nan): must be finite"):
        compose_settings(f"{key}={value}")


def test_added_keys_are_refused_with_a_hint():
    with pytest.raises(ValueError, match=r"optimizer\.lrr; did you mean optimizer\.lr\?"):
        compose_settings("+optimizer.lrr=1")
    with pytest.raises(ValueError, match="init"):
        compose_settings("+init.form=x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("-m experiment=table1 --cfg job", "Only one of --run, --multirun, --cfg"),
        ("--resolve model=convnet", "The --resolve flag can only be used"),
        ("experiment=quote", 'quote.yaml", line 1, column 10 found unexpected end of stream'),
        ("-m experiment=quote", 'quote.yaml", line 1, column 10 found unexpected end of stream'),
        ("--package x --cfg job", "package 'x' not found"),
        ("-m seed=0,1,", "seed=0,1,: cannot be read as key=value (mismatched input '<EOF>');"),
        ("model={a", "model={a: cannot be read as key=value (no viable"),
        ("seed", "seed: cannot be read as key=value (missing EQUAL at '<EOF>')"),
        ('seed="0', 'seed="0: cannot be read'),
        *((f"ratio={ratio}", f"ratio={ratio}: {RULE}\n") for ratio in NO_RATIOS),
        ("data=digits ratio=20", f"ratio=20: {RULE}; in YAML, put it in quotes\n"),
        ("seed=1 model=18", "model=18: a choice is a name; --help lists them\n"),
        ("optimizer=1e-3", "optimizer=1e-3: a choice is a name"),
        ("experiment=unquoted", "int. Supported: string or list; put a ratio in quotes\n"),
        ("modle=convnet", "key modle; did you mean model?\n"),
        ("experimnt=table1", "key experimnt; did you mean experiment?\n"),
        ("method=semi method.treshold=0", "method.treshold; did you mean method.threshold?\n"),
        ("method.treshold=0", "method.treshold; did you mean method.threshold?\n"),
        ("method.threshold=0", "method.threshold; it belongs to method=semi\n"),
        ("model=resnet18 model.dropout=0", "belongs to model=convnet and model=wrn45_2\n"),
        ("init.form=barlow", "init.form; did you mean init.from?\n"),
        ("hydra.sweeper.dryrun=true", "did you mean hydra.sweeper.dry_run?\n"),
        ("experiment=typo", "In 'experiment/typo': unknown key optimizer.lrr; did you mean opti"),
    ],
)
def test_what_hydra_refuses_is_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "quote.yaml").write_text('method: {"semi}')
    (tmp_path / "experiment" / "unquoted.yaml").write_text(
        "# @package _global_\ndefaults: [{override /ratio: 1:7}]"
    )
    (tmp_path / "experiment" / "typo.yaml").write_text("# @package _global_\noptimizer: {lrr: 1}")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr(sys, "argv", ["", "--config-dir", str(tmp_path), *arguments.split()])
    with pytest.raises(SystemExit) as refused:
        main()
    assert refused.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_hydras_traceback_is_there_for_who_asks(monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["", "--resolve"])
    with pytest.raises(ValueError, match="--resolve"):
        main()


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_ctrl_c_is_quiet(monkeypatch, tmp_path):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr(sys, "argv", ["", "--cfg", "job"])
    monkeypatch.setattr("hydra._internal.hydra.Hydra.show_cfg", interrupt)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 130
    (tmp_path / "hydra.py").write_text("raise KeyboardInterrupt")  # while it is imported
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{CONF.parent}"}
    command = [sys.executable, "-m", "sslbench.train"]
    importing = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True)
    assert (importing.returncode, importing.stderr) == (130, b"")


@pytest.mark.parametrize(
    ("override", "way_out"),
    [
        ("model.name=resnet18", "with model=convnet: use model=resnet18 or name it convnet"),
        ("method.name=semi", "with method=supervised: use method=semi or"),
        ("augmentation.name=barlow", "with augmentation=supervised: use augmentation=barlow or"),
    ],
)
def test_a_name_is_its_choices(override, way_out):
    config = compose_config(override, with_hydra=True)
    with pytest.raises(ValueError, match=f"{override} {way_out}"):
        to_settings(config)


@pytest.mark.parametrize("method", ["semi", "barlow"])
def test_methods_that_need_unlabelled_images_refuse_none(method):
    with pytest.raises(ValueError, match="ratio=none"):
        compose_settings(f"method={method}", "ratio=none")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_workers_and_threads_are_of_the_cores_allowed_here():
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert available_cores() == 1
        gpus = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
        assert num_workers(ALL_CORES) == (gpus or 1)
    finally:
        os.sched_setaffinity(0, allowed)
    assert available_cores() == len(allowed)


def test_help_and_completion_need_no_heavy_import():
    code = (
        "import sys; import sslbench.train; "
        "heavy = {'torch', 'torchvision', 'wandb', 'sklearn', 'pandas'}; "
        "print(*heavy.intersection(sys.modules))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == []


class TestIdentity:
    def id(self, *overrides):
        return cell_id(compose_settings("data=digits", *overrides))

    def test_order_of_overrides_does_not_matter(self):
        assert self.id("seed=1", "method=semi") == self.id("method=semi", "seed=1")

    @pytest.mark.parametrize(
        "override",
        [
            "seed=1",
            "model=resnet18",
            "model.channels=64",
            "method.epochs=3",
            "optimizer.lr=0.1",
            "steps=7",
            "precision=fp32",
            "data.num_labeled=40",
            "data.split_seed=2",
            "augmentation.view_a.flip=0.1",
            "method.threshold=0.5",
            "ratio=1:5",
            "optimizer=adamw",
        ],
    )
    def test_what_changes_numbers_changes_the_id(self, override):
        assert self.id("method=semi", override) != self.id("method=semi")

    @pytest.mark.parametrize(
        "override",
        [
            "device=cpu",
            "threads=1",
            "tracking=off",
            "tracking.group=table1",
            "outputs=elsewhere",
            "compile=off",
            "log_every=3",
            "data.root=elsewhere",
            "cells_per_device=4",
            "method.adam_lr=0.7 optimizer.lr=0.002",
        ],
    )
    def test_how_a_cell_is_run_does_not(self, override):
        assert self.id("method=semi", *override.split()) == self.id("method=semi")

    def test_parts_that_a_method_does_not_use_do_not(self):
        assert self.id("ratio=1:5") == self.id("ratio=1:20")
        assert self.id("augmentation.view_b.flip=0.1") == self.id()
        assert self.id("optimizer.momentum=0.5") == self.id()

    def test_names_alone_do_not(self):
        assert self.id("augmentation.name=mine") == self.id()

    def test_a_field_equal_to_its_default_is_left_out(self):
        from sslbench.cell.identity import identity

        contents = identity(compose_settings("data=digits", "method=semi"))
        assert contents["method"] == {"type": "Semi"}
        assert contents["model"] == {"type": "ConvNet"}

    def test_ids_are_folder_names_and_wandb_ids(self):
        found = self.id("method=semi", "model=wrn45_2", "ratio=1:20")
        assert found.startswith("semi-wrn45_2-1to20-digits-s0-")
        assert set(found) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")

    def test_the_id_of_the_papers_cell_stays_what_it_is(self):
        settings = compose_settings("data=stl10", "method=semi", "model=wrn45_2")
        assert cell_id(settings) == "semi-wrn45_2-1to20-stl10-s0-bd68efbd"


def test_settings_survive_hydras_own_node():
    config = compose_config(with_hydra=True)
    assert isinstance(to_settings(config), schema.Settings)
    assert "hydra" in config
