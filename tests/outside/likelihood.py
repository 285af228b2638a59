from torch import nn
from torch.distributions import Independent
from torch.distributions import Weibull as WeibullDistribution
from torch.nn.functional import softplus

from lowerbound.support import LikelihoodFacts, positive


class Weibull(nn.Module):
    cites = ()
    facts = LikelihoodFacts(domain="reals", discrete=False)
    support = positive

    def __init__(self, net, event_shape, concentration: float = 1.5):
        super().__init__()
        self.net, self.event_shape, self.concentration = net, event_shape, concentration

    @staticmethod
    def parameter_shape(event_shape):
        return event_shape

    def forward(self, z):
        scale = softplus(self.net(z)) + 1e-3
        return Independent(WeibullDistribution(scale, scale.new_tensor(self.concentration)), len(self.event_shape))
