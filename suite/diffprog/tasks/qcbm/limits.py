"""What engines are known not to do with the Born machine."""

from diffprog.engines import EXPERT
from diffprog.spec import OPERATORS, Limit

COMPLEX = "Inductor (PyTorch 2.11) has no code on CUDA for the complex constants in these derivatives"
NO_COMPLEX = "Enzyme (enzyme-ad 0.0.16) makes programs of the derivatives of complex numbers that do not compile"
ALONE = "an expert form is written of the reference's method alone"
LIMITS = (
    Limit("jax", "enzyme", ("gradient", "jvp", "hvp"), NO_COMPLEX),
    Limit("torch", "compile", ("gradient", "hvp"), COMPLEX, devices=("cuda",)),
    Limit("torch", EXPERT, OPERATORS, ALONE, methods=("adjoint", "parameter_shift")),
)
