"""What engines are known not to do with the flow."""

from diffprog.engines import EXPERT, NO_CIRCUIT
from diffprog.spec import OPERATORS, Limit

ALONE = "an expert form is written of the reference's method alone"
COUNTED = (
    "Enzyme (enzyme-ad 0.0.16) aborts on the reverse mode of a loop that counts in 32 bits, as JAX does in float32"
)
PRODUCT = "Enzyme (enzyme-ad 0.0.16) has no forward mode of the product along an axis in the program of this variant"
LIMITS = (
    Limit("jax", "enzyme", ("jvp", "hvp"), PRODUCT, variants=("correlated",)),
    Limit("jax", "enzyme", ("gradient", "hvp"), COUNTED, precisions=("float32", "tf32")),
    Limit("torch", EXPERT, OPERATORS, ALONE, methods=("checkpointed", "backsolve", "library")),
    NO_CIRCUIT,
)
