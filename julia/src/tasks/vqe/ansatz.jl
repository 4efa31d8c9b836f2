# The circuits, and which of their gates share a parameter.

const AlternatingGate{T} = Union{IsingTurn{T},Turn{XGate,T}}

"The angle of gate k is `factors[k]` times parameter `indices[k]`."
struct Sharing{T}
    indices::Vector{Int}
    factors::Vector{T}
    count::Int
end

"The angles of the gates."
angles(sharing::Sharing, θ) = sharing.factors .* θ[sharing.indices]

"The derivatives by the parameters from those by the gates' angles: the parts of each are added."
function add_parts(sharing::Sharing, slopes)
    θ̄ = zeros(eltype(slopes), sharing.count)
    for (k, index) in pairs(sharing.indices)
        θ̄[index] += sharing.factors[k] * slopes[k]
    end
    return θ̄
end

"exp(−iγ D) of the bonds, then exp(−iβX) of every qubit: a vector of gates each, in turn."
function alternating_layers(::Type{T}, qubits, depth, bonds) where {T}
    phases() = AlternatingGate{T}[put(qubits, pair => rot(kron(2, 1 => Z, 2 => Z), zero(T))) for pair in bonds]
    mixers() = AlternatingGate{T}[put(qubits, qubit => Rx(zero(T))) for qubit in 1:qubits]
    return [[phases(), mixers()] for _ in 1:depth]
end

# Yao's angle is twice that of exp(−iaP). D is `weight` Σ ZZ and a constant, which only turns the global phase.
function ansatz(H::Union{IsingRing{T},CutCount{T}}, qubits, depth, data) where {T}
    bonds = qubit_pairs(data.bonds)
    weight = H isa IsingRing ? one(T) : T(-0.5)
    parts = alternating_layers(T, qubits, depth, bonds)
    sharing = Sharing{T}([], [], 2depth)
    for layer in 1:depth
        append!(sharing.indices, fill(layer, length(bonds)), fill(depth + layer, qubits))
        append!(sharing.factors, fill(2weight, length(bonds)), fill(T(2), qubits))
    end
    blocks = [ChainBlock(qubits, [ChainBlock(qubits, part) for part in pair]) for pair in parts]
    return ChainBlock(qubits, blocks), reduce(vcat, reduce(vcat, parts)), sharing
end

function ansatz(::HeisenbergBonds{T}, qubits, depth, data) where {T}
    parts = layers(T, qubits, depth, data.cnots)
    gates = reduce(vcat, parts)
    count = sum(!=(CNOT), typeof.(gates))
    sharing = Sharing{T}(1:count, ones(T, count), count)
    return ChainBlock(qubits, [ChainBlock(qubits, part) for part in parts]), gates, sharing
end

"The state that a circuit starts from: |+…+> where phases come first, else |0…0>."
first_state!(::Union{IsingRing,CutCount}, ψ) = fill!(ψ, 1 / sqrt(eltype(ψ)(length(ψ))))
function first_state!(::HeisenbergBonds, ψ)
    fill!(ψ, 0)
    ψ[1] = 1
    return ψ
end
