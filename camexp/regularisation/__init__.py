"""Methods of training that localise better, the ``regularise`` group: what a step changes, never the network."""

from camexp.regularisation.attention_dropout import AttentionDropout
from camexp.regularisation.bridging_gap import BridgingGap
from camexp.regularisation.cutmix import CutMix
from camexp.regularisation.domain_adaptation import DomainAdaptation
from camexp.regularisation.hide_and_seek import HideAndSeek
from camexp.regularisation.regulariser import Regulariser
from camexp.regularisation.step import Draws, Targets

__all__ = [
    "AttentionDropout",
    "BridgingGap",
    "CutMix",
    "DomainAdaptation",
    "Draws",
    "HideAndSeek",
    "Regulariser",
    "Targets",
]
