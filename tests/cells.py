"""Small cells for tests: settings composed as the command line composes them."""

from hydra import compose, initialize_config_dir

from sslbench.config.compose import conf_dir, register, to_settings

TINY = (
    "data=digits",
    "tracking=off",
    "threads=1",
    "model.channels=8",
    "method.batch_size=8",
    "log_every=2",
)


def compose_config(*overrides, with_hydra=False):
    register()
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        return compose("config", overrides=list(overrides), return_hydra_config=with_hydra)


def compose_settings(*overrides):
    return to_settings(compose_config(*overrides))
