import pytest
import torch

from sslbench.evaluate.probe import fit_linear_probe, knn_predict


def blobs(classes=3, n=30, dim=8, gap=6.0):
    generator = torch.Generator().manual_seed(0)
    centers = gap * torch.randn(classes, dim, generator=generator)
    labels = torch.arange(classes).repeat_interleave(n)
    return centers[labels] + torch.randn(len(labels), dim, generator=generator), labels


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_probe_separates_what_is_separable(classes):
    embeddings, labels = blobs(classes)
    probe = fit_linear_probe(embeddings, labels, 1.0)
    assert probe(embeddings).shape == (len(labels), classes)
    assert (probe(embeddings).argmax(1) == labels).float().mean() > 0.99


def test_probe_equals_scikit_learn_on_standardised_embeddings():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    embeddings, labels = blobs(gap=1.0)
    scaler = StandardScaler().fit(embeddings.numpy())
    reference = LogisticRegression(C=0.5, max_iter=300)
    reference.fit(scaler.transform(embeddings.numpy()), labels.numpy())
    expected = torch.from_numpy(reference.decision_function(scaler.transform(embeddings.numpy())))
    logits = fit_linear_probe(embeddings, labels, 2.0)(embeddings)
    torch.testing.assert_close(
        logits.softmax(1), expected.float().softmax(1), rtol=0.01, atol=0.002
    )


def test_probe_survives_a_flat_feature():
    embeddings, labels = blobs()
    embeddings[:, 3] = 7.0
    assert torch.isfinite(fit_linear_probe(embeddings, labels, 1.0)(embeddings)).all()


def test_knn_with_one_neighbour_finds_itself():
    embeddings, labels = blobs(gap=0.1)
    assert torch.equal(knn_predict(embeddings, labels, embeddings, 1), labels)


def test_knn_weights_votes_by_similarity():
    train = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.05, 1.0]])
    labels = torch.tensor([0, 1, 1])
    query = torch.tensor([[1.0, 0.1]])
    assert knn_predict(train, labels, query, 3).item() == 0  # two far votes weigh less


def test_knn_takes_at_most_all_images():
    embeddings, labels = blobs()
    assert knn_predict(embeddings, labels, embeddings[:4], 10_000).shape == (4,)
