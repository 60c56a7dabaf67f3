"""What the config tree gives for a choice of groups, without Hydra's command line."""

from pathlib import Path

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from sslbench.config.compose import conf_dir, register, to_settings
from sslbench.config.settings import Settings


def compose_settings(overrides: list[str]) -> Settings:
    """Return the settings of `python -m sslbench.train <overrides>`, but for what is set locally.

    Raises:
        ValueError: If a value is out of its range; Hydra's own error if a choice is unknown.
    """
    register()
    GlobalHydra.instance().clear()
    options = {"version_base": "1.3"} if hydra.__version__.startswith("1.3") else {}
    has_local = (Path(conf_dir()) / "local" / "default.yaml").exists()
    with initialize_config_dir(conf_dir(), **options):
        return to_settings(compose("config", overrides + ["~local"] * has_local))
