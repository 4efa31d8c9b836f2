"""What engines are known not to do with energies of circuits."""

from diffprog.circuits.limits import CIRCUITS
from diffprog.engines import NO_EXPERT

LIMITS = (*CIRCUITS, NO_EXPERT)
