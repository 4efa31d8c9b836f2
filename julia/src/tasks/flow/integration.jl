# Integration by RK4: the loss, and what reverse mode keeps of the steps.

using ChainRulesCore: HasReverseMode, RuleConfig, Tangent, rrule_via_ad

"One RK4 step of `h` on the batch `x` and on `q` = ∫ g |dt|; returns both."
function rk4_step(field, x, q, h)
    k₁, g₁ = field(x)
    k₂, g₂ = field(combine(x, (h / 2,), (k₁,)))
    k₃, g₃ = field(combine(x, (h / 2,), (k₂,)))
    k₄, g₄ = field(combine(x, (h,), (k₃,)))
    weights = (h / 6, h / 3, h / 3, h / 6)
    return combine(x, weights, (k₁, k₂, k₃, k₄)), combine(q, abs.(weights), (g₁, g₂, g₃, g₄))
end

"x + Σᵢ cᵢ kᵢ in one pass, for numbers `c` and arrays `k`."
combine(x, c::NTuple{N,Number}, k::NTuple{N,AbstractArray}) where {N} =
    broadcast((xⱼ, kⱼ...) -> xⱼ + sum(c .* kⱼ), x, k...)

# Linear in x and k, so nothing is kept; Zygote would take the broadcast apart and keep the pieces.
function ChainRulesCore.rrule(::typeof(combine), x, c, k)
    function combine_pullback(Δ)
        x̄ = unthunk(Δ)
        return NoTangent(), x̄, NoTangent(), Tangent{typeof(k)}(map(cᵢ -> cᵢ .* x̄, c)...)
    end
    return combine(x, c, k), combine_pullback
end

"Reverse mode keeps the stages of all steps."
struct Discrete end
"Reverse mode keeps x at each step and computes the stages of a step again when it comes back to it."
struct Checkpointed end
"The continuous adjoint, integrated backwards by the same RK4 together with x, of which nothing is kept."
struct Backsolve end
"An adaptive solver of OrdinaryDiffEqTsit5, which must be in the environment, for the state and its continuous adjoint."
struct Library
    rtol::Float64
end

const FLOW_METHODS = (
    discrete = config -> Discrete(),
    checkpointed = config -> Checkpointed(),
    backsolve = config -> Backsolve(),
    library = config -> Library(get(config, :rtol, 1e-8)),
)

advance(::Union{Discrete,Backsolve}, field, x, q, h) = rk4_step(field, x, q, h)
advance(::Checkpointed, field, x, q, h) = rk4_step(field, x, q, h)

function ChainRulesCore.rrule(
    config::RuleConfig{>:HasReverseMode}, ::typeof(advance), ::Checkpointed, field, x, q, h
)
    function advance_pullback(Δ)
        _, step_pullback = rrule_via_ad(config, rk4_step, field, x, q, h)
        return (NoTangent(), NoTangent(), Base.tail(step_pullback(Δ))...)
    end
    return rk4_step(field, x, q, h), advance_pullback
end

"A batch with what becomes of it: N = `steps` of the signed size `h`, negative where data goes back to noise."
struct FlowCase{T,P,M,G}
    potential::P
    method::M
    goal::G
    x::Matrix{T}
    h::T
    steps::Int
    "See `HiddenField`."
    scratch::Vector{Matrix{T}}
end

make_field(case::FlowCase, θ) = make_field(case.potential, θ, scratch_for(θ, case.scratch))

"Memory for numbers as in `θ`: the case's own, or none yet where they are dual numbers."
scratch_for(θ::AbstractVector{T}, scratch::Vector{Matrix{T}}) where {T} = scratch
scratch_for(θ::AbstractVector{T}, ::Vector) where {T} = Matrix{T}[]
@non_differentiable scratch_for(::Any, ::Any)

"Carries the batch along: the last x of shape d × B and ∫∇²u |dt| of shape (B,)."
integrate(case::FlowCase, field) = integrate(case.method, case, field)

function integrate(method, case::FlowCase{T}, field) where {T}
    x, q = case.x, zeros(T, size(case.x, 2))
    for _ in 1:case.steps
        x, q = advance(method, field, x, q, case.h)
    end
    return x, q
end

"The mean loss of a batch that ended in `x`."
terminal(case::FlowCase, x, q) = sum(losses(case.goal, x, q)) / size(x, 2)

function loss(θ, case::FlowCase)
    x, q = integrate(case, make_field(case, θ))
    return terminal(case, x, q)
end
