"""Settings: composed, checked, written and read, told apart by their identity."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import zip_longest

import pytest
from helpers.cells import choices, composer
from helpers.commands import environment, train_here

from sslbench.cell.changes import find_changes
from sslbench.cell.identity import cell_id
from sslbench.config.as_json import settings_from_json, settings_to_json
from sslbench.config.compose import compose_settings, conf_dir
from sslbench.config.ratio import RULE
from sslbench.machine.hardware import auto_precision

GROUPS = ("model", "method", "augmentation", "optimizer", "data", "tracking")
TOGETHER = [
    {group: choice for group, choice in zip(GROUPS, row, strict=True) if choice is not None}
    for row in zip_longest(*map(choices, GROUPS))
]
"""Each choice once, of all groups at a time; test_grid composes the experiments."""
TOGETHER += [{"ratio": choice} for choice in choices("ratio")]


def test_another_config_tree_can_be_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SSLBENCH_CONF", str(tmp_path))
    assert conf_dir() == str(tmp_path)


@pytest.mark.parametrize("chosen", TOGETHER, ids=lambda chosen: " ".join(chosen.values()))
def test_every_choice_composes_to_valid_settings_which_json_keeps(chosen):
    settings, _ = composer([f"{group}={choice}" for group, choice in chosen.items()])
    called = {"data": "kind", "model": "choice"}
    for group, choice in chosen.items():
        assert getattr(getattr(settings, group), called.get(group, "name")) == choice
    contents = json.loads(json.dumps(settings_to_json(settings)))
    assert settings_from_json(contents) == settings


def test_json_of_another_version_is_refused_and_new_fields_get_their_default():
    settings = compose_settings(["method=semi"])
    contents = settings_to_json(settings)
    del contents["method"]["ema"], contents["threads"]
    assert settings_from_json(contents) == settings
    contents["method"]["momentum"] = 1
    with pytest.raises(ValueError, match="not settings of this version .*momentum"):
        settings_from_json(contents)


def test_a_method_brings_its_own_augmentation_rate_and_batches():
    semi = compose_settings(["method=semi"])
    assert semi.augmentation.name == "semi"
    assert (semi.optimizer.lr, semi.method.batch_size) == (2e-3, 32)
    assert semi.method.unlabeled_batch_size == 64
    barlow = compose_settings(["method=barlow"])
    assert barlow.augmentation.name == "barlow"
    assert (barlow.optimizer.lr, barlow.method.batch_size, barlow.method.epochs) == (5e-4, 100, 4)
    supervised = compose_settings([])
    assert (supervised.method.batch_size, supervised.method.epochs) == (125, 100)


@pytest.mark.parametrize(
    ("overrides", "ratio", "numbers"),
    [
        ("ratio=1:20", "1:20", (1, 20)),
        ("ratio=2:10", "1:5", (1, 5)),
        ("ratio.unlabeled=-1 ratio.labeled=3", "all", (1, -1)),
        ("ratio=all ratio.unlabeled=20", "1:20", (1, 20)),
    ],
)
def test_a_ratio_is_named_by_its_numbers_in_lowest_terms(overrides, ratio, numbers):
    shared = ["method=semi", "data=digits", "ratio.of=batch"]
    found, same = (compose_settings([*shared, *it.split()]) for it in (overrides, f"ratio={ratio}"))
    assert found.ratio == same.ratio
    assert (found.ratio.name, (found.ratio.labeled, found.ratio.unlabeled)) == (ratio, numbers)
    assert cell_id(found) == cell_id(same)


@pytest.mark.parametrize(
    "override",
    """
        optimizer.lr=-1 optimizer.lr=inf method.threshold=1.5 method.batch_size=0
        augmentation.view_a.flip.p=2 augmentation.view_b.blur.kernel=4 data.fold=10
        data.val_fraction=1 precision=fp16 steps=0 seed=-1 ratio.of=epoch
        tracking.mode=sometimes method.ema=1.0 model.dropout=-0.1 optimizer.weight_decay=nan
        method.epochs=-inf device=cpu:7 device=meta seed=9223372036854775808 steps=1000000000000
        cells_per_device=1000000 cells_per_device=many cells_per_device=0 gpu_sharing=turns
        model.channels=1000000 model.dropout=1 method.epochs=5000000000.0
        method.eval_every=5000000000.0 method.snapshot_steps=[1,-1] optimizer.betas=[[1],[2]]
        method.unlabeled_batch_size=10000000 optimizer.clip_grad_norm=1e-300
        ratio.labeled=1000000000 data.split_seed=9223372036854775808
        method=barlow|method.projector=[9000000] method=barlow|method.probe_l2=1e-300
        model=wrn45_2|model.negative_slope=7.5 model=wrn45_2|model.strides=[1,2,2,1000]
        method=supervised|method.ema=1.0 method=flexmatch|method.threshold=1.5
        method=freematch|method.decay=1.0 method=freematch|method.fairness_weight=-1
        method=softmatch|method.decay=-0.5 method=softmatch|method.width=0
        method=mean_teacher|method.teacher_decay=1.0 method=mean_teacher|method.ramp_up_steps=-1
        model=wrn45_2|model.blocks_per_stage=1000 method=barlow|method.snapshot_steps=[[1]]
        method=simclr|method.temperature=0.0 method=vicreg|method.variance=-1.0
        method=byol|method.target_decay=1.0 method=byol|method.predictor=[0]
        method=mixed_barlow|method.mix_weight=-1.0
    """.split(),
)
def test_values_out_of_range_are_named(override):
    key, _, value = override.rpartition("|")[2].partition("=")
    with pytest.raises(ValueError, match=key.rpartition(".")[2]) as refused:
        composer(["method=semi", *override.split("|")])
    assert value in str(refused.value).replace(", ", ",")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("-m experiment=table1 --cfg job", "Only one of --run, --multirun, --cfg"),
        ("-m experiment=quote", "experiment/quote.yaml: line 1: found unexpected end of stream"),
        ("-m seed=0,1,", "seed=0,1,: a value is missing beside a comma; as text it would be "),
        ("seed=[1", "seed=[1: ] is missing; as text it would be 'seed=\"[1\"'\n"),
        ("seed='1", "seed='1: ' is not closed; as text it would be 'seed=\"1\"'\n"),
        ("seed=1#2", "seed=1#2: '#' stands only in quotes; as text it would be 'seed=\"1#2\"'\n"),
        ("seed", "seed: write key=value, as in seed=1; --help lists the keys\n"),
        ("=3", "=3: write key=value, as in seed=1; --help lists the keys\n"),
        ("outputs=x", "outputs: cannot be set, as a folder of this name beside the configuration"),
        ("device=${foo}", "Interpolation key 'foo' not found"),
        ("steps=" + "9" * 5000, "(5,007 characters) has too many digits\n"),
        ("seed=range(1,3)", "seed=range(1,3): several values are a sweep; add -m as the first"),
        ("experiment=bare", "In 'experiment/bare': begin the file with the line: # @package _glob"),
        ("séed=1", "séed=1: séed is no key; keys are letters, digits and dots, as in optimizer.lr"),
        ("seed=1.5", "sslbench: seed=1.5: must be a whole number\n"),
        ("optimizer.betas=1", "sslbench: optimizer.betas=1: must be a list, as in [1,2]\n"),
        ("data.root=null", "sslbench: data.root=null: must not be empty or null\n"),
        (
            "model=resnet",
            "model=resnet: no such choice; did you mean resnet18? there are con",
        ),
        ("model=convnet,resnet18", "model=convnet,resnet18: several values are a sweep; add -m"),
        ("+model=resnet18", "model: chosen twice; leave + out, as in model=resnet18\n"),
        ("~method", "method=…: one choice at a time; to try several, sweep them: -m method=a,b\n"),
        ("~model", "model=…: one choice at a time; to try several, sweep them: -m model=a,b\n"),
        (
            "model=[convnet,resnet18]",
            "model=[convnet,resnet18]: one choice at a time; to try ",
        ),
        ("hydra.job.chdir=true", "hydra.job.chdir=true: each cell has its own folder already; "),
        ("hydra.verbose=3", "hydra.verbose=3: Hydra cannot take it; check it"),
        ("experiment=untrue", 'YAML reads off, on, yes and no as truth values; write "off" in quo'),
        *((f"ratio={ratio}", f"ratio={ratio}: {RULE}\n") for ratio in ("1:0", "01:05", "1:0.5")),
        ("data=digits ratio=20", f"ratio=20: {RULE}; in YAML, put it in quotes\n"),
        ("seed=1 model=18", "model=18: a choice is a name; --help lists them\n"),
        (
            "experiment=unquoted",
            "is a name, and YAML reads one as int; put it in quotes\n",
        ),
        ("modle=convnet", "key modle; did you mean model?\n"),
        ("epochs=3", "key epochs; did you mean method.epochs?\n"),
        ("method.treshold=0", "method.treshold; did you mean method.threshold?\n"),
        ("method.pseudo_labels=soft", "it belongs to method=fixmatch and method=semi\n"),
        ("model=resnet18 model.dropout=0", "key model.dropout; it belongs to model=convnet and"),
        ("init.form=barlow", "init.form; did you mean init.from?\n"),
        ("method=semi +augmentation.view_a.blur.kernl=1", "did you mean augmentation.view_a.blur."),
        ("hydra.sweeper.dryrun=true", "did you mean hydra.sweeper.dry_run?\n"),
        ("experiment=typo", "In 'experiment/typo': unknown key optimizer.lrr; did you mean opti"),
    ],
)
def test_what_hydra_refuses_is_one_line(arguments, message, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "quote.yaml").write_text('method: {"semi}')
    (tmp_path / "experiment" / "unquoted.yaml").write_text(
        "# @package _global_\ndefaults: [{override /ratio: 1:7}]"
    )
    (tmp_path / "experiment" / "untrue.yaml").write_text(
        "# @package _global_\ndefaults: [{override /tracking: off}]"
    )
    (tmp_path / "experiment" / "bare.yaml").write_text("seed: 1")
    (tmp_path / "experiment" / "typo.yaml").write_text("# @package _global_\noptimizer: {lrr: 1}")
    refused = train_here(tmp_path, "--config-dir", str(tmp_path), *arguments.split())
    assert refused.returncode == 2
    assert message.strip() in " ".join(refused.stderr.split())
    assert refused.stderr.count("\n") <= 2
    assert max(map(len, refused.stderr.splitlines())) <= 120


def test_hydras_traceback_is_there_for_who_asks(tmp_path):
    with pytest.raises(ValueError, match="--resolve"):
        train_here(tmp_path, "--resolve", env={"HYDRA_FULL_ERROR": "1"})


def test_ctrl_c_is_quiet(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "slow.yaml").write_text("defaults: [/class/helpers.interrupted.Model]")
    left = train_here(tmp_path, "--config-dir", str(tmp_path), "model=slow")
    assert (left.returncode, left.stderr) == (130, "")
    (tmp_path / "hydra.py").write_text("raise KeyboardInterrupt")  # while it is imported
    importing = subprocess.run(
        [sys.executable, "-m", "sslbench.train"],
        env=environment(tmp_path, tmp_path),
        cwd=tmp_path,
        capture_output=True,
    )
    assert (importing.returncode, importing.stderr) == (130, b"")


@pytest.mark.parametrize("asked", ["--help", "--cfg=job", "-sc=query=bash"])
def test_help_and_completion_need_no_heavy_import(asked, tmp_path):
    code = (
        "import runpy, sys, atexit; sys.argv = ['sslbench.train', *sys.argv[1].split('=', 1)]; "
        "heavy = {'torch', 'torchvision', 'wandb', 'sklearn', 'pandas'}; "
        "atexit.register(lambda: print('loaded:', *heavy & set(sys.modules), file=sys.stderr)); "
        "runpy.run_module('sslbench.train', run_name='__main__')"
    )
    command = [sys.executable, "-c", code, asked]
    env = environment(tmp_path) | {"COMP_LINE": "train.py method="}
    found = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
    assert "supervised" in found.stdout
    assert found.stderr.strip() == "loaded:"


TYPED = {
    "optimizer=sgd optimizer.nesterov=false": {"optimizer": "sgd", "optimizer.nesterov": False},
    "method.ema=0.99 data.fold=3": {"method.ema": 0.99, "data.fold": 3},
    "augmentation.view_a.crop.scale=[0.2,1]": {"augmentation.view_a.crop.scale": [0.2, 1.0]},
    "augmentation=barlow": {"augmentation": "barlow"},
    "augmentation.view_b.solarize.p=0": {"augmentation.view_b.solarize.p": 0.0},
    "model=wrn45_2 model.widths=[8,8,8,8]": {"model.widths": [8, 8, 8, 8]},
    "method=supervised ratio=1:5 augmentation.view_b.blur.p=0.9": {},
    "method.adam_lr=0.01": {"optimizer.lr": 0.01},
    "threads=1 tracking=off device=cpu log_every=7 seed=3 init.from=x.pt": {},
}


@pytest.mark.parametrize("typed", TYPED)
def test_changes_are_what_was_typed_and_lead_to_the_same_cell(typed):
    settings, chosen = composer(["method=semi", "data=digits", *typed.split()])
    settings = replace(settings, precision=auto_precision("cpu"))
    changes = find_changes(settings, chosen)
    assert changes == TYPED[typed]
    again = [f"{group}={chosen[group]}" for group in ("model", "method", "ratio", "data")]
    again += [f"seed={settings.seed}", f"init.from={settings.init_from or 'null'}"]
    again += [f"{key}={value}".replace(" ", "") for key, value in changes.items()]
    again.append(f"precision={settings.precision}")
    assert cell_id(compose_settings(again)) == cell_id(settings)
