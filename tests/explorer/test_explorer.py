"""What a page is told is what `Fitted` says of the same rows and latents."""

import base64

import numpy as np
import pytest
import torch
from small_pictures import PICTURES, of_pictures

import lowerbound as lb
from lowerbound.explorer.answers import content_answer, row_answer
from lowerbound.explorer.asked import answer, read_question
from lowerbound.explorer.page import to_json
from lowerbound.verbs.interpolating import between


def floats(text):
    return np.frombuffer(base64.b64decode(text), dtype="<f4")


def pixels(view):
    return np.frombuffer(base64.b64decode(view["pixels"]), dtype=np.uint8).reshape(view["height"], view["width"])


def test_codes_are_those_of_encode(pictures, explorer):
    encoded = pictures.encode(pictures.test_rows())
    content = content_answer(explorer)
    np.testing.assert_array_equal(floats(content["codes"]), encoded.mean.ravel())
    np.testing.assert_array_equal(floats(content["scales"]), encoded.scale.ravel())
    assert (content["count"], content["size"]) == encoded.mean.shape
    to_json(content)


def test_a_point_is_shown_as_the_decoder_has_it(pictures, explorer):
    z = torch.tensor([[0.3, -1.0, 2.0], [0.0, 0.0, 0.0]])
    with torch.no_grad():
        mean = pictures.model.decode(z).mean.numpy()
    for view, expected in zip(explorer.decode(z), mean, strict=True):
        np.testing.assert_array_equal(pixels(view), np.round(expected * 255))


def test_pixels_in_turn_are_shown_at_once_and_say_what_they_are(in_turn, monkeypatch):
    z = [[0.3, -1.0]]
    (drawn,) = in_turn.decode(z)
    assert drawn["words"] == "E[x_d | x_<d, z] along one draw of x"
    monkeypatch.setattr("lowerbound.explorer.explorer.QUICK_SECONDS", 60.0)
    assert in_turn.decode(z, is_quick=True) == [drawn]
    monkeypatch.setattr("lowerbound.explorer.explorer.QUICK_SECONDS", -1.0)
    (first,) = answer(in_turn, "decode", {"latents": z, "quick": True})
    assert (first["isDrawn"], drawn["isDrawn"]) == (False, True)
    assert first["pixels"] != drawn["pixels"]


def test_a_row_is_reconstructed_at_its_mean(pictures, explorer):
    x = pictures.test_rows().x
    assert (pixels(explorer.originals([2])[0]) == x[2] * 255).all()
    with torch.no_grad():
        q = pictures.model.infer(pictures.events(x[2:3]))
        expected = pictures.model.decode(q.mean).mean.numpy()[0]
    np.testing.assert_array_equal(pixels(explorer.reconstructions([2])[0]), np.round(expected * 255))


@pytest.mark.parametrize("way", ["line", "circle"])
def test_a_walk_is_that_of_interpolate(explorer, way):
    a, b = torch.tensor([1.0, 0.0, 0.5]), torch.tensor([0.0, 2.0, -0.5])
    latents, views = explorer.walk(a.tolist(), b.tolist(), way, 5)
    torch.testing.assert_close(torch.from_numpy(latents), between(a, b, 5, way))
    assert views == explorer.decode(latents)


def test_log_w_and_rate_are_those_of_the_evaluations_in_the_units_of_the_user():
    """With the exact posterior every draw has log w = log p(x), and the rate is KL(q ‖ p) on average."""
    exact = lb.exact.LinearGaussian(torch.tensor([[2.0], [1.0]]), torch.zeros(2), torch.tensor(0.5))
    x = np.random.default_rng(0).normal(size=(30, 2)) * [10, 100]
    model = exact.model(exact.posterior_module(diagonal=True)).float()
    fitted = lb.Fitted(model, data=x, transform=lb.data.Standardize.fit(x))
    explorer = fitted.explore(x)
    log_p = exact.log_evidence(torch.from_numpy(x / x.std(0) - x.mean(0) / x.std(0)).float())
    np.testing.assert_allclose(explorer.terms.log_w, log_p - np.log(x.std(0)).sum(), atol=1e-3)
    assert explorer.terms.rate.mean() == pytest.approx(explorer.terms.rates.sum(1).mean(), abs=0.3)


