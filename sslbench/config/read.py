"""Settings out of the arguments of a command that is not Hydra's own."""

from hydra import initialize_config_dir

from sslbench.config.arguments import as_texts
from sslbench.config.compose import VERSION_BASE, compose_settings, conf_dir, register
from sslbench.config.errors import REFUSALS, reason
from sslbench.config.settings import Settings


def read_settings(overrides: list[str]) -> Settings:
    """Return the settings that were typed as a command's arguments, as `compose_settings` does.

    Raises:
        ValueError: If any of them is wrong, in few words.
    """
    register()
    with initialize_config_dir(conf_dir(), **VERSION_BASE):  # also to look at other choices
        try:
            return compose_settings(as_texts(overrides))
        except REFUSALS as error:
            raise ValueError(reason(error, overrides)) from error
