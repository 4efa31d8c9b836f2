# The framework's own optimiser, for `diffprog fit`. L-BFGS runs on the host, the same for every backend.

using LinearAlgebra: dot

"Adam's state and the parameters that it moves."
mutable struct Descent{T,S}
    parameters::Vector{T}
    state::S
end

"""
Adam's change of a minimax: multiplied by `factors` (P,), of which negative ones ascend, and by 1 − t/`steps` at step t.

See `Minimax` in `suite/diffprog/declaration.py`.
"""
struct Paced{T} <: Optimisers.AbstractRule
    factors::Vector{T}
    steps::Int
end

Optimisers.init(::Paced, θ) = 0
Optimisers.apply!(rule::Paced{T}, step, θ, change) where {T} =
    step + 1, change .* rule.factors .* (1 - T(step) / rule.steps)

"""
    adam(θ, rate) -> Descent
    adam(θ, rate, factors, steps) -> Descent

`Optimisers.Adam` with β = (0.9, 0.999) and ϵ = 1e-8, about to start from a copy of `θ`; with `factors` and `steps` for a
minimax, see `Paced`.
"""
adam(θ::AbstractVector{T}, rate::Real) where {T<:AbstractFloat} = started(θ, adam_rule(T, rate))
adam(θ::AbstractVector{T}, rate::Real, factors, steps) where {T<:AbstractFloat} =
    started(θ, Optimisers.OptimiserChain(adam_rule(T, rate), Paced(Vector{T}(factors), Int(steps))))

adam_rule(T, rate) = Optimisers.Adam(T(rate), (T(0.9), T(0.999)), T(1e-8))

function started(θ::AbstractVector{T}, rule) where {T}
    start = Vector{T}(θ)
    start = start === θ ? copy(θ) : start
    return Descent(start, Optimisers.setup(rule, start))
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
