"""What engines are known not to do with circuits that classify."""

from diffprog.engines import NO_EXPERT
from diffprog.spec import Limit

COMPLEX = "Inductor (PyTorch 2.11) has no code on CUDA for the complex constants in these derivatives"
NO_COMPLEX = "Enzyme (enzyme-ad 0.0.16) makes programs of the derivatives of complex numbers that do not compile"
LIMITS = (
    Limit("jax", "enzyme", ("gradient", "jvp", "hvp"), NO_COMPLEX),
    Limit("torch", "compile", ("gradient", "hvp"), COMPLEX, devices=("cuda",)),
    NO_EXPERT,
)
