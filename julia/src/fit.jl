# The framework's own optimiser, for `diffprog fit`. L-BFGS runs on the host, the same for every backend.

using LinearAlgebra: dot

"Adam's state and the parameters that it moves."
mutable struct Descent{T,S}
    parameters::Vector{T}
    state::S
end

"""
    adam(θ, rate) -> Descent

`Optimisers.Adam` with β = (0.9, 0.999) and ϵ = 1e-8, about to start from a copy of `θ`.
"""
function adam(θ::AbstractVector{T}, rate::Real) where {T<:AbstractFloat}
    start = Vector{T}(θ)
    start = start === θ ? copy(θ) : start
    return Descent(start, Optimisers.setup(Optimisers.Adam(T(rate), (T(0.9), T(0.999)), T(1e-8)), start))
end

"""
    step!(descent, problem, source) -> T

One update on the objective L(θ) − `source`·θ; returns the objective before it.
"""
function step!(descent::Descent, problem::Problem, source::AbstractVector)
    θ = descent.parameters
    loss, θ̄ = gradient(problem, θ)
    objective = loss - dot(source, θ)
    descent.state, descent.parameters = Optimisers.update!(descent.state, θ, θ̄ .- source)
    return objective
end
