"""DRAW against a plain autoencoder at one step, its windows against what they must read, and its recipe."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lowerbound import likelihoods
from lowerbound.data import load
from lowerbound.fitted import Fitted
from lowerbound.gradients import Pathwise
from lowerbound.losses import VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.models import draw
from lowerbound.nets.attention_window import Window, first_window
from lowerbound.nets.lstm_cell import LSTMCell
from lowerbound.objectives import ELBO
from lowerbound.one_call import fit
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors import StandardNormal
from lowerbound.testing import flat_gradient
from lowerbound.weights import weigh

SMALL: dict[str, Any] = {"glimpses": 3, "latent_dim": 2, "width": 8, "read": 3, "write": 3}
SHAPE = (6, 5)


def small(**options) -> LatentVariableModel:
    torch.manual_seed(0)
    model = draw(SHAPE, **{**SMALL, **options}).double()
    with torch.no_grad():
        for p in model.parameters():  # states and the canvas begin at zero, which would hide a forgotten one
            p.add_(0.3 * torch.randn_like(p))
    return model


def bits(count: int) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1)).double().round()


def torch_cell(cell: LSTMCell, width: int) -> nn.LSTMCell:
    """torch's own cell with the same weights."""
    theirs = nn.LSTMCell(cell.gates.in_features - width, width).double()
    with torch.no_grad():
        theirs.weight_ih.copy_(cell.gates.weight[:, :-width])
        theirs.weight_hh.copy_(cell.gates.weight[:, -width:])
        theirs.bias_ih.copy_(cell.gates.bias)
        theirs.bias_hh.zero_()
    return theirs


class Net(nn.Module):
    """A function as a net."""

    takes_leading_axes = True

    def __init__(self, function, out_shape):
        super().__init__()
        self.function, self.out_shape = function, out_shape

    def forward(self, x):
        return self.function(x)


def test_one_step_without_attention_is_a_plain_autoencoder():
    model, x = small(glimpses=1, read=0, write=0), bits(4)
    of_p, of_q, width = model.prior.groups[0], model.posterior, SMALL["width"]
    h, cell, canvas = model.prior.constants
    cell_of_p, cell_of_q = torch_cell(of_p.cell, width), torch_cell(of_q.cell, width)

    def encode(x: Tensor) -> Tensor:
        u = torch.cat([x.flatten(1), (x - canvas.sigmoid()).flatten(1), h.expand(len(x), width)], -1)
        e, _ = cell_of_q(u, tuple(s.expand(len(x), width) for s in of_q.start))
        return of_q.latents.net(e)

    def decode(z: Tensor) -> Tensor:
        flat = z.flatten(0, -2)
        out, _ = cell_of_p(flat, tuple(s.expand(len(flat), width) for s in (h, cell)))
        return canvas + functional.linear(out, of_p.patch.layers[0].weight, of_p.patch.layers[0].bias).view(
            *z.shape[:-1], *SHAPE
        )

    plain = LatentVariableModel(
        prior=StandardNormal(2),
        likelihood=likelihoods.Bernoulli(Net(decode, SHAPE)),
        posterior=DiagonalNormal(Net(encode, (2, 2))),
    )
    z = torch.randn(7, 4, 2).double()
    ours, theirs = weigh(model.infer(x), model.joint(x), (z,)), weigh(plain.infer(x), plain.joint(x), z)
    for name in ("log_likelihood", "log_prior", "log_q"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name))
    torch.manual_seed(3)
    drawn = model.log_weights(x, 5).log_w
    torch.manual_seed(3)
    torch.testing.assert_close(drawn, plain.log_weights(x, 5).log_w)


@pytest.mark.parametrize("options", [{}, {"read": 0}, {"write": 0}])
def test_remembered_is_recomputed(options):
    model, x = small(**options), bits(4)
    q, joint = model.infer(x), model.joint(x)
    z = q.rsample((5,))
    values, gradients = [], []
    for latents in (z, tuple(layer.view_as(layer) for layer in z)):
        w = weigh(q, joint, latents, rate="kl")
        values.append(w.log_w)
        gradients.append(flat_gradient(w.log_w.sum(), [*model.parameters()]))
        assert w.rate_per_group.shape == (5, 4, 3)
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*gradients)


def test_the_rate_has_a_one_for_each_latent():
    """The paper's eq. 11 and ports of it subtract one for each step."""
    model, x = small(), bits(4)
    q, joint = model.infer(x), model.joint(x)
    z = q.rsample((5,))
    layers = [layer.base_dist for layer in q.layers_at(z)]
    by_hand = [0.5 * (d.loc**2 + d.scale**2 - 2 * d.scale.log() - 1).sum(-1).expand(5, 4) for d in layers]
    torch.testing.assert_close(weigh(q, joint, z, rate="kl").rate_per_group, torch.stack(by_hand, -1))


def test_a_step_looks_at_what_its_own_draw_has_not_explained():
    model, x = small(), bits(4)
    q = model.infer(x)
    z = q.rsample((5,))
    other = (*z[:-1], z[-1] + 1)  # z_T, which is the last of the tuple, is drawn first
    for layer, moved in list(zip(q.layers_at(z), q.layers_at(other), strict=True))[:-1]:
        assert (layer.mean - moved.mean).abs().max() > 1e-4


