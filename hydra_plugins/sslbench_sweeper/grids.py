"""placeholder until the sweep issue"""
from dataclasses import dataclass, field
from typing import Any
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore

@dataclass
class GridsSweeperConf:
    _target_: str = "hydra_plugins.sslbench_sweeper.grids.GridsSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None
    grids: dict[str, dict[str, str]] = field(default_factory=dict)

ConfigStore.instance().store(group="hydra/sweeper", name="grids", node=GridsSweeperConf, provider="sslbench")

class GridsSweeper(BasicSweeper):
    def __init__(self, max_batch_size, params=None, grids=None):
        super().__init__(max_batch_size, params)
