"""The module that learns by Barlow Twins."""

from sslbench.interfaces import Batch, Step
from sslbench.methods.barlow_twins import BarlowTwins
from sslbench.methods.losses import barlow_twins_loss
from sslbench.methods.probed_encoder import ProbedEncoder, deviation


class BarlowTwinsModule(ProbedEncoder):
    """The redundancy-reduction loss between `view_a` and `view_b` of the same images."""

    settings: BarlowTwins

    def forward(self, batch: Batch) -> Step:
        # One pass per view: BatchNorm must not mix the two views' statistics.
        z_a, z_b = self.project(batch["view_a"]), self.project(batch["view_b"])
        loss = barlow_twins_loss(z_a, z_b, self.settings.lambd)
        return Step(self.settings.loss_scale * loss, {"embedding_std": deviation(z_a)})
