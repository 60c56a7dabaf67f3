"""Any `ratio=L:U` as a config-group choice, without a file for each."""

import re

from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import OmegaConf

LISTED = ("1:1", "1:5", "1:20")
RULE = "write L:U with whole numbers from 1, such as 1:20, or all or none"
PATTERN = re.compile(r"ratio/([1-9]\d{0,8}):([1-9]\d{0,8})(\.yaml)?")


class RatioSource(ConfigSource):
    """Answers for `ratio/L:U`; parameter names are Hydra's, which calls by keyword."""

    @staticmethod
    def scheme() -> str:
        return "ratio"

    def available(self) -> bool:
        return True

    def load_config(self, config_path: str) -> ConfigResult:
        match = PATTERN.fullmatch(config_path)
        if match is None:
            raise ConfigLoadError(f"not a ratio: {config_path}")
        labeled, unlabeled = int(match[1]), int(match[2])
        config = {"name": f"{labeled}:{unlabeled}", "labeled": labeled, "unlabeled": unlabeled}
        return ConfigResult(
            provider=self.provider,
            path="ratio://",
            config=OmegaConf.create(config),
            header={"package": None},
        )

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", "ratio")

    def is_config(self, config_path: str) -> bool:
        return PATTERN.fullmatch(config_path or "") is not None

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path == "" and results_filter in (None, ObjectType.GROUP):
            return ["ratio"]
        if config_path == "ratio" and results_filter in (None, ObjectType.CONFIG):
            return list(LISTED)
        return []
