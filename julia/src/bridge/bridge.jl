"""
Functions with their derivative rules, for callers in another language: what they call is an `Operation`, and what crosses is
arrays of plain numbers. `suite/diffprog/interop` in Python is such a caller; [`serve`](@ref) and [`entry`](@ref) are its two ways in.

Inner products are real: the cotangent of a complex number is x̄ = ∂L/∂Re x + i ∂L/∂Im x, as in ChainRules and PyTorch.
"""
module Bridge

using ChainRulesCore: AbstractZero, ProjectTo, unthunk
using ForwardDiff: Dual, ForwardDiff, Partials
using Mmap: Mmap
using ..DiffProgTasks: DiffProgTasks, Zygote

export Operation, case_problem, forwarddiff, forwarddiff_over_zygote, given_loss, scalar_task, zygote

"""
    Operation(f; reverse = zygote(f), forward = forwarddiff(f), second = forwarddiff_over_zygote(f))

`f(x...)` returns an array, a number, or a tuple of them, in memory that it does not use again. A rule is a function, or `nothing` where there is none:

- `reverse(x...) -> (y, pullback)`, `pullback(ȳ) -> (x̄...)`: the VJP. ȳ is a tuple where y is. It may be called again.
- `forward(x, ẋ) -> ẏ` of tuples x and ẋ: the JVP. ẏ is a tuple where y is.
- `second(x, ẋ, ȳ) -> (x̄̇...)`: the derivative of the cotangents x̄ along ẋ at fixed ȳ, d/dε J(x + εẋ)ᵀȳ. It is its own adjoint
  (mixed derivatives commute), so it serves forward over reverse and reverse over reverse.

In ẋ, an argument without tangent has `nothing`. Arguments that are integers or Bools have neither tangents nor cotangents.
"""
struct Operation{F,R,J,S}
    f::F
    reverse::R
    forward::J
    second::S
end

Operation(f; reverse = zygote(f), forward = forwarddiff(f), second = forwarddiff_over_zygote(f)) =
    Operation(f, reverse, forward, second)
Operation(operation::Operation) = operation

(operation::Operation)(x...) = operation.f(x...)

"The reverse rule of `f` by Zygote, which honours ChainRules' `rrule`s."
zygote(f) = (x...) -> Zygote.pullback(f, x...)

"The forward rule of `f` by dual numbers."
forwarddiff(f) = (x, ẋ) -> tangent(f(map(dual, x, ẋ)...))

"The second-order rule of `f`: dual numbers through Zygote's pullback."
function forwarddiff_over_zygote(f)
    return function (x, ẋ, ȳ)
        _, back = Zygote.pullback(f, map(dual, x, ẋ)...)
        x̄ = back(ȳ)
        return map((x, x̄) -> x̄ === nothing ? nothing : tangent(real_if(x, unthunk(x̄))), x, x̄)
    end
end

"""
    scalar_task(problem) -> Operation

θ ↦ L(θ) of one of the suite's problems: its own gradient, ForwardDiff's jvp and the default hvp.
"""
function scalar_task(problem::DiffProgTasks.Problem)
    function reverse(θ)
        loss, θ̄ = DiffProgTasks.gradient(problem, θ)
        kept = copy(θ̄) # a problem may use its memory again
        return loss, Δ -> (Δ .* kept,)
    end
    jvp, hvp = Later("jvp", "forwarddiff"), Later("hvp", "zygote")
    forward((θ,), (v,)) = last(DiffProgTasks.derive(get!(jvp, problem), θ, v))
    second((θ,), (v,), Δ) = (Δ .* last(DiffProgTasks.derive(get!(hvp, problem), θ, v)),)
    return Operation(θ -> DiffProgTasks.value(problem, θ), reverse, forward, second)
end

"""
    case_problem(flat) -> Problem

`DiffProgTasks.build` of one flat named tuple: `task`, `method`, and entries whose names begin with `config__` or `data__`.
"""
function case_problem(flat::NamedTuple)
    of(group) = (; (Symbol(chopprefix(string(name), group)) => flat[name] for name in keys(flat) if startswith(string(name), group))...)
    return DiffProgTasks.build(flat.task, flat.method, of("config__"), of("data__"))
end

"A derivation that is prepared when it is first asked for."
mutable struct Later
    operator::String
    engine::String
    derivation::Any
    Later(operator, engine) = new(operator, engine, nothing)
end

function Base.get!(later::Later, problem)
    later.derivation === nothing &&
        (later.derivation = DiffProgTasks.derivation(problem, later.operator, later.engine))
    return later.derivation
end

# Dual numbers

struct BridgeTag end

dual(x, ::Nothing) = x
dual(x::T, ẋ::Real) where {T<:Real} = Dual{BridgeTag}(x, convert(T, ẋ))
dual(x::Complex, ẋ::Number) = Complex(dual(real(x), real(ẋ)), dual(imag(x), imag(ẋ)))
dual(x::AbstractArray, ẋ::AbstractArray) = map(dual, x, ẋ)

tangent(y::Dual) = ForwardDiff.partials(y, 1)
tangent(y::Complex{<:Dual}) = Complex(tangent(real(y)), tangent(imag(y)))
tangent(y::Number) = zero(y)
tangent(y::AbstractArray) = map(tangent, y)
tangent(y::Tuple) = map(tangent, y)
tangent(::Union{Nothing,AbstractZero}) = nothing

real_if(::Union{Real,AbstractArray{<:Real}}, x̄) = x̄ isa Union{Number,AbstractArray{<:Number}} ? real(x̄) : x̄
real_if(_, x̄) = x̄

# What crosses

"y as a vector of arrays and numbers."
parts(y::Tuple) = Any[plain(part) for part in y]
parts(y) = Any[plain(y)]

plain(y::Array{<:Number}) = y
plain(y::AbstractArray{<:Number}) = Array(y)
plain(y::Number) = y
plain(y) = throw(ArgumentError("an array, a number or a tuple of them can cross, not a $(typeof(y))"))

differentiable(x) = eltype(x) <: Union{AbstractFloat,Complex{<:AbstractFloat}}

"The cotangents x̄ as plain numbers of the type and shape of x; `nothing` where x has none."
cotangents(x, x̄) = Any[differentiable(x) ? cotangent(x, x̄) : nothing for (x, x̄) in zip(x, x̄)]
cotangent(x, ::Union{Nothing,AbstractZero}) = zero(x)
cotangent(x, x̄) = plain(ProjectTo(x)(unthunk(x̄)))

include("calls.jl")
include("wire.jl")
include("entry.jl")
include("serve.jl")
include("given.jl")

end
