# Hψ without a matrix, and the same Hamiltonians as Yao's blocks.

"H = D − Σ X: `diagonal` D = Σ ZZ of the bonds."
struct IsingRing{T}
    diagonal::Vector{T}
end

"H = −D: `diagonal` D is how many bonds are cut."
struct CutCount{T}
    diagonal::Vector{T}
end

"H = Σ J (XX + YY + ZZ) = Σ J (2S − 1), where S exchanges the two qubits of a bond, given as words with one bit set."
struct HeisenbergBonds{T}
    bonds::Vector{NTuple{2,Int}}
    couplings::Vector{T}
end

const VQE_VARIANTS = (tfim = IsingRing, heisenberg = HeisenbergBonds, maxcut = CutCount)

"`apply_terms!(y, H, x)`: y = H x for vectors of length 2ⁿ."
function apply_terms!(y::Vector, H::IsingRing, x::Vector)
    y .= H.diagonal .* x
    stride = 1
    while stride < length(x)
        @inbounds for start in 0:(2stride):(length(x) - 1)
            @simd for i in (start + 1):(start + stride)
                y[i] -= x[i + stride]
                y[i + stride] -= x[i]
            end
        end
        stride *= 2
    end
    return y
end

apply_terms!(y::Vector, H::CutCount, x::Vector) = (y .= .-H.diagonal .* x; y)

function apply_terms!(y::Vector, H::HeisenbergBonds, x::Vector)
    y .= -sum(H.couplings) .* x
    for ((low, high), J) in zip(H.bonds, H.couplings)
        @inbounds for word in eachindex(x)
            a, b = (word - 1) & low, (word - 1) & high
            other = iszero(a) == iszero(b) ? word : ((word - 1) ⊻ low ⊻ high) + 1
            y[word] += 2J * x[other]
        end
    end
    return y
end

"Pairs of Yao's qubits from the columns of `bonds`, which count from zero."
qubit_pairs(bonds) = [(Int(i) + 1, Int(j) + 1) for (i, j) in eachcol(bonds)]

ising_sum(qubits, pairs) = AbstractBlock[kron(qubits, i => Z, j => Z) for (i, j) in pairs]

"The Hamiltonian as Yao's users write it."
yao_terms(::IsingRing, qubits, pairs) =
    sum([ising_sum(qubits, pairs); AbstractBlock[-put(qubits, q => X) for q in 1:qubits]])
yao_terms(H::HeisenbergBonds, qubits, pairs) =
    sum(AbstractBlock[J * kron(qubits, i => P, j => P) for ((i, j), J) in zip(pairs, H.couplings) for P in (X, Y, Z)])
yao_terms(::CutCount{T}, qubits, pairs) where {T} =
    sum([T(0.5) .* ising_sum(qubits, pairs); AbstractBlock[-T(length(pairs) / 2) * Yao.igate(qubits)]])
