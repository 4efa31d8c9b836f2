"""A benchmark suite for differentiable scientific programming across NumPy, PyTorch, JAX and Julia."""

__version__ = "0.1.0"
