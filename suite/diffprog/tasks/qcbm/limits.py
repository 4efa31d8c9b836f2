"""What engines are known not to do with the Born machine."""

from diffprog.circuits.limits import CIRCUITS
from diffprog.engines import EXPERT
from diffprog.spec import OPERATORS, Limit

ALONE = "an expert form is written of the reference's method alone"
LIMITS = (*CIRCUITS, Limit("torch", EXPERT, OPERATORS, ALONE, methods=("adjoint", "parameter_shift")))
