# Circuits on the blocks and registers of Yao, arXiv:1912.10877: what the tasks of circuits are made of.
#
# Qubit 0 of a task is the least significant bit of a basis state, which is Yao's qubit 1.

using LinearAlgebra: dot
using Yao:
    AD,
    AbstractBlock,
    ArrayReg,
    BatchedArrayReg,
    ChainBlock,
    ControlBlock,
    KronBlock,
    PutBlock,
    RotationGate,
    Rx,
    Rz,
    X,
    XGate,
    Y,
    Z,
    ZGate,
    apply!,
    cnot,
    collect_blocks,
    content,
    dispatch!,
    instruct!,
    put,
    rot,
    setiparams!,
    state,
    subblocks,
    zero_state

"Yao's own reverse mode: un-applies the circuit to the state and its cotangent, block by block."
struct Reverse end
"The same idea written out on Yao's instructions, with a contraction in place of two gates for each derivative."
struct Adjoint end
"From two circuits a gate, its angle shifted by ±π/2."
struct ParameterShift end

const CIRCUIT_METHODS = (reverse = Reverse(), adjoint = Adjoint(), parameter_shift = ParameterShift())

circuit_made_with(::Reverse) = "Yao"
circuit_made_with(::Adjoint) = "Yao blocks, own sweep"
circuit_made_with(::ParameterShift) = "Yao"

include("gates.jl")
include("sweep.jl")
include("shifts.jl")
