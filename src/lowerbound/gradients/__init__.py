"""Gradient estimators: one idea per file, each a `protocols.Gradient`."""

from lowerbound.gradients.attached import attached
from lowerbound.gradients.dreg import DReG
from lowerbound.gradients.path_only import path_only_log_prob
from lowerbound.gradients.pathwise import Pathwise
from lowerbound.gradients.score_function import ScoreFunction
from lowerbound.gradients.stick_the_landing import StickTheLanding

__all__ = [
    "DReG",
    "Pathwise",
    "ScoreFunction",
    "StickTheLanding",
    "attached",
    "path_only_log_prob",
]
