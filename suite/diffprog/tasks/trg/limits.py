"""What engines are known not to do with the tensor renormalisation group."""

from diffprog.engines import NO_CIRCUIT, NO_EXPERT
from diffprog.spec import OPERATORS, Limit

STATUS = "PyTorch reads the status of every decomposition on the host, which no CUDA graph may do"
LAPACK = "Enzyme has no derivatives of LAPACK's decompositions, and does not see the rules that JAX has for them"
LIMITS = (
    Limit("torch", "cudagraph", OPERATORS, STATUS, devices=("cuda",)),
    Limit("jax", "enzyme", ("gradient", "jvp", "hvp"), LAPACK),
    NO_EXPERT,
    NO_CIRCUIT,
)
