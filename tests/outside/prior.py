from torch import nn
from torch.distributions import Independent, StudentT


class CauchyPrior(nn.Module):
    cites = ("@misc{own2026cauchy,\n  author = {Doe, Jane},\n  title = {A Cauchy Prior},\n  year = {2026},\n}",)

    def __init__(self, latent_shape: int, scale: float = 1.0):
        super().__init__()
        self.latent_dim, self.scale = latent_shape, scale

    def forward(self, context=None):
        return Independent(StudentT(1.0, scale=self.scale).expand((self.latent_dim,)), 1)
