# The quantum circuit Born machine: Liu, Wang, arXiv:1804.04168, on the blocks and registers of Yao, arXiv:1912.10877.

include("qcbm/kernels.jl")
include("qcbm/problem.jl")
include("qcbm/gradients.jl")
include("qcbm/engines.jl")
include("qcbm/discriminator.jl")
include("qcbm/adversarial.jl")
