"""A callback of Hydra's, named in `conf/config.yaml`: searches by optuna that go on."""

import atexit
import hashlib
import json
import logging
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, flag_override

from sslbench.config.paths import expand
from sslbench.config.settings import Settings
from sslbench.exit_codes import CellStopped, UsageError
from sslbench.files.atomic import make_writable_folder
from sslbench.files.lock import Held, Lock
from sslbench.words.trouble import describe

log = logging.getLogger(__name__)

STUDIES = "studies"
DATABASE = "trials.db"


class GoOnWithStudy(Callback):
    """Lets `hydra/sweeper=optuna` maximise the validation accuracy, and finish what it began.

    A study is named by what is searched, and lies in `<outputs>/studies/`, so that the same command
    goes on with it: `hydra.sweeper.n_trials` counts those of earlier commands, and a trial that was
    killed is asked for again, as the cell that goes on from its checkpoint. Others go on when one
    fails; the command then ends with exit code 1.
    """

    _failed_before: int | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if "optuna" not in str(config.hydra.sweeper.get("_target_")):
            return
        try:
            with flag_override(config, ["struct", "readonly"], [False, False]):
                _prepare(config)
            self._failed_before = len(_failed(config))
        except ValueError as error:  # Hydra would make a warning of it
            raise UsageError(error) from None
        except Exception as error:
            name = f"hydra.sweeper.study_name={config.hydra.sweeper.study_name}"
            raise UsageError(f"{name}: optuna cannot open the study: {describe(error)}") from error

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        if self._failed_before is None:
            return
        if failed := _failed(config)[self._failed_before :]:
            log.error("trials that failed: %s", ", ".join(map(str, failed)))
            raise CellStopped(1)


def _failed(config: DictConfig) -> list[int]:
    """Return the numbers of the trials of a prepared study that failed, or were killed."""
    from optuna import load_study
    from optuna.trial import TrialState

    sweeper = config.hydra.sweeper
    study = load_study(study_name=sweeper.study_name, storage=sweeper.storage)
    return [it.number for it in study.get_trials(deepcopy=False, states=[TrialState.FAIL])]


def _prepare(config: DictConfig) -> None:
    """Complete the sweeper's settings, and hold the study for as long as this process lives."""
    sweeper, outputs = config.hydra.sweeper, Path(expand("outputs", config.outputs))
    name = sweeper.get("study_name") or _study_name(config)
    folder = outputs / STUDIES / name
    make_writable_folder(folder, f"outputs={outputs}")
    lock = Lock(folder / ".lock")
    try:
        lock.acquire(outlast=True)
    except Held as held:
        raise ValueError(
            f"another command searches by the study {name}: {held}; more trials at a time are "
            "hydra/launcher=joblib hydra.sweeper.n_jobs=4"
        ) from None
    atexit.register(lock.release)
    sweeper.study_name, sweeper.direction = name, "maximize"
    sweeper.storage = sweeper.get("storage") or f"sqlite:///{folder.resolve() / DATABASE}"
    config.hydra.sweep.dir = str(folder)  # the best trial is written there
    sweeper.n_trials = _num_left(sweeper)
    if not any("max_failure_rate" in it for it in config.hydra.overrides.hydra):
        sweeper.max_failure_rate = 1.0


def _num_left(sweeper: DictConfig) -> int:
    """Return how many trials are left, and ask again for those whose command was killed."""
    logging.getLogger("alembic").setLevel(logging.WARNING)  # which tells of its tables
    import optuna
    from optuna.trial import TrialState

    study = optuna.create_study(
        storage=sweeper.storage,
        study_name=sweeper.study_name,
        direction=sweeper.direction,
        load_if_exists=True,
    )
    trials = study.get_trials(deepcopy=False)
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
            if trial.params:
                with warnings.catch_warnings():  # optuna 2 takes this for an experiment
                    warnings.simplefilter("ignore")
                    study.enqueue_trial(trial.params)
    num_done = sum(trial.state == TrialState.COMPLETE for trial in trials)
    if trials:
        log.info("goes on with a search: %s of %s trials are done", num_done, sweeper.n_trials)
    return max(0, sweeper.n_trials - num_done)


def _study_name(config: DictConfig) -> str:
    """Return a name that follows from all that a search is about."""
    typed = OmegaConf.to_container(config.hydra.overrides.task)
    asked = sorted(it for it in typed if not _is_execution(it))
    sweeper = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
    space = {key: sweeper.get(key) for key in ("params", "search_space", "custom_search_space")}
    digest = hashlib.sha256(json.dumps([asked, space], sort_keys=True).encode()).hexdigest()[:8]
    model, method = (OmegaConf.select(config, f"{group}.name") for group in ("model", "method"))
    return f"{method}-{model}-{digest}"


def _is_execution(override: str) -> bool:
    """Whether an override says how trials are run, not what they are."""
    key = override.lstrip("+~").partition("=")[0].partition(".")[0]
    return any(key == it.name and not it.metadata.get("identity", True) for it in fields(Settings))
