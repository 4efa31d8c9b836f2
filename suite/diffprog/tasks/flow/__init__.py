"""ODE flow density estimation (task 1)."""
