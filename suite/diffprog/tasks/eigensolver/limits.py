"""What engines are known not to do with the eigensolver."""

from diffprog.engines import ENGINES, NO_CIRCUIT, NO_EXPERT
from diffprog.spec import OPERATORS, Limit

STATUS = "PyTorch reads the status of every decomposition on the host, which no CUDA graph may do"
ROUNDED = "Krylov methods end where a residual reaches rounding, and rounded products keep it from there: use float32"
SEEN_ROUNDED = (
    ("torch", "ground_state", ("small",)),
    ("torch", "long_chain", ("tiny", "small", "medium")),
    ("jax", "ground_state", ("small",)),
    ("jax", "long_chain", ("small",)),
)
"""Where `dominant` was seen to fail in TF32 on a GPU: PyTorch's answers are NaN, JAX has none within 12 s. The other
cells that were tried, of tiny chains, agree to 1.5e-3."""

LAPACK = "Enzyme has no derivatives of LAPACK's decompositions, and does not see the rules that JAX has for them"

LIMITS = (
    Limit("jax", "enzyme", ("gradient", "jvp", "hvp"), LAPACK),
    Limit("torch", "cudagraph", OPERATORS, STATUS, devices=("cuda",)),
    NO_EXPERT,
    NO_CIRCUIT,
    *(
        Limit(
            backend,
            engine,
            OPERATORS,
            ROUNDED,
            variants=(variant,),
            devices=("cuda",),
            methods=("dominant",),
            precisions=("tf32",),
            sizes=sizes,
        )
        for backend, variant, sizes in SEEN_ROUNDED
        for engine in ENGINES[backend]
    ),
)
