"""Gradient estimators: one idea per file, each a `protocols.Gradient`."""

from lowerbound.gradients.aggregate_ratio import AggregateRatio
from lowerbound.gradients.arm import ARM
from lowerbound.gradients.concrete import Concrete
from lowerbound.gradients.density_ratio import DensityRatio
from lowerbound.gradients.disarm import DisARM
from lowerbound.gradients.dreg import DReG
from lowerbound.gradients.enumerate import Enumerate
from lowerbound.gradients.fixed_samples import FixedSamples
from lowerbound.gradients.measure_valued import MeasureValued
from lowerbound.gradients.path_only import path_only_log_prob
from lowerbound.gradients.pathwise import Pathwise
from lowerbound.gradients.quantized import Quantized
from lowerbound.gradients.rao_blackwell import RaoBlackwell
from lowerbound.gradients.rebar import REBAR
from lowerbound.gradients.relax import RELAX
from lowerbound.gradients.reweighted_wake_sleep import ReweightedWakeSleep
from lowerbound.gradients.score_function import ScoreFunction
from lowerbound.gradients.stick_the_landing import StickTheLanding
from lowerbound.gradients.straight_through import StraightThrough
from lowerbound.gradients.stratified import Stratified
from lowerbound.gradients.surrogate import attached
from lowerbound.gradients.var_grad import VarGrad
from lowerbound.gradients.weighted import weighted_value

__all__ = [
    "ARM",
    "REBAR",
    "RELAX",
    "AggregateRatio",
    "Concrete",
    "DReG",
    "DensityRatio",
    "DisARM",
    "Enumerate",
    "FixedSamples",
    "MeasureValued",
    "Pathwise",
    "Quantized",
    "RaoBlackwell",
    "ReweightedWakeSleep",
    "ScoreFunction",
    "StickTheLanding",
    "StraightThrough",
    "Stratified",
    "VarGrad",
    "attached",
    "path_only_log_prob",
    "weighted_value",
]
