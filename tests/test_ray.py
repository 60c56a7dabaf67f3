"""Sweeps on a Ray of two nodes that this machine pretends to be."""

from pathlib import Path

import pytest
from helpers.commands import PAPER, cells_in_training, results, start
from helpers.slurm import wait_until

cluster_utils = pytest.importorskip("ray.cluster_utils", reason="needs the extra ray")
RAY = ("hydra/launcher=ray", "hydra.launcher.ray.remote.num_gpus=0")
RAY += ("hydra.launcher.ray.remote.num_cpus=1",)


def is_of(node, cell):
    """Whether a cell is trained on a node of Ray's, whose processes know its own."""
    number = node.all_processes["raylet"][0].process.pid
    return f"RAY_RAYLET_PID={number}\0" in Path(f"/proc/{cell.holder()}/environ").read_text()


@pytest.mark.slow
def test_the_paper_one_of_whose_nodes_is_lost_ends_with_the_local_records(paper, tmp_path):
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    try:
        sweep = start(tmp_path, *PAPER, *RAY, f"hydra.launcher.ray.init.address={cluster.address}")
        found = []
        wait_until(lambda: found.extend(cells_in_training(tmp_path)) or found, 900)
        lost = found[0]
        [node] = [node for node in nodes if is_of(node, lost)]
        cluster.remove_node(node, allow_graceful=False)
        output, _ = sweep.communicate(timeout=1800)
    finally:
        cluster.shutdown()
    assert sweep.returncode == 0, output
    assert results(tmp_path) == paper
    assert "resumed after step" in (lost.path / "train.log").read_text()
