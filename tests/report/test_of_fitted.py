import copy
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

import lowerbound as lb
from lowerbound.data import Standardize
from lowerbound.data.schema import Schema, TextSchema
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import plan
from lowerbound.fitting.preparing import prepare
from lowerbound.inference import HMC, with_inference
from lowerbound.report import collect, of_fitted, render
from lowerbound.report.figures import illustrations
from lowerbound.runs import Run, load_dataset
from lowerbound.runs.folders import write_model


def finished(path: Path, data: dict[str, Any], **model: Any) -> Fitted:
    """A finished run whose weights are those it would have started from."""
    dataset = load_dataset(data)
    planned = plan(dataset, hidden=[16], steps=20, compile=False, device="cpu", **model)
    run = Run.create(path, planned, data, dataset)
    training = prepare(dataset, planned, planned.engine())
    write_model(run.path, training.loss.model, training.transform)
    terms = {"bound": -30.0, "likelihood": -25.0, "prior": -8.0, "posterior": -3.0}
    record = {
        "step": 20,
        "epoch": 1.5,
        "seconds": 0.5,
        "terms": terms,
        "held_out": terms,
        "gradient_norm": 1.0,
        "learning_rate": 0.1,
        "is_best": True,
    }
    (path / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    return run.fitted()


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return finished(tmp_path_factory.mktemp("digits") / "run", {"name": "digits"}, latent_dim=5)


def table_file(folder: Path) -> Path:
    g = np.random.default_rng(0)
    rows = np.stack([1000 + 50 * g.normal(size=200), g.normal(size=200)], axis=1)
    path = folder / "table.csv"
    text = "height,weight,unit\n" + "".join(f"{a},{b},cm\n" for a, b in rows)
    path.write_text(text)
    return path


def test_images_are_shown_as_the_model_saw_them(digits: Fitted):
    contents = collect(digits)
    assert contents.kind == "image"
    assert contents.binarization == "dynamic"
    assert contents.originals is not None
    assert set(np.unique(contents.originals)) == {0.0, 1.0}
    np.testing.assert_array_equal(
        contents.originals, digits.events(digits.test_rows().x)[: len(contents.originals)].numpy()
    )


def test_reconstructions_and_samples_are_means(digits: Fitted):
    contents = collect(digits)
    for shown in (contents.reconstructions, contents.samples):
        assert shown is not None
        assert shown.shape[1:] == (8, 8)
        assert ((shown > 0) & (shown < 1)).all()


def test_latents_are_the_principal_components_of_posterior_means(digits: Fitted):
    contents = collect(digits)
    with torch.inference_mode():
        z = digits.model.infer(digits.events(digits.test_rows().x)).mean.double().numpy()
    pca = PCA(n_components=2, svd_solver="full").fit(z)
    assert contents.latents is not None
    np.testing.assert_allclose(contents.latents, pca.transform(z), atol=1e-9)
    np.testing.assert_allclose(contents.explained, pca.explained_variance_ratio_)


def test_labels_belong_to_the_latents(digits: Fitted):
    contents = collect(digits)
    assert contents.latents is not None
    np.testing.assert_array_equal(contents.latent_labels, digits.dataset.y_test[: len(contents.latents)])


def test_what_the_run_recorded_is_passed_on(digits: Fitted):
    contents = collect(digits)
    assert contents.title == "vae on digits"
    assert contents.metrics == digits.records
    assert len(contents.metrics) == 1
    assert contents.configuration == digits.config["plan"]
    assert contents.data["test rows"] == "360"
    assert "torch" in contents.versions


def test_the_same_run_gives_the_same_page_and_leaves_the_random_state_alone(digits: Fitted):
    before = torch.get_rng_state()
    first = collect(digits)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    second = collect(digits)
    np.testing.assert_array_equal(first.samples, second.samples)
    np.testing.assert_array_equal(first.reconstructions, second.reconstructions)


def test_the_evaluation_is_used_once_it_is_there(digits: Fitted):
    assert collect(digits).evaluation is None
    assert digits.folder is not None
    run = Run.open(digits.folder)
    run.save_evaluation({"elbo": -20.5, "kl_per_dimension": [0.5, 0, 1, 2, 3]})
    contents = collect(run.fitted())
    assert contents.evaluation is not None
    np.testing.assert_array_equal(contents.kl_per_dimension, [0.5, 0, 1, 2, 3])
    assert "−20.50" in render(contents)


def test_a_table_is_shown_in_its_own_units(tmp_path: Path):
    data = {"path": str(table_file(tmp_path))}
    table = finished(tmp_path / "run", data, latent_dim=1, likelihood="normal")
    assert isinstance(table.transform, Standardize)
    contents = collect(table)
    assert contents.latents is not None
    assert contents.latents.shape == (40, 1)
    assert contents.explained is None
    assert contents.originals is not None
    assert contents.samples is not None
    assert abs(contents.originals[:, 0].mean() - 1000) < 50
    assert abs(contents.samples[:, 0].mean() - 1000) < 50
    assert contents.feature_names == ("height", "weight")
    assert contents.data["columns, continuous"] == "height, weight"
    assert contents.data["columns, left out"] == "unit (one value only ('cm'))"
    assert "Latent map" in render(contents)


def test_a_posterior_without_a_mean_is_represented_by_draws(digits: Fitted):
    class Squashed(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> TransformedDistribution:
            base = Independent(Normal(torch.full((len(x), 2), 0.3), 0.01), 1)
            return TransformedDistribution(base, [TanhTransform()])

    model = copy.copy(digits.model)
    model._modules = {**model._modules, "posterior": Squashed(), "likelihood": _Halves()}
    contents = collect(Fitted(model, plan=digits.plan, transform=digits.transform, data=digits.dataset))
    assert contents.latents_are == "The mean of 1,000 draws of q(z | x)"
    np.testing.assert_allclose(contents.latents, np.tanh(0.3), atol=0.01)


class _Halves(torch.nn.Module):
    """A likelihood that does not look at z."""

    def forward(self, z: torch.Tensor) -> Independent:
        return Independent(Normal(torch.full((*z.shape[:-1], 8, 8), 0.5), 1.0), 2)


def test_contents_are_frozen(digits: Fitted):
    with pytest.raises(dataclasses.FrozenInstanceError):
        collect(digits).title = "another"  # type: ignore[misc]


def test_chains_that_are_not_to_be_trusted_are_said_on_the_page(digits: Fitted):
    short = HMC(num_chains=2, num_warmup=2, num_samples=4, num_leapfrog=1)
    fitted = Fitted(with_inference(digits.model, short), data=digits.dataset, transform=digits.transform)
    contents = collect(fitted)
    assert any("effective sample size below 100" in problem for problem in contents.problems)
    assert "<h2>Not to be trusted</h2>" in render(contents)
    assert collect(digits).problems == ()


def test_series_are_lines_in_their_own_units(tmp_path: Path) -> None:
    x = 1000 + 50 * np.random.default_rng(0).normal(size=(40, 12, 2)).cumsum(1)
    x[:, 3, 0] = np.nan
    fitted = lb.fit(x, "hidden-markov:states=2", seed=0)
    contents = collect(fitted)
    test = fitted.test_rows().x
    assert contents.kind == "series"
    assert contents.originals is not None
    assert contents.samples is not None
    np.testing.assert_array_equal(contents.originals, test[: len(contents.originals)])
    assert abs(np.median(contents.samples) - 1000) < 200
    found = {one.heading: one for one in illustrations(contents)}
    again, draws = found["Reconstructions"].figure.axes, found["Samples"].figure.axes
    np.testing.assert_array_equal(again[1].lines[0].get_ydata(), test[0, :, 1])
    np.testing.assert_array_equal(draws[3].lines[2].get_ydata(), contents.samples[1, :, 1])
    fitted.report(tmp_path / "report.html")


def test_fewer_rows_are_checked_where_texts_have_many_symbols():
    def of(num_symbols: int) -> Schema:
        text = TextSchema(tokens="word", symbols=("",) * num_symbols)
        return Schema(kind="text", event_shape=(64,), container="txt", dtype="str", text=text)

    assert [of_fitted._num_checked(of(n)) for n in (9, 800, 4000, 10_000)] == [500, 104, 20, 20]
