# The Hamiltonian, as a matrix and as two halves.

"Z_i of a basis state, ±1."
spin(state, site) = 1 - 2 * (state >> site & 1)

"Z_i of all basis states of `sites` spins, (2ᵏ,)."
spins(::Type{T}, sites, site) where {T} = T[spin(state, site) for state in 0:(2^sites - 1)]

"Z_i Z_{i+1} of a basis state, ±1; the last bond leads back to site 0."
bond(state, site, sites) = spin(state, site) * spin(state, (site + 1) % sites)

"""
    chain_matrix(J, h) -> Matrix

H as a dense matrix; a `J` that is shorter than `h` by one makes an open chain.
"""
function chain_matrix(J::AbstractVector{T}, h::AbstractVector{T}) where {T}
    sites = length(h)
    H = zeros(T, 2^sites, 2^sites)
    for x in 0:(2^sites - 1)
        H[x + 1, x + 1] = -sum(J[i] * bond(x, i - 1, sites) for i in eachindex(J); init = zero(T))
        for i in 1:sites
            H[(x ⊻ 1 << (i - 1)) + 1, x + 1] = -h[i]
        end
    end
    return H
end

function ChainRulesCore.rrule(::typeof(chain_matrix), J::AbstractVector{T}, h::AbstractVector{T}) where {T}
    function chain_matrix_pullback(Δ)
        H̄ = unthunk(Δ)
        J̄, h̄ = zero(J), zero(h)
        for x in 0:(size(H̄, 1) - 1)
            for i in eachindex(J)
                J̄[i] -= H̄[x + 1, x + 1] * bond(x, i - 1, length(h))
            end
            for i in eachindex(h)
                h̄[i] -= H̄[(x ⊻ 1 << (i - 1)) + 1, x + 1]
            end
        end
        return NoTangent(), J̄, h̄
    end
    return chain_matrix(J, h), chain_matrix_pullback
end

"""
H without its matrix: with a state read as a matrix V (low half, high half) of the chain cut in two, it is
`low * V + V * high + edge .* V`, the halves being open chains and `edge` the energy of the two bonds between them.
"""
struct Halves{T}
    low::Matrix{T}
    high::Matrix{T}
    edge::Matrix{T}
end

function Halves(θ::AbstractVector{T}) where {T}
    sites = length(θ) ÷ 2
    cut = sites ÷ 2
    J, h = θ[1:sites], θ[(sites + 1):(2sites)]
    across = spins(T, cut, cut - 1) * spins(T, sites - cut, 0)'
    around = spins(T, cut, 0) * spins(T, sites - cut, sites - cut - 1)'
    return Halves(
        chain_matrix(J[1:(cut - 1)], h[1:cut]),
        chain_matrix(J[(cut + 1):(sites - 1)], h[(cut + 1):sites]),
        .-(J[cut] .* across .+ J[sites] .* around),
    )
end

@non_differentiable spins(::Any, ::Any, ::Any)
