from lowerbound.models.recipe import Recipe
from lowerbound.models.variational_autoencoder import vae


def survival(event_shape, *, latent_dim: int = 4, prior: str = "standard-normal"):
    return vae(event_shape, latent_dim=latent_dim, hidden=[8], prior=prior, likelihood="weibull")


RECIPE = Recipe(name="survival", make=survival, likelihood="weibull", defaults={"lr": 1e-3})