def test_neighbours_are_the_nearest_means(explorer):
    away = np.linalg.norm(explorer.mean - explorer.mean[4], axis=1)
    assert explorer.neighbours(4, 3) == np.argsort(away)[1:4].tolist()


def test_silent_latents_are_those_that_evaluate_finds(pictures, explorer):
    expected = lb.evaluate.summary(pictures.model, pictures.events(explorer.rows.x)).activity
    np.testing.assert_allclose(explorer.activity, expected, rtol=1e-4)
    told = [latent["silent"] for latent in content_answer(explorer)["latents"]]
    assert told == (expected <= 0.01).tolist()


def test_fewer_rows_than_there_are_keep_their_numbers(pictures):
    some = pictures.explore(num_rows=3)
    assert content_answer(some)["notes"][0].startswith("3 rows of X, chosen at random from 8")
    at = int(some.rows.numbers[1])
    x = pictures.dataset.x_test[pictures.dataset.test_rows.tolist().index(at)]
    np.testing.assert_array_equal(some.rows.x[1], x)
    assert row_answer(some, 1)["words"] == f"row {at}"


def test_a_drawing_is_encoded_like_the_row_that_it_copies(explorer):
    row = explorer.rows.x[5].astype(float)
    found = explorer.encode(row.ravel().tolist())
    np.testing.assert_allclose(found["mean"], explorer.mean[5], rtol=1e-5)
    assert found["own"] == explorer.originals([5])[0]


def test_cells_of_a_form_are_encoded_like_the_row_that_they_copy(of_people):
    answer = row_answer(of_people, 3)
    assert answer["cells"]["height"] == ""
    assert dict(answer["original"]["cells"])["</script><b>city"] in ("Oslo", "Rome <i>")
    np.testing.assert_allclose(of_people.encode(answer["cells"])["mean"], of_people.mean[3], rtol=1e-5)


@pytest.mark.parametrize(
    "cells, part",
    [
        ({"age": "30"}, "lacks the column 'height'"),
        (
            {"age": "thirty", "height": "170", "</script><b>city": "Oslo", "children": "1"},
            "'age' of the row is 'thirty'",
        ),
        ({"age": "inf", "height": "170", "</script><b>city": "Oslo", "children": "1"}, "'age' of the row is 'inf'"),
        ({"age": "30", "height": "170", "</script><b>city": "Oslo", "children": "-4"}, "expected a number from 0 on"),
        ({"age": "30", "height": "170", "</script><b>city": "Paris", "children": "1"}, "expected one of Oslo"),
        ({"age": "30", "height": "170", "</script><b>city": "Oslo", "children": "1", "x": ""}, "has no column 'x'"),
        ({"age": 30, "height": "170", "</script><b>city": "Oslo", "children": "1"}, "is a int"),
        ([1.0, 2.0], "has 4 numbers; got 2"),
        ("a text", "got a str"),
        (None, "got a NoneType"),
    ],
)
def test_what_is_no_row_is_refused_in_a_sentence(of_people, cells, part):
    with pytest.raises(ValueError, match=part):
        of_people.encode(cells)


def test_columns_and_labels_colour_the_rows(of_people, people):
    names = [colour.name for colour in of_people.colours]
    assert names[-4:] == ["age", "height", "</script><b>city", "children"]
    np.testing.assert_array_equal(of_people.colours[-4].values(of_people.rows), people["age"])
    assert of_people.colours[-2].names == ("Oslo", "Rome <i>")


def shows_rows_alone(explorer, words):
    content = content_answer(explorer)
    assert not content["decodes"]
    assert words in content["notes"][1]
    assert answer(explorer, "plane", {})["contours"] == []
    assert answer(explorer, "row", {"row": 3})["reconstruction"]["kind"] == "image"
    with pytest.raises(ValueError, match=words):
        explorer.decode([[0.0] * explorer.mean.shape[1]])


@pytest.mark.slow
@pytest.mark.parametrize("recipe, words", [("fsq", "are codes"), ("ladder", "in several parts"), ("vq", "are codes")])
def test_codes_and_layers_have_a_map_of_rows(recipe, words):
    fitted = lb.fit("digits", recipe, steps=1, compile=False, device="cpu")
    shows_rows_alone(fitted.explore(num_rows=20), words)


