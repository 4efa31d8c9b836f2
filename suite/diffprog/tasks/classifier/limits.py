"""What engines are known not to do with circuits that classify."""

from diffprog.circuits.limits import CIRCUITS
from diffprog.engines import NO_EXPERT

LIMITS = (*CIRCUITS, NO_EXPERT)
