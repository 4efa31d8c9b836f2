# The Monge-Ampère flow: Zhang, E, Wang, arXiv:1809.10188, integrated by classic RK4.
#
# Batches are d × B, one column a sample. A *field* is a callable x -> (v, g): the velocity v = ∇u of shape d × B and the
# divergence g = ∇²u of shape (B,). Zygote differentiates everything below except `HiddenField` and `combine`, which have
# their own rules.

include("flow/hidden.jl")
include("flow/potentials.jl")
include("flow/goals.jl")
include("flow/targets.jl")
include("flow/integration.jl")
include("flow/adjoint.jl")
include("flow/problem.jl")
