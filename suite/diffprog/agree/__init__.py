"""Do two gradients agree? Errors, tolerances, finite differences and verdicts."""
