# Goals: the loss of a sample that ended in x, with q = ∫ g |dt|.

"""
    losses(goal, x, q) -> (B,)

What each sample contributes to the loss, in nats.
"""
function losses end

"Density estimation, data to noise: −ln p = q + |x|²/2 + (d/2) ln 2π. Holds ln |dy/dx| of the data's preprocessing."
struct Likelihood{T}
    log_jacobian::Vector{T}
end

Likelihood(data::NamedTuple) = Likelihood(data.log_jacobian)
losses(::Likelihood, x, q) = q .+ vec(sum(abs2, x; dims = 1)) ./ 2 .+ log_normaliser(x)

"Variational free energy, noise z to a target π̃: ln p(x) − ln π̃(x), ln p(x) = ln N(z) − q. Holds ln N(z)."
struct FreeEnergy{G,T}
    target::G
    log_noise::Vector{T}
end

FreeEnergy(target, data::NamedTuple) =
    FreeEnergy(target, .-vec(sum(abs2, data.data; dims = 1)) ./ 2 .- log_normaliser(data.data))
losses(goal::FreeEnergy, x, q) = goal.log_noise .- q .- log_target(goal.target, x)

"(d/2) ln 2π, in the precision of `x`."
log_normaliser(x::AbstractMatrix{T}) where {T} = T(size(x, 1) * log(2π) / 2)
@non_differentiable log_normaliser(::Any)
