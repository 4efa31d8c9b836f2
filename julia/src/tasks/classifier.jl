# Circuits that classify: Schuld, Bocharov, Svore, Wiebe, arXiv:1804.00633, and Pérez-Salinas et al., arXiv:1907.02085.

include("classifier/samples.jl")
include("classifier/problem.jl")
include("classifier/gradients.jl")
include("classifier/engines.jl")
