"""What engines are known not to do with the Born machine."""

from diffprog.engines import EXPERT
from diffprog.spec import OPERATORS, Limit

COMPLEX = "Inductor (PyTorch 2.11) has no code on CUDA for the complex constants in these derivatives"
ALONE = "an expert form is written of the reference's method alone"
LIMITS = (
    Limit("torch", "compile", ("gradient", "hvp"), COMPLEX, devices=("cuda",)),
    Limit("torch", EXPERT, OPERATORS, ALONE, methods=("adjoint", "parameter_shift")),
)