def test_bits_have_a_map_of_rows():
    model = lb.LatentVariableModel(
        prior=lb.priors.Bernoulli(4),
        likelihood=lb.likelihoods.Bernoulli(lb.nets.MLP(4, [6], (4, 5))),
        posterior=lb.posteriors.Bernoulli(lb.nets.MLP((4, 5), [6], 4)),
    )
    shows_rows_alone(lb.Fitted(model, data=PICTURES).explore(), "no free real numbers")


def test_a_single_latent_is_drawn_along_the_map():
    one = of_pictures(latent=1).explore()
    assert "single number" in answer(one, "plane", {"axes": [0, 0]})["sentence"]
    assert one.principal is None
    with pytest.raises(ValueError, match="no principal components"):
        answer(one, "plane", {})


def test_a_model_without_latents_and_without_rows_is_refused(pictures):
    series = np.random.default_rng(0).normal(size=(20, 4, 3))
    fitted = lb.fit(series, "autoregressive-rows", steps=1, compile=False, device="cpu", hidden=[4])
    with pytest.raises(ValueError, match="has no latents"):
        fitted.explore()
    with pytest.raises(ValueError, match="num_rows=1 and takes 2 to 100,000"):
        pictures.explore(num_rows=1)


def test_a_class_that_the_decoder_is_given_is_that_of_the_row():
    fitted = lb.fit("digits", "cvae", steps=2, latent_dim=2, compile=False, device="cpu")
    explorer = fitted.explore(num_rows=60)
    z, y = explorer.mean[:1], explorer.rows.y
    one, other = int(np.flatnonzero(y == 1)[0]), int(np.flatnonzero(y == 2)[0])
    context = torch.nn.functional.one_hot(torch.tensor([2]), 10).float()
    with torch.no_grad():
        expected = fitted.model.decode(torch.from_numpy(z), context).mean.numpy()[0]
    np.testing.assert_array_equal(pixels(explorer.decode(z, other)[0]), np.round(expected * 255))
    assert explorer.decode(z, one) != explorer.decode(z, other)


@pytest.mark.parametrize(
    "name, question, part",
    [
        ("decode", {}, "decode needs latents"),
        ("decode", {"latents": [[0.0, 0.0]]}, "1 latents of 2 numbers; expected 1 to 64 of 3"),
        ("decode", {"latents": [[1e39, 0, 0]]}, "not finite"),
        ("decode", {"latents": [[0, 0, 0]] * 65}, "expected 1 to 64 of 3"),
        ("decode", {"latents": [[0, 0, 0]], "row": 8}, "There is no row 8"),
        ("decode", {"latents": [[0, 0, 0]], "row": -1}, "There is no row -1"),
        ("decode", {"latents": [["a", 0, 0]]}, "latents of decode has another type"),
        ("decode", {"latents": [[0, 0, 0]], "row": "0"}, "row of decode has another type"),
        ("decode", {"latents": [[0, 0, 0]], "explorer": 1}, "decode has no 'explorer'"),
        ("walk", {"a": [0, 0, 0], "b": [0, 0, 0], "way": "spiral"}, "way of walk has another type"),
        ("walk", {"a": [0, 0, 0], "b": [0, 0]}, "2 latents of 2 and 3 numbers"),
        ("plane", {"axes": [0, 3]}, "two different ones"),
        ("plane", {"axes": [1, 1]}, "two different ones"),
        ("plane", {"axes": [0, 1, 2]}, "axes of plane are 3 numbers"),
        ("colour", {"number": 99}, "There is no colour 99"),
        ("row", {"row": True}, "row of row has another type"),
        ("row", {"row": -1}, "There is no row -1"),
        ("encode", {"given": [2.0] * 20}, "numbers from 0 to 1"),
        ("encode", {"given": [0.0] * 19}, "20 numbers; got 19"),
        ("encode", {"given": [["x"]] * 20}, "20 numbers; got a list"),
    ],
)
def test_questions_that_make_no_sense_are_refused(explorer, name, question, part):
    with pytest.raises(ValueError, match=part):
        answer(explorer, name, question)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"3", b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1e999}', b'{"a": ' + b"9" * 5000 + b"}",
     b"[" * 100_000, b"\xff\xfe", b'{"a": 1' + b"0" * 60 + b".5}"],
)  # fmt: skip
def test_what_is_no_json_object_of_finite_numbers_is_refused(body):
    with pytest.raises(ValueError, match="A question is a JSON object"):
        read_question(body)
