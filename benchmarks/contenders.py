"""The same network, data, batch size and optimiser in four hands: one call is one pass over the data.

The model: x in {0,1}^D, encoder D-H-2L, decoder L-H-D, ReLU, Bernoulli likelihood, Adam at 1e-3, one sample.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lowerbound as lb
from lowerbound.data import InMemory
from lowerbound.training.engine import Device, Engine, Precision

__all__ = [
    "binary_images",
    "hand_written",
    "jax_scan",
    "lowerbound_loop",
    "lowerbound_model",
    "products",
    "pyro_svi",
    "pythae_model",
    "pythae_perceptron",
    "pythae_trainer",
    "trained_by_hand",
    "trained_by_lowerbound",
    "trained_by_pythae",
]

Epoch = Callable[[], object]


def binary_images(num_rows: int, num_pixels: int = 784) -> Tensor:
    """Thresholded MNIST if it is at hand, else random pixels of the same density: the time is the same."""
    path = Path(os.environ.get("LOWERBOUND_DATA", "")) / "mnist.npz"
    if num_pixels == 784 and path.is_file():
        with np.load(path, allow_pickle=False) as file:
            return torch.from_numpy(file["x_train"][:num_rows].reshape(num_rows, -1) > 127).float()
    return (torch.rand(num_rows, num_pixels, generator=torch.Generator().manual_seed(0)) < 0.13).float()


def lowerbound_model(pixels: int, hidden: int, latent: int) -> lb.LatentVariableModel:
    """The model by this library."""
    return lb.models.vae((pixels,), latent_dim=latent, hidden=(hidden,))


def lowerbound_loop(
    x: Tensor, hidden: int, latent: int, batch_size: int, *, compile: bool, precision: Precision = "fp32"
) -> Epoch:
    """One pass by `lowerbound.train` over the perceptron."""
    model = lowerbound_model(x.shape[1], hidden, latent)
    return trained_by_lowerbound(x, model, batch_size, compile=compile, precision=precision)


def trained_by_lowerbound(
    x: Tensor,
    model: lb.LatentVariableModel,
    batch_size: int,
    *,
    compile: bool,
    precision: Precision = "fp32",
    device: Device = "cpu",
) -> Epoch:
    """One pass by `lowerbound.train`, the rate in closed form."""
    loss = lb.VariationalLoss(model, lb.objectives.ELBO("kl"), lb.gradients.Pathwise())
    steps = len(x) // batch_size
    engine = Engine(device=device, precision=precision)
    records = lb.train(
        loss,
        InMemory(x),
        num_steps=steps * 1000,
        batch_size=batch_size,
        log_every=steps,
        compile=compile,
        engine=engine,
    )
    return lambda: next(records)


def hand_written(x: Tensor, hidden: int, latent: int, batch_size: int) -> Epoch:
    """The hand-written loop over the perceptron."""
    pixels = x.shape[1]
    encoder = nn.Sequential(nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
    decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, pixels))
    return trained_by_hand(x, encoder, decoder, batch_size)


def trained_by_hand(x: Tensor, encoder: nn.Module, decoder: nn.Module, batch_size: int) -> Epoch:
    """The loop that a careful user writes: data in memory, on the device of x, logits, closed-form KL, fused Adam, no
    `.item()`.
    """
    encoder.to(x.device)
    decoder.to(x.device)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, fused=True)

    def epoch() -> float:
        order = torch.randperm(len(x), device=x.device)
        total = torch.zeros((), device=x.device)
        for i in range(len(x) // batch_size):
            batch = x[order[i * batch_size : (i + 1) * batch_size]]
            mean, log_var = encoder(batch).chunk(2, -1)
            z = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
            distortion = F.binary_cross_entropy_with_logits(decoder(z), batch, reduction="sum")
            rate = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum()
            loss = (distortion + rate) / batch_size
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return total.item()

    return epoch


def pythae_model(
    shape: tuple[int, ...], latent: int, body: nn.Module, width: int, decoder: nn.Module, loss: str = "bce"
) -> nn.Module:
    """pythae's VAE in its own classes.

    Arguments:
        shape: of one datum.
        latent: number of latents.
        body: of the encoder, from a batch to vectors of length `width`, which two linear layers follow.
        width: length of these vectors.
        decoder: from latents to data in [0, 1].
        loss: its name of the distortion.
    """
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.body = body
            self.mean, self.log_var = nn.Linear(width, latent), nn.Linear(width, latent)

        def forward(self, x: Tensor) -> ModelOutput:
            h = self.body(x)
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_var(h))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.body = decoder

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.body(z))

    config = VAEConfig(input_dim=shape, latent_dim=latent, reconstruction_loss=loss)
    return VAE(config, encoder=Encoder(), decoder=Decoder())


def pythae_perceptron(pixels: int, hidden: int, latent: int) -> nn.Module:
    """The perceptron in pythae's classes."""
    body = nn.Sequential(nn.Linear(pixels, hidden), nn.ReLU())
    decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, pixels), nn.Sigmoid())
    return pythae_model((pixels,), latent, body, hidden, decoder)


def pythae_trainer(x: Tensor, hidden: int, latent: int, batch_size: int) -> Epoch:
    """One pass by pythae's own trainer over the perceptron."""
    return trained_by_pythae(x, pythae_perceptron(x.shape[1], hidden, latent), batch_size)


