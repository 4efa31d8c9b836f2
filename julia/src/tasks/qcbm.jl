# The quantum circuit Born machine: Liu, Wang, arXiv:1804.04168, on the blocks and registers of Yao, arXiv:1912.10877.
#
# Qubit 0 of the task is the least significant bit of a basis state, which is Yao's qubit 1.

using LinearAlgebra: dot
using Yao:
    AD,
    ArrayReg,
    ChainBlock,
    ControlBlock,
    PutBlock,
    RotationGate,
    Rx,
    Rz,
    XGate,
    ZGate,
    apply!,
    cnot,
    collect_blocks,
    content,
    dispatch!,
    instruct!,
    put,
    setiparams!,
    state,
    subblocks,
    zero_state

include("qcbm/kernels.jl")
include("qcbm/circuit.jl")
include("qcbm/problem.jl")
include("qcbm/gradients.jl")
include("qcbm/engines.jl")
