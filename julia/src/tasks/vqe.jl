# Energies of parameterised circuits: Peruzzo et al., arXiv:1304.3061, and Farhi, Goldstone, Gutmann, arXiv:1411.4028.

include("vqe/hamiltonians.jl")
include("vqe/ansatz.jl")
include("vqe/problem.jl")
include("vqe/gradients.jl")
include("vqe/engines.jl")
