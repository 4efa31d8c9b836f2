# The Monge-Ampère flow: Zhang, E, Wang, arXiv:1809.10188, integrated by classic RK4.
#
# Batches are d × B, one column a sample. A *field* is a callable x -> (v, g): the velocity v = ∇u of shape d × B and the
# divergence g = ∇²u of shape (B,). Zygote differentiates everything below except `HiddenField` and `combine`, which have
# their own rules.

using ChainRulesCore: HasReverseMode, RuleConfig, Tangent, rrule_via_ad
using LinearAlgebra: tr

# Fields

# What φ′ is: its value s at z, and from s alone its slope ds/dz and the bend in d²s/dz² = bend · slope. Inlined, exp becomes
# part of a vectorised loop: 3 times as fast in Float64, 20 times in Float32.
"φ = softplus, φ′(z) = 1/(1 + exp(−z))."
struct Logistic end
"φ = ln cosh, φ′(z) = tanh z."
struct HyperbolicTangent end

@inline activation(::Logistic, z) = inv(1 + @inline exp(-z))
@inline activation(::HyperbolicTangent, z) = 1 - 2 * inv(1 + @inline exp(2z))
@inline slope(::Logistic, s) = s * (1 - s)
@inline slope(::HyperbolicTangent, s) = 1 - s * s
@inline bend(::Logistic, s) = 1 - 2s
@inline bend(::HyperbolicTangent, s) = -2s

"""
The field of u(x) = Σ_j a_j φ(w_j·x + b_j): v = Wᵀ(a ∘ φ′(z)), g = Σ_j a_j |w_j|² φ″(z_j).

Holds `W` (h × d), `V` = Wᵀ diag(a) (d × h), `b` (h,) and `c` = a_j |w_j|² (h,), so that a right-hand side is two matrix
products and one pass over the hidden units, and `a` is met once in a gradient, not once a stage.

`scratch` are h × B matrices that are free to use. Without them each stage would make garbage of its hidden units and each
gradient a tape that outlives its collection, and Julia would spend more time on the garbage than on the gradient.
"""
struct HiddenField{A,T}
    act::A
    W::Matrix{T}
    V::Matrix{T}
    b::Vector{T}
    c::Vector{T}
    scratch::Vector{Matrix{T}}
end

function (field::HiddenField)(x)
    s, g = hidden(field, x)
    v = matmul(field.V, s)
    push!(field.scratch, s)
    return v, g
end

"The activations s of shape h × B, in memory from `scratch`, and the divergence g."
function hidden(field::HiddenField, x)
    s = matmul!(borrow(field, x), field.W, x)
    return s, activate!(field.act, s, field.b, field.c)
end

"A matrix from `scratch`, or a new one where none is left that fits the batch."
function borrow(field::HiddenField{A,T}, x) where {A,T}
    while !isempty(field.scratch)
        free = pop!(field.scratch)
        size(free, 2) == size(x, 2) && return free
    end
    return Matrix{T}(undef, length(field.b), size(x, 2))
end

"""
    activate!(act, z, b, c) -> g

Overwrites `z` of shape h × B with s = φ′(z .+ b), and adds up g_k = Σ_j c_j φ″(z_jk + b_j), (B,), on the way.
"""
function activate!(act, z::Matrix{T}, b::Vector{T}, c::Vector{T}) where {T}
    axes(z, 1) == eachindex(b) == eachindex(c) || throw(DimensionMismatch("z, b and c disagree about the hidden units"))
    g = Vector{T}(undef, size(z, 2))
    @inbounds for k in axes(z, 2)
        total = zero(T)
        @simd for j in axes(z, 1)
            s = activation(act, z[j, k] + b[j])
            z[j, k] = s
            total += c[j] * slope(act, s)
        end
        g[k] = total
    end
    return g
end

