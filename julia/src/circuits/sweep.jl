# The way back through a circuit, gate by gate, for registers of any numbers.

# A rotation R = exp(−iθσ/2) gives dψ = −(i/2) σψ dθ right after it, so dL = Re <λ|dψ> is ½ Im <λ|σψ> dθ there.

"""
The derivatives by the angles `θ` of `gates`; un-applies these to `ψ` and to its cotangent `λ`. Of batches it is the sum over
all states.
"""
function sweep_back(gates, ψ, λ, θ)
    θ̄ = similar(θ)
    k = length(θ)
    for gate in Iterators.reverse(gates)
        if gate isa CNOT
            apply!(ψ, gate)
            apply!(λ, gate)
        else
            θ̄[k] = imag_overlap(gate, vec(state(λ)), vec(state(ψ))) / 2
            turn!(ψ, gate, -θ[k])
            turn!(λ, gate, -θ[k])
            k -= 1
        end
    end
    return θ̄
end

"Applies a rotation by another angle than its own."
turn!(register, gate::Turn{XGate}, angle) = instruct!(register, Val(:Rx), gate.locs, angle)
turn!(register, gate::Turn{ZGate}, angle) = instruct!(register, Val(:Rz), gate.locs, angle)

function turn!(register, gate::IsingTurn, angle)
    ψ, mask = vec(state(register)), bits(gate.locs)
    alike, unlike = cis(-angle / 2), cis(angle / 2)
    @inbounds for x in eachindex(ψ)
        ψ[x] *= iseven(count_ones((x - 1) & mask)) ? alike : unlike
    end
    return register
end

"The word with these qubits, counted from one, set."
bits(locs) = sum(q -> 1 << (q - 1), locs)

"Im <λ|Pψ> for the Pauli product P that a gate turns about."
imag_overlap(gate::Turn, λ, ψ) = imag_overlap(content(gate).block, λ, ψ, only(gate.locs))

function imag_overlap(gate::IsingTurn, λ::Vector{Complex{T}}, ψ::Vector{Complex{T}}) where {T}
    mask, total = bits(gate.locs), zero(T)
    @inbounds for x in eachindex(ψ)
        term = imag(conj(λ[x]) * ψ[x])
        total += iseven(count_ones((x - 1) & mask)) ? term : -term
    end
    return total
end

function imag_overlap(σ, λ::Vector{Complex{T}}, ψ::Vector{Complex{T}}, qubit) where {T}
    stride = 1 << (qubit - 1)
    total = zero(T)
    @inbounds for start in 0:(2stride):(length(ψ) - 1)
        @simd for i in (start + 1):(start + stride)
            total += imag_pair(σ, λ[i], λ[i + stride], ψ[i], ψ[i + stride])
        end
    end
    return total
end

imag_pair(::XGate, λ₀, λ₁, ψ₀, ψ₁) = imag(conj(λ₀) * ψ₁) + imag(conj(λ₁) * ψ₀)
imag_pair(::ZGate, λ₀, λ₁, ψ₀, ψ₁) = imag(conj(λ₀) * ψ₀) - imag(conj(λ₁) * ψ₁)

"The gates of a circuit, in time order. Its angles are given by who runs it, those in the gates do not count."
struct Circuit{G}
    qubits::Int
    gates::Vector{G}
end

"Takes a register through a circuit."
function run!(ψ::Union{ArrayReg,BatchedArrayReg}, circuit::Circuit, θ::AbstractVector)
    k = 0
    for gate in circuit.gates
        if gate isa CNOT
            apply!(ψ, gate)
        else
            turn!(ψ, gate, θ[k += 1])
        end
    end
    return ψ
end

"The register after a circuit from |0…0>."
run(circuit::Circuit, θ::AbstractVector{T}) where {T} = run!(zero_state(Complex{T}, circuit.qubits), circuit, θ)
