"""What frozen embeddings are worth: the linear probe against scikit-learn's, and neighbours."""

import warnings

import pytest
import torch
from helpers.cells import generator
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch.testing import assert_close

from sslbench.evaluate.logistic_regression import fit_logistic_regression
from sslbench.evaluate.probe import fit_linear_probe, knn_predict


def blobs(classes, dim=8, each=30):
    centers = torch.randn(classes, dim, generator=generator())
    labels = torch.arange(classes).repeat_interleave(each)
    noise = torch.randn(len(labels), dim, generator=generator(1))
    return 3 * centers[labels] + 3 * noise, labels


FLAT = blobs(4)[0]
FLAT[:, 3] = 7.0
HARD = {
    "two classes": blobs(2),
    "ten classes": blobs(10),
    "more classes than dimensions": blobs(300, 8, 1),
    "more dimensions than images": blobs(10, 200, 6),
    "a constant dimension": (FLAT, blobs(4)[1]),
    "dimensions twice": (blobs(4)[0].repeat(1, 2), blobs(4)[1]),
    "classes of different sizes": tuple(part[20:65] for part in blobs(4)),
    "scales": (blobs(4)[0] * torch.logspace(-6, 6, 8), blobs(4)[1]),
}


def standardise(embeddings):
    return torch.from_numpy(StandardScaler().fit_transform(embeddings.double().numpy()))


def scikit_learn(features, labels, l2, solver="newton-cg"):
    """Return its optimum: `(C, D)` weights and `(C,)` biases."""
    found = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=1000, solver=solver)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a line search that ends in rounding says so
        found.fit(features.numpy(), labels.numpy())
    weight, bias = torch.from_numpy(found.coef_), torch.from_numpy(found.intercept_)
    if len(bias) == 1:  # of two classes it has the difference alone
        return torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    return weight, bias


def loss_of(weight, bias, features, labels, l2):
    logits = features @ weight.T + bias
    fit = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    return (fit + l2 / 2 * weight.square().sum()).item()


@pytest.mark.parametrize("l2", [0.1, 1.0, 1e4])
@pytest.mark.parametrize("case", HARD)
def test_the_probe_is_scikit_learns_optimum_on_standardised_embeddings(case, l2):
    embeddings, labels = HARD[case]
    features = standardise(embeddings)
    weight, bias = scikit_learn(features, labels, l2)
    found = fit_logistic_regression(features, labels, l2)
    assert_close(found.weight, weight, rtol=0, atol=1e-4 * weight.abs().max().item())
    assert_close(found.bias, bias, rtol=0, atol=1e-3)
    assert found.iterations <= 100
    expected = (features @ weight.T + bias).softmax(1)
    probed = fit_linear_probe(embeddings, labels, l2)(embeddings).softmax(1)
    assert_close(probed, expected.float(), rtol=0, atol=1e-4)
    assert torch.equal(probed.argmax(1), expected.argmax(1))


@pytest.mark.parametrize("l2", [1e-9, 1e-3, 1e9])
def test_the_probe_is_as_good_as_scikit_learns_where_the_penalty_is_extreme(l2):
    for embeddings, labels in (blobs(10, 40, 3), blobs(4)):  # the first part perfectly
        features = standardise(embeddings)
        reached, best = (
            loss_of(*found[:2], features, labels, l2)
            for found in (
                fit_logistic_regression(features, labels, l2),
                scikit_learn(features, labels, l2, "lbfgs"),
            )
        )
        assert reached <= best * (1 + 1e-6)


def test_the_probe_of_embeddings_that_are_all_alike_knows_how_frequent_classes_are():
    labels = torch.tensor([0, 1, 1, 2, 2, 2])
    probe = fit_linear_probe(torch.full((6, 5), 0.3), labels, 1.0)
    expected = torch.tensor([[1 / 6, 2 / 6, 3 / 6]])
    assert_close(probe(torch.full((1, 5), 0.3)).softmax(1), expected, rtol=0, atol=1e-5)


def test_the_probe_of_the_same_embeddings_has_the_same_bits():
    first, second = (fit_linear_probe(*blobs(10), 1.0).weight for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(("angle", "expected"), [(0.1, 0), (0.47, 0), (0.49, 1), (0.9, 1)])
def test_neighbours_vote_by_exp_of_cosine_over_temperature(angle, expected):
    def at(angles):
        return 7 * torch.stack([angles.cos(), angles.sin()], dim=1)

    train, labels = torch.tensor([0.0, 1.0, 1.2]), torch.tensor([0, 1, 1])
    query = torch.full((1100,), angle)  # more than are compared at once
    votes = ((train - angle).cos() / 0.1).exp()
    assert (votes[1] + votes[2] > votes[0]) == expected
    assert (knn_predict(at(train), labels, at(query), 10_000) == expected).all()  # all 3 of them
    nearest = labels[(train - angle).abs().argmin()]
    assert (knn_predict(at(train), labels, at(query), 1) == nearest).all()
