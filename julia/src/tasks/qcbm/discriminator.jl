# What tells data from what a circuit makes: D(x) = σ(s(x)), s = W₂·tanh(W₁x + b₁) + b₂, and the loss of both,
# L = Σ π ln D + Σ p ln(1 − D). Zeng, Wu, Liu, Wang, Hu, arXiv:1808.03425; Goodfellow et al., arXiv:1406.2661.

"The bits of all x as ±1 (n × 2ⁿ), and the probability π of each x in the data (2ⁿ,)."
struct Discriminator{T}
    spins::Matrix{T}
    target::Vector{T}
end

"W₁ᵀ (n × h), `b₁` (h,), `W₂` (h,) and `b₂` in the vector of all weights."
function cut(d::Discriminator, weights)
    n = size(d.spins, 1)
    h = (length(weights) - 1) ÷ (n + 2)
    start = h * n
    return (
        W₁ᵀ = reshape(view(weights, 1:start), n, h),
        b₁ = view(weights, start .+ (1:h)),
        W₂ = view(weights, start + h .+ (1:h)),
        b₂ = weights[end],
    )
end

# One branch a sign, so that nothing overflows; both have the same derivatives where they meet.
log_sigmoid(s) = s < 0 ? s - log1p(exp(s)) : -log1p(exp(-s))
sigmoid(s) = s < 0 ? exp(s) / (1 + exp(s)) : inv(1 + exp(-s))

"Activations (h × 2ⁿ) and logits s (2ⁿ,)."
function logits(d::Discriminator, weights)
    (; W₁ᵀ, b₁, W₂, b₂) = cut(d, weights)
    units = tanh.(matmul(W₁ᵀ', d.spins) .+ b₁)
    return units, matmul(units', W₂) .+ b₂
end

"L, and ∂L/∂p = ln(1 − D) (2ⁿ,)."
function play(d::Discriminator, p, s)
    q = log_sigmoid.(.-s)
    return dot(d.target, log_sigmoid.(s)) + dot(p, q), q
end

"∂L/∂weights."
function teach(d::Discriminator, p, weights, units, s)
    r = d.target .* sigmoid.(.-s) .- p .* sigmoid.(s)
    z̄ = cut(d, weights).W₂ .* r' .* (1 .- units .^ 2)
    return [vec(matmul(d.spins, z̄')); vec(sum(z̄; dims = 2)); matmul(units, r); sum(r)]
end

"""
    payoff(discriminator, p, weights) -> Vector

L as the one element of a vector: rules for engines are about arrays.
"""
payoff(d::Discriminator, p::AbstractVector, weights::AbstractVector) = [first(play(d, p, last(logits(d, weights))))]

function ChainRulesCore.rrule(::typeof(payoff), d::Discriminator, p::AbstractVector, weights::AbstractVector)
    units, s = logits(d, weights)
    loss, q = play(d, p, s)
    function payoff_pullback(Δ)
        δ = only(unthunk(Δ))
        return NoTangent(), NoTangent(), δ .* q, δ .* teach(d, p, weights, units, s)
    end
    return [loss], payoff_pullback
end