"The reverse of `activate!`: overwrites s̄ with z̄ and returns it with the cotangents of `b` and `c`."
function deactivate!(act, s̄::Matrix{T}, ḡ, s::Matrix{T}, c::Vector{T}) where {T}
    axes(s̄) == axes(s) && axes(s, 1) == eachindex(c) && axes(s, 2) == eachindex(ḡ) ||
        throw(DimensionMismatch("cotangents and activations disagree"))
    b̄, c̄ = zero(c), zero(c)
    @inbounds for k in axes(s, 2)
        ḡₖ = ḡ[k]
        @simd for j in axes(s, 1)
            ds = slope(act, s[j, k])
            z̄ = ds * (s̄[j, k] + c[j] * bend(act, s[j, k]) * ḡₖ)
            s̄[j, k] = z̄
            b̄[j] += z̄
            c̄[j] += ds * ḡₖ
        end
    end
    return s̄, b̄, c̄
end

# Keeps x and s alone. The pullback gives s back to `scratch`, so it can be called once only, as a gradient does; a second
# call would find the memory in use elsewhere, and is refused.
function ChainRulesCore.rrule(field::HiddenField, x::Matrix)
    s, g = hidden(field, x)
    spent = Ref(false)
    function field_pullback(Δ)
        spent[] && error("the pullback of a HiddenField can be called once only: its memory is in use again")
        spent[] = true
        v̄, ḡ = unthunk(Δ[1]), unthunk(Δ[2])
        z̄, b̄, c̄ = deactivate!(field.act, matmul!(borrow(field, x), field.V', v̄), ḡ, s, field.c)
        return HiddenTerm(z̄, x, v̄, s, b̄, c̄, field.scratch), matmul(field.W', z̄)
    end
    return (matmul(field.V, s), g), field_pullback
end

"""
What one right-hand side adds to the cotangent of its field: W̄ = z̄ xᵀ, V̄ = v̄ sᵀ, `b̄` and `c̄`.

Zygote adds up the terms of all stages with `+`. Products that are added where they belong, instead of being formed and
then added, save four h × d temporaries a stage. A term is used once; then z̄ and s are free again.
"""
struct HiddenTerm{T,X<:Matrix}
    z̄::Matrix{T}
    "Of the first stage, where x does not depend on θ, plain numbers even where θ holds dual ones."
    x::X
    v̄::Matrix{T}
    s::Matrix{T}
    b̄::Vector{T}
    c̄::Vector{T}
    scratch::Vector{Matrix{T}}
end

"A sum of terms. It belongs to the sum that is being formed and to nobody else, so `+` may overwrite it."
struct HiddenCotangent{T}
    W̄::Matrix{T}
    V̄::Matrix{T}
    b̄::Vector{T}
    c̄::Vector{T}
end

total(sum::HiddenCotangent) = sum
function total(term::HiddenTerm)
    sum = HiddenCotangent(matmul(term.z̄, term.x'), matmul(term.v̄, term.s'), term.b̄, term.c̄)
    push!(term.scratch, term.z̄, term.s)
    return sum
end

Base.:+(a::HiddenTerm, b::HiddenTerm) = total(a) + b
Base.:+(a::HiddenTerm, b::HiddenCotangent) = b + a

function Base.:+(sum::HiddenCotangent, term::HiddenTerm)
    matmul!(sum.W̄, term.z̄, term.x', true)
    matmul!(sum.V̄, term.v̄, term.s', true)
    sum.b̄ .+= term.b̄
    sum.c̄ .+= term.c̄
    push!(term.scratch, term.z̄, term.s)
    return sum
end

function Base.:+(a::HiddenCotangent, b::HiddenCotangent)
    foreach(name -> getfield(a, name) .+= getfield(b, name), fieldnames(HiddenCotangent))
    return a
end

function ChainRulesCore.rrule(::Type{HiddenField}, act, W, V, b, c, scratch)
    function HiddenField_pullback(Δ)
        sum = total(unthunk(Δ))
        return NoTangent(), NoTangent(), sum.W̄, sum.V̄, sum.b̄, sum.c̄, NoTangent()
    end
    return HiddenField(act, W, V, b, c, scratch), HiddenField_pullback
end

"The field of u(x) = ½ xᵀSx: v = Sx, g = tr S."
struct LinearField{T}
    S::Matrix{T}
    trace::T
end

(field::LinearField)(x) = (matmul(field.S, x), fill(field.trace, size(x, 2)))

"Counts the evaluations of a field."
struct Counted{F}
    field::F
    calls::Base.RefValue{Int}
end

function (counted::Counted)(x)
    counted.calls[] += 1
    return counted.field(x)
end

# Potentials: how θ, flat and in C order, becomes a field

"u(x) = Σ_j a_j softplus(w_j·x + b_j)."
struct Softplus
    dim::Int
    hidden::Int
end

nparameters(potential::Softplus) = potential.hidden * (potential.dim + 2)

"θ is W (h, d), b (h,), a (h,): its first block, read in column-major order, is Wᵀ."
function make_field(potential::Softplus, θ, scratch)
    d, h = potential.dim, potential.hidden
    Wᵀ = reshape(θ[1:(h * d)], d, h)
    b = θ[(h * d + 1):(h * d + h)]
    a = θ[(h * d + h + 1):(h * d + 2h)]
    return HiddenField(Logistic(), permutedims(Wᵀ), Wᵀ .* a', b, a .* vec(sum(abs2, Wᵀ; dims = 1)), scratch)
end

"u(x) = Σ_j a_j ln cosh(w_j·x), which is even."
struct LogCosh
    dim::Int
    hidden::Int
end

nparameters(potential::LogCosh) = potential.hidden * (potential.dim + 1)

"θ is W (h, d), a (h,)."
function make_field(potential::LogCosh, θ, scratch)
    d, h = potential.dim, potential.hidden
    Wᵀ = reshape(θ[1:(h * d)], d, h)
    a = θ[(h * d + 1):(h * d + h)]
    c = a .* vec(sum(abs2, Wᵀ; dims = 1))
    return HiddenField(HyperbolicTangent(), permutedims(Wᵀ), Wᵀ .* a', zero(a), c, scratch)
end

"u(x) = ½ xᵀSx."
struct Quadratic
    dim::Int
end

nparameters(potential::Quadratic) = potential.dim^2

"θ is A (d, d), and S = (A + Aᵀ)/2 does not care for its order."
function make_field(potential::Quadratic, θ, scratch)
    A = reshape(θ, potential.dim, potential.dim)
    S = (A .+ A') ./ 2
    return LinearField(S, tr(S))
end

# Goals: the loss of a sample that ended in x, with q = ∫ g |dt|

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

"The continuous dual of the Ising model, ln π̃ = −½ xᵀK′⁻¹x + Σ ln cosh xᵢ, given K′⁻¹."
struct IsingDual{T}
    inverse_coupling::Matrix{T}
end

IsingDual(data::NamedTuple) = IsingDual(data.inverse_coupling)

"ln cosh x without overflow."
log_cosh(x::T) where {T} = abs(x) + log1p(exp(-2 * abs(x))) - log(oftype(x, 2))

"""
    log_target(target, x) -> (B,)

ln π̃ in nats.
"""
log_target(target::IsingDual, x) = vec(sum(log_cosh.(x) .- x .* matmul(target.inverse_coupling, x) ./ 2; dims = 1))

"√s, with derivative 0 at 0: |x| has none there, but noise that lies at the origin stays there, whatever θ is."
flat_sqrt(s) = primal(s) > 0 ? sqrt(s) : zero(s)  # dual numbers of equal value compare by their derivatives

"ln π̃ = −(|x| − 2)²/0.32."
struct Ring end
log_target(::Ring, x::AbstractMatrix{T}) where {T} =
    vec(-(flat_sqrt.(sum(abs2, x; dims = 1)) .- 2) .^ 2 ./ convert(T, 0.32))

"ln π̃ = −x² − y² − ½xy."
struct Correlated end
log_target(::Correlated, x) = .-vec(sum(abs2, x; dims = 1)) .- x[1, :] .* x[2, :] ./ 2

const FLOW_VARIANTS = (
    density = (Softplus, Likelihood, -1),
    quadratic = (Quadratic, Likelihood, -1),
    ising = (LogCosh, data -> FreeEnergy(IsingDual(data), data), 1),
    ring = (LogCosh, data -> FreeEnergy(Ring(), data), 1),
    correlated = (LogCosh, data -> FreeEnergy(Correlated(), data), 1),
)

Softplus(config::NamedTuple) = Softplus(config.dim, config.hidden)
LogCosh(config::NamedTuple) = LogCosh(config.dim, config.hidden)
Quadratic(config::NamedTuple) = Quadratic(config.dim)

# Integration

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

"""
    adjoint_slopes(field, x, x̄, q̄, sign) -> (k, l, field̄)

The slopes of x and of its cotangent in the continuous adjoint, and what is to be integrated for the field's: with time
counted in the direction of the flow, dx/dt = `sign`·v and dx̄/dt = −l (Chen et al., arXiv:1806.07366, appendix B).
"""
function adjoint_slopes(field, x, x̄, q̄, sign)
    (v, _), back = Zygote.pullback((field, x) -> field(x), field, x)
    field̄, l = back((sign .* x̄, q̄))
    return v, something(l, zero(x)), field̄
end

"Value and gradient by backsolve."
function backsolve(θ, case::FlowCase{T}) where {T}
    field, field_back = Zygote.pullback(θ -> make_field(case, θ), θ)
    x, q = integrate(case, field)
    value, terminal_back = Zygote.pullback((x, q) -> terminal(case, x, q), x, q)
    x̄, q̄ = terminal_back(one(T))
    h = case.h
    ε, direction = abs(h), sign(h)
    field̄ = nothing
    # A stage's product is taken with its weight in the step, so that the field's cotangent is added up in place.
    function slopes(x, x̄, weight)
        k, l, term = adjoint_slopes(field, x, weight .* x̄, weight .* q̄, direction)
        field̄ = Zygote.accum(field̄, term)
        return k, l ./ weight
    end
    for _ in 1:case.steps
        k₁, l₁ = slopes(x, x̄, ε / 6)
        k₂, l₂ = slopes(combine(x, (-h / 2,), (k₁,)), combine(x̄, (ε / 2,), (l₁,)), ε / 3)
        k₃, l₃ = slopes(combine(x, (-h / 2,), (k₂,)), combine(x̄, (ε / 2,), (l₂,)), ε / 3)
        k₄, l₄ = slopes(combine(x, (-h,), (k₃,)), combine(x̄, (ε,), (l₃,)), ε / 6)
        x = combine(x, (-h / 6, -h / 3, -h / 3, -h / 6), (k₁, k₂, k₃, k₄))
        x̄ = combine(x̄, (ε / 6, ε / 3, ε / 3, ε / 6), (l₁, l₂, l₃, l₄))
    end
    return value, only(field_back(field̄))::Vector{T}
end

# What the extension AdaptiveFlow defines once OrdinaryDiffEqTsit5 is loaded. That may happen while a caller's function is
# running already, hence `invokelatest`.

"x, q and the evaluations of the field, by an adaptive solver."
function adaptive_integrate end
"Value, gradient and the evaluations of the field, by an adaptive solver and its continuous adjoint."
function adaptive_gradient end

integrate(::Library, case::FlowCase, field) = Base.invokelatest(adaptive_integrate, case, field)[1:2]

# The problem

struct FlowProblem{T,C<:FlowCase{T},P} <: Problem{T}
    case::C
    preparation::P
end

"""
    flow_problem(method, config, data)

`config`: `variant` ("density", "quadratic", "ising", "ring" or "correlated"), `dim` d, `hidden` h (not for quadratic),
`steps` N, `time` T, and for the method "library" `rtol`.
`data`: `data` (d × B), and `log_jacobian` (B,), ln |dy/dx| of the preprocessing, for density and quadratic;
`inverse_coupling` K′⁻¹ (d × d) for ising.
"""
function flow_problem(method::AbstractString, @nospecialize(config::NamedTuple), @nospecialize(data::NamedTuple))
    potential, goal, direction = choose("variant of flow", config.variant, FLOW_VARIANTS)
    T = eltype(data.data)
    return flow_problem(
        FlowCase(
            potential(config),
            choose("method of flow", method, FLOW_METHODS)(config),
            goal(data),
            data.data,
            convert(T, direction * config.time / config.steps),
            config.steps,
            Matrix{T}[],
        ),
    )
end

flow_problem(case::FlowCase{T}) where {T} =
    FlowProblem(case, prepare_gradient(loss, AutoZygote(), zeros(T, nparameters(case.potential)), Constant(case)))
flow_problem(case::FlowCase{T,P,Backsolve}) where {T,P} = FlowProblem(case, nothing)

const SOLVER = Base.PkgId(Base.UUID("b1df2697-797e-41e3-8120-5422d3b24e4a"), "OrdinaryDiffEqTsit5")

# The solver is a package that few environments have, and loading it takes its time: only a problem that needs it asks for
# it, and with it comes the extension that defines the methods for `Library`.
function flow_problem(case::FlowCase{T,P,Library}) where {T,P}
    Base.locate_package(SOLVER) === nothing && throw(
        ArgumentError("the method library needs the package $(SOLVER.name); to install it: import Pkg; Pkg.add(\"$(SOLVER.name)\")"),
    )
    Base.require(SOLVER)
    return FlowProblem(case, nothing)
end

nparameters(problem::FlowProblem) = nparameters(problem.case.potential)

objective(problem::FlowProblem) = objective(problem.case.method, problem.case)
objective(::Union{Discrete,Checkpointed}, case) = (loss, case)

value(problem::FlowProblem, θ) = loss(parameters(problem, θ), problem.case)

gradient(problem::FlowProblem, θ) = flow_gradient(problem.case.method, problem, parameters(problem, θ))

flow_gradient(method, problem, θ) =
    value_and_gradient(loss, problem.preparation, AutoZygote(), θ, Constant(problem.case))
flow_gradient(::Backsolve, problem, θ) = backsolve(θ, problem.case)
flow_gradient(::Library, problem, θ) = Base.invokelatest(adaptive_gradient, problem.case, θ)[1:2]

"""
`log_density` (B,) in nats, with `latent` (d × B) and `bits_per_dim`, without dimensions, for density estimation; else with
`samples` (d × B), `free_energy` (B,), the loss of each in nats, and for ising `free_energy_per_site`, without dimensions.
"""
function outputs(problem::FlowProblem, θ)
    case = problem.case
    x, q = integrate(case, make_field(case, parameters(problem, θ)))
    return flow_outputs(case.goal, x, losses(case.goal, x, q))
end

function flow_outputs(goal::Likelihood, x::Matrix{T}, nats) where {T}
    bits = sum(nats .- goal.log_jacobian) / length(nats) / T(size(x, 1) * log(2))
    return (latent = x, log_density = .-nats, bits_per_dim = fill(bits))
end

flow_outputs(goal::FreeEnergy, x, nats) =
    (samples = x, log_density = nats .+ log_target(goal.target, x), free_energy = nats)
flow_outputs(goal::FreeEnergy{<:IsingDual}, x, nats) = (
    samples = x,
    log_density = nats .+ log_target(goal.target, x),
    free_energy = nats,
    free_energy_per_site = fill(sum(nats) / length(x)),
)

work(problem::FlowProblem, θ) = flow_work(problem.case.method, problem, parameters(problem, θ))

function flow_work(method, problem, θ)
    field = Counted(make_field(problem.case, θ), Ref(0))
    integrate(problem.case, field)
    return (parameters = length(θ), rhs_evaluations = field.calls[], steps = field.calls[] ÷ 4)
end

# The counts of an adaptive solver are no invariants: they have names of their own.
flow_work(::Library, problem, θ) = (
    parameters = length(θ),
    adaptive_evaluations = Base.invokelatest(adaptive_integrate, problem.case, make_field(problem.case, θ))[3],
    adaptive_evaluations_gradient = Base.invokelatest(adaptive_gradient, problem.case, θ)[3],
)

made_with(problem::FlowProblem) = problem.case.method isa Library ? SOLVER.name : "Zygote"