def trained_by_pythae(x: Tensor, model: nn.Module, batch_size: int, device: Device = "cpu") -> Epoch:
    """One pass by pythae's own trainer, which loads each batch from the CPU."""
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    logging.disable(logging.INFO)
    config = BaseTrainerConfig(
        output_dir=tempfile.mkdtemp(),
        num_epochs=1000,
        learning_rate=1e-3,
        per_device_train_batch_size=batch_size,
        no_cuda=device != "cuda",
    )
    trainer = BaseTrainer(model, BaseDataset(x, torch.zeros(len(x))), training_config=config)
    trainer.prepare_training()
    passes = iter(range(1, 1000))

    def epoch() -> object:
        with Path(os.devnull).open("w") as null, contextlib.redirect_stderr(null):
            return trainer.train_step(next(passes))

    return epoch


def pyro_svi(x: Tensor, hidden: int, latent: int, batch_size: int, device: Device = "cpu") -> Epoch:
    """One pass by Pyro's SVI, as in its VAE tutorial (data loader, plated model and guide), closed-form KL."""
    import pyro
    import pyro.distributions as dist
    from pyro.infer import SVI, TraceMeanField_ELBO
    from torch.utils.data import DataLoader, TensorDataset

    pixels = x.shape[1]
    encoder = nn.Sequential(nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent)).to(device)
    decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, pixels)).to(device)

    def model(batch: Tensor) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("data", len(batch)):
            z = pyro.sample("z", dist.Normal(batch.new_zeros(len(batch), latent), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=decoder(z), validate_args=False).to_event(1), obs=batch)

    def guide(batch: Tensor) -> None:
        pyro.module("encoder", encoder)
        with pyro.plate("data", len(batch)):
            mean, log_var = encoder(batch).chunk(2, -1)
            pyro.sample("z", dist.Normal(mean, (0.5 * log_var).exp()).to_event(1))

    svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), loss=TraceMeanField_ELBO())
    loader = DataLoader(TensorDataset(x), batch_size=batch_size, shuffle=True, drop_last=True)
    pyro.enable_validation(False)
    return lambda: sum(svi.step(batch.to(device)) for (batch,) in loader)


def products(num_rows: int, pixels: int, hidden: int, latent: int, batch_size: int, dtype: torch.dtype) -> Epoch:
    """The matrix products of one pass, forward and backward, and nothing else: what no contender can do without."""
    sizes = [(pixels, hidden), (hidden, 2 * latent), (latent, hidden), (hidden, pixels)]
    layers = [
        (
            torch.randn(batch_size, i, dtype=dtype),
            torch.randn(o, i, dtype=dtype),
            torch.randn(batch_size, o, dtype=dtype),
        )
        for i, o in sizes
    ]

    def epoch() -> None:
        for _ in range(num_rows // batch_size):
            for first, (x, weight, gradient) in enumerate(layers):
                torch.mm(x, weight.T)
                torch.mm(gradient.T, x)
                if first:
                    torch.mm(gradient, weight)

    return epoch


def jax_scan(x: Tensor, hidden: int, latent: int, batch_size: int) -> Epoch:
    """One pass as one scanned graph of JAX, Adam by hand."""
    import jax
    import jax.numpy as jnp

    data, pixels, steps = jnp.asarray(x.numpy()), x.shape[1], len(x) // batch_size
    keys = jax.random.split(jax.random.PRNGKey(0), 4)
    sizes = [(pixels, hidden), (hidden, 2 * latent), (latent, hidden), (hidden, pixels)]
    weights: Any = [
        part
        for key, (i, o) in zip(keys, sizes, strict=True)
        for part in (jax.random.uniform(key, (i, o), minval=-1, maxval=1) / i**0.5, jnp.zeros(o))
    ]

    def loss(p: Any, batch: Any, noise: Any) -> Any:
        w1, b1, w2, b2, w3, b3, w4, b4 = p
        out = jax.nn.relu(batch @ w1 + b1) @ w2 + b2
        mean, log_var = out[:, :latent], out[:, latent:]
        logits = jax.nn.relu((mean + jnp.exp(0.5 * log_var) * noise) @ w3 + b3) @ w4 + b4
        distortion = jnp.sum(jnp.maximum(logits, 0) - logits * batch + jnp.log1p(jnp.exp(-jnp.abs(logits))))
        return (distortion + 0.5 * jnp.sum(mean**2 + jnp.exp(log_var) - 1 - log_var)) / batch_size

    @jax.jit
    def scanned(state: Any, key: Any) -> Any:
        for_rows, for_noise = jax.random.split(key)
        order = jax.random.permutation(for_rows, len(data))[: steps * batch_size].reshape(steps, batch_size)

        def step(carry: Any, inputs: Any) -> Any:
            (p, m, v, t), (rows, one) = carry, inputs
            t = t + 1
            value, g = jax.value_and_grad(loss)(p, data[rows], jax.random.normal(one, (batch_size, latent)))
            m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
            v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g, strict=True)]
            rate = 1e-3 / (1 - 0.9**t)
            p = [a - rate * b / (jnp.sqrt(c / (1 - 0.999**t)) + 1e-8) for a, b, c in zip(p, m, v, strict=True)]
            return (p, m, v, t), value

        return jax.lax.scan(step, state, (order, jax.random.split(for_noise, steps)))

    zeros = [jnp.zeros_like(w) for w in weights]
    state: Any = (weights, zeros, zeros, jnp.float32(0))
    passes = iter(range(1, 10_000))

    def epoch() -> float:
        nonlocal state
        state, values = scanned(state, jax.random.PRNGKey(next(passes)))
        return float(values.mean())

    return epoch
