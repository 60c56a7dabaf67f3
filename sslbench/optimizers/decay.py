"""Which weights decay."""


def spare_norms_and_biases(groups: list[dict]) -> list[dict]:
    """Split parameter groups, so that vectors and scalars in them do not decay."""
    found = []
    for group in groups:
        decays = [it for it in group["params"] if it.ndim > 1]
        spared = [it for it in group["params"] if it.ndim <= 1]
        found += [{**group, "params": decays}, {**group, "params": spared, "weight_decay": 0.0}]
    return [group for group in found if group["params"]]
