"""Sweeps on a Ray of two nodes that this machine pretends to be."""

import pytest
from helpers.commands import PAPER, results, start, wait_for

cluster_utils = pytest.importorskip("ray.cluster_utils", reason="needs the extra ray")
RAY = ("hydra/launcher=ray", "hydra.launcher.ray.remote.num_gpus=0")
RAY += ("hydra.launcher.ray.remote.num_cpus=1",)


@pytest.mark.slow
def test_the_paper_one_of_whose_nodes_is_lost_ends_with_the_local_records(paper, tmp_path):
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    try:
        sweep = start(tmp_path, *PAPER, *RAY, f"hydra.launcher.ray.init.address={cluster.address}")
        wait_for(tmp_path, "outputs/cells/*/last.pt", 2)
        cluster.remove_node(nodes[0], allow_graceful=False)
        output, _ = sweep.communicate(timeout=1800)
    finally:
        cluster.shutdown()
    assert sweep.returncode == 0, output
    assert results(tmp_path) == paper
    logs = [path.read_text() for path in tmp_path.glob("outputs/cells/*/train.log")]
    assert any("resumed after step" in log for log in logs)