def test_a_training_step_evaluates_each_cell_once_a_glimpse():
    model, x = small(), bits(4)
    loss = VariationalLoss(model, ELBO("kl"), Pathwise())
    loss.check(x)
    cells = {"p": model.prior.groups[0].cell, "q": model.posterior.cell}
    calls = dict.fromkeys(cells, 0)
    for name, cell in cells.items():
        cell.register_forward_hook(lambda *_, name=name: calls.__setitem__(name, calls[name] + 1))
    loss(x).loss.backward()
    assert calls == {"p": 3, "q": 3}
    assert all(p.grad is not None for p in model.parameters())


def window(y=0.0, x=0.0, log_variance=0.0, log_stride=0.0, log_gamma=0.0, *, places=3, image=(6, 5)) -> Window:
    return Window(torch.tensor([y, x, log_variance, log_stride, log_gamma]).double(), places, image)


def test_a_fine_window_of_all_places_reads_and_writes_the_image():
    image = torch.randn(2, 3, 6, 6).double()
    exact = window(log_variance=-8.0, log_gamma=0.7, places=6, image=(6, 6))
    torch.testing.assert_close(exact.read(image), np.exp(0.7) * image)
    torch.testing.assert_close(exact.write(exact.read(image)), image)


def test_a_first_window_covers_the_middle_half_and_writes_a_value_at_its_own_size():
    writer = Window(first_window(5, (28, 28), writes=True).double(), 5, (28, 28))
    centres = writer.rows[0] @ torch.arange(28.0, dtype=torch.float64)
    torch.testing.assert_close(centres, 13.5 + torch.linspace(-6.75, 6.75, 5, dtype=torch.float64), atol=0.01, rtol=0)
    one = torch.zeros(1, 5, 5, dtype=torch.float64)
    one[0, 2, 2] = 3.0
    assert writer.write(one).max().item() == pytest.approx(3.0, rel=0.1)
    assert writer.write(torch.ones(1, 5, 5, dtype=torch.float64))[0, 7:21, 7:21].min() > 0.5  # no gaps
    reader = Window(first_window(5, (28, 28), writes=False).double(), 5, (28, 28))
    torch.testing.assert_close(reader.read(torch.ones(1, 28, 28).double()), torch.ones(1, 5, 5).double())
    model = draw((28, 28), glimpses=1, latent_dim=2, width=8)
    for net, writes in ((model.prior.groups[0].window, True), (model.posterior.window, False)):
        torch.testing.assert_close(net(torch.zeros(8)), first_window(5, (28, 28), writes=writes))


def test_a_window_is_centred_and_its_filters_sum_to_one():
    for side, centre, filters in ((6, 2.5, window().rows), (5, 2.0, window().columns)):
        mean = (filters * torch.arange(side)).sum(-1)
        assert filters.shape == (1, 3, side)
        torch.testing.assert_close(filters.sum(-1), torch.ones(1, 3).double())
        assert mean[0, 1].item() == pytest.approx(centre)  # g, whatever the stride
    moved = window(y=0.4, log_variance=-3.0, log_stride=-2.0).rows
    assert (moved[0, 1] * torch.arange(6)).sum().item() == pytest.approx(2.5 * 1.4, abs=0.05)


def test_the_gradient_of_a_window_is_that_of_differences():
    image = torch.randn(1, 6, 5).double()
    parameters = (0.3 * torch.randn(5)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: Window(v, 3, (6, 5)).read(image), parameters)
    assert torch.autograd.gradcheck(lambda v: Window(v, 3, (6, 5)).write(image[..., :3, :3]), parameters)


def test_a_window_outside_of_the_image_has_numbers_and_a_gradient():
    parameters = torch.tensor([30.0, 0.0, 0.0, 0.0, 0.0]).requires_grad_()
    read = Window(parameters, 3, (6, 5)).read(torch.rand(1, 6, 5))
    (gradient,) = torch.autograd.grad(read.sum(), parameters)
    assert read.isfinite().all()
    assert gradient.isfinite().all()


def test_colour_and_likelihoods_of_numbers():
    x = torch.rand(4, 3, 7, 5)
    for likelihood in ("normal:scale=heteroscedastic", "discretized-logistic:num_levels=4"):
        model = draw((3, 7, 5), likelihood=likelihood, **SMALL)
        assert model.sample(2).shape == (2, 3, 7, 5)
        assert model.reconstruct((3 * x).round() / 3).shape == x.shape


def test_a_fit_opens_again(tmp_path):
    fitted = fit(load("digits"), "draw", steps=3, device="cpu", **SMALL)
    fitted.save(tmp_path / "run")
    again = Fitted.open(tmp_path / "run")
    np.testing.assert_array_equal(again.sample(4), fitted.sample(4))
    start = fitted.model.likelihood.net.output_bias
    assert start is fitted.model.prior.constants[2]
    assert start.abs().max() > 0.5  # it began at the mean of the data


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"glimpses": 0}, "glimpses=0 and needs at least 1"),
        ({"glimpses": 10**9}, "takes at most 1,000"),
        ({"read": 1}, "read=1 for images of 6×5 and needs 2 to 5 places"),
        ({"write": 6}, "write=6 for images of 6×5"),
        ({"likelihood": "categorical:num_classes=3"}, "has classes or counts; use bernoulli"),
    ],
)
def test_mistakes_are_named(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        draw(SHAPE, **{**SMALL, **options})


def test_rows_are_no_images():
    with pytest.raises(ValueError, match=r"got data of shape \(7,\) and writes images"):
        draw((7,), **SMALL)
