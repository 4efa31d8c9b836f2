"""What engines are known not to do with the flow."""

from diffprog.engines import EXPERT, NO_CIRCUIT
from diffprog.spec import OPERATORS, Limit

ALONE = "an expert form is written of the reference's method alone"
LIMITS = (
    Limit("torch", EXPERT, OPERATORS, ALONE, methods=("checkpointed", "backsolve", "library")),
    NO_CIRCUIT,
)
