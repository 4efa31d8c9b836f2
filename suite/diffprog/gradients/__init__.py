"""Functions given from Python, compared at given arrays: `diffprog.check_gradients`; see docs/check-gradients.md.

Nothing here imports a framework, but for ``torch_side`` and ``jax_side``.
"""
