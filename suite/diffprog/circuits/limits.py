"""What engines are known not to do with circuits, whatever the loss."""

from __future__ import annotations

from diffprog.spec import Limit

CIRCUITS = (
    Limit(
        "jax",
        "enzyme",
        ("gradient", "jvp", "hvp"),
        "Enzyme (enzyme-ad 0.0.16) makes programs of the derivatives of complex numbers that do not compile",
    ),
    Limit(
        "torch",
        "compile",
        ("gradient", "hvp"),
        "Inductor (PyTorch 2.11) has no code on CUDA for the complex constants in these derivatives",
        devices=("cuda",),
    ),
)
