# Circuits of blocks whose types are known to the compiler.

const Turn{G,T} = PutBlock{2,1,RotationGate{2,T,G}}
const CNOT = ControlBlock{XGate,1,1}
# Three concrete types, so that loops over gates split the union instead of dispatching.
const Gate{T} = Union{Turn{XGate,T},Turn{ZGate,T},CNOT}
"exp(−iθ ZZ/2)"
const IsingTurn{T} = PutBlock{2,2,RotationGate{2,T,KronBlock{2,2,Tuple{ZGate,ZGate}}}}
const Register{T} = ArrayReg{2,Complex{T},Matrix{Complex{T}}}
"States side by side, a column each, which the same gates act on."
const Batch{T} = BatchedArrayReg{2,Complex{T},Matrix{Complex{T}}}

"Rz·Rx·Rz, in time order, on every qubit; without the first Rz of layer 0 and the last of layer `depth`, unless `whole`."
function rotation_layer(::Type{T}, layer, depth, qubits, whole = false) where {T}
    gates = Gate{T}[]
    for qubit in 1:qubits
        (whole || layer > 0) && push!(gates, put(qubits, qubit => Rz(zero(T))))
        push!(gates, put(qubits, qubit => Rx(zero(T))))
        (whole || layer < depth) && push!(gates, put(qubits, qubit => Rz(zero(T))))
    end
    return gates
end

"Controlled flips in the order of the columns (control, target) of `cnots`, which count qubits from zero."
entangling_layer(::Type{T}, cnots, qubits) where {T} =
    Gate{T}[cnot(qubits, Int(control) + 1, Int(target) + 1) for (control, target) in eachcol(cnots)]

"The gates of the whole circuit, a vector a layer, rotations and entanglers in turn."
function layers(::Type{T}, qubits, depth, cnots, whole = false) where {T}
    rotations = [rotation_layer(T, layer, depth, qubits, whole) for layer in 0:depth]
    entanglers = [entangling_layer(T, cnots, qubits) for _ in 1:depth]
    return [iseven(k) ? entanglers[k ÷ 2] : rotations[(k + 1) ÷ 2] for k in 1:(2depth + 1)]
end

"The gates of a circuit of rotations and CNOTs, and its layers: counts blocks in its tree."
circuit_work(circuit::ChainBlock) = (
    rotations = length(collect_blocks(RotationGate, circuit)),
    cnots = length(collect_blocks(ControlBlock, circuit)),
    layers = count(part -> Yao.nparameters(part) > 0, subblocks(circuit)),
    qubits = Yao.nqubits(circuit),
)
