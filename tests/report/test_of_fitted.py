import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch.distributions import Independent, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from lowerbound.data import Standardize
from lowerbound.fitting import Settings
from lowerbound.report import collect, render
from lowerbound.runs import Run, RunError, load_dataset


def fitted(path: Path, data: dict[str, Any], **model: Any) -> Run:
    """A finished run whose weights are those it would have started from."""
    settings = Settings(model={"hidden": [16], **model}, epochs=1.0, steps=20, compile=False, device="cpu")
    dataset = load_dataset(data)
    run = Run.create(path, settings, data, dataset)
    problem = run.prepare(dataset, settings.engine())
    run.save_model(problem.loss.model, problem.transform)
    terms = {"bound": -30.0, "likelihood": -25.0, "prior": -8.0, "posterior": -3.0}
    record = {
        "step": 20,
        "terms": terms,
        "held_out": terms,
        "gradient_norm": 1.0,
        "learning_rate": 0.1,
        "is_best": True,
    }
    (path / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    return run


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return fitted(tmp_path_factory.mktemp("digits") / "run", {"name": "digits"}, latent_dim=5)


def table_file(folder: Path) -> Path:
    g = np.random.default_rng(0)
    rows = np.stack([1000 + 50 * g.normal(size=200), g.normal(size=200)], axis=1)
    path = folder / "table.csv"
    text = "height,weight\n" + "".join(f"{a},{b}\n" for a, b in rows)
    path.write_text(text)
    return path


def test_images_are_shown_as_the_model_saw_them(digits: Run):
    contents = collect(digits)
    assert contents.kind == "image"
    assert contents.binarization == "dynamic"
    assert contents.originals is not None
    assert set(np.unique(contents.originals)) == {0.0, 1.0}
    np.testing.assert_array_equal(contents.originals, digits.test_tensor()[: len(contents.originals)].numpy())


def test_reconstructions_and_samples_are_means(digits: Run):
    contents = collect(digits)
    for shown in (contents.reconstructions, contents.samples):
        assert shown is not None
        assert shown.shape[1:] == (8, 8)
        assert ((shown > 0) & (shown < 1)).all()


def test_codes_are_the_principal_components_of_posterior_means(digits: Run):
    contents = collect(digits)
    with torch.inference_mode():
        z = digits.load_model().infer(digits.test_tensor()).mean.double().numpy()
    pca = PCA(n_components=2, svd_solver="full").fit(z)
    assert contents.codes is not None
    np.testing.assert_allclose(contents.codes, pca.transform(z), atol=1e-9)
    np.testing.assert_allclose(contents.explained, pca.explained_variance_ratio_)


def test_labels_belong_to_the_codes(digits: Run):
    contents = collect(digits)
    assert contents.codes is not None
    np.testing.assert_array_equal(contents.code_labels, digits.dataset().y_test[: len(contents.codes)])


def test_what_the_run_recorded_is_passed_on(digits: Run):
    contents = collect(digits)
    assert contents.title == "vae on digits"
    assert contents.metrics == digits.metrics()
    assert len(contents.metrics) == 1
    assert contents.configuration == digits.config["settings"]
    assert contents.data["test rows"] == "360"
    assert "torch" in contents.versions


def test_the_same_run_gives_the_same_page_and_leaves_the_random_state_alone(digits: Run):
    before = torch.get_rng_state()
    first = collect(digits)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    second = collect(digits)
    np.testing.assert_array_equal(first.samples, second.samples)
    np.testing.assert_array_equal(first.reconstructions, second.reconstructions)


def test_the_evaluation_is_used_once_it_is_there(digits: Run):
    assert collect(digits).evaluation is None
    path = digits.path / "evaluation.json"
    path.write_text(json.dumps({"elbo": -20.5, "kl_per_dimension": [0.5, 0, 1, 2, 3]}))
    contents = collect(digits)
    path.unlink()
    assert contents.evaluation is not None
    np.testing.assert_array_equal(contents.kl_per_dimension, [0.5, 0, 1, 2, 3])
    assert "−20.50" in render(contents)


def test_a_table_is_shown_in_its_own_units(tmp_path: Path):
    data = {"path": str(table_file(tmp_path))}
    run = fitted(tmp_path / "run", data, latent_dim=1, likelihood="normal")
    assert isinstance(run.load_transform(), Standardize)
    contents = collect(run)
    assert contents.codes is not None
    assert contents.codes.shape == (40, 1)
    assert contents.explained is None
    assert contents.originals is not None
    assert contents.samples is not None
    assert abs(contents.originals[:, 0].mean() - 1000) < 50
    assert abs(contents.samples[:, 0].mean() - 1000) < 50
    assert contents.feature_names == ("height", "weight")
    assert "Latent map" in render(contents)


def test_a_posterior_without_a_mean_is_represented_by_draws(digits: Run, monkeypatch: pytest.MonkeyPatch):
    model = digits.load_model()

    class Squashed(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> TransformedDistribution:
            base = Independent(Normal(torch.full((len(x), 2), 0.3), 0.01), 1)
            return TransformedDistribution(base, [TanhTransform()])

    model.posterior = Squashed()
    model.likelihood = _Halves()
    monkeypatch.setattr(digits, "load_model", lambda: model)
    contents = collect(digits)
    assert contents.codes_are == "The mean of 64 draws of q(z | x)"
    np.testing.assert_allclose(contents.codes, np.tanh(0.3), atol=0.01)


class _Halves(torch.nn.Module):
    """A likelihood that does not look at z."""

    def forward(self, z: torch.Tensor) -> Independent:
        return Independent(Normal(torch.full((*z.shape[:-1], 8, 8), 0.5), 1.0), 2)


def test_an_unfinished_run_is_refused(tmp_path: Path):
    dataset = load_dataset({"name": "digits"})
    run = Run.create(tmp_path / "run", Settings(epochs=1.0), {"name": "digits"}, dataset)
    with pytest.raises(RunError, match="no trained model"):
        collect(run)


def test_contents_are_frozen(digits: Run):
    with pytest.raises(dataclasses.FrozenInstanceError):
        collect(digits).title = "another"  # type: ignore[misc]
