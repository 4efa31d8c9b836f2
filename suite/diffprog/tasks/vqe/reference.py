"""The reference: NumPy, with every derivative written by hand.

Shapes: a state is (..., 2ⁿ), complex128 for float64 angles and complex64 for float32; leading axes are a batch.

Sources: Jones, Gacon, arXiv:2009.02823 and Luo et al., arXiv:1912.10877, section on reversible differentiation
(``adjoint``); Mitarai et al., arXiv:1803.00745 and Schuld et al., arXiv:1811.11184 (``parameter_shift``).
"""

from __future__ import annotations

from diffprog.spec import Functions
from diffprog.tasks.vqe.problem import VqeConfig
from diffprog.tasks.vqe.reference_alternating import build as of_phases_and_mixers
from diffprog.tasks.vqe.reference_rotations import build as of_rotations_and_cnots


def build(config: VqeConfig, method: str) -> Functions:
    """The task's functions on NumPy arrays; data are the arrays of ``problem.draw`` without ``params``."""
    return (of_phases_and_mixers if config.alternating else of_rotations_and_cnots)(config, method)
