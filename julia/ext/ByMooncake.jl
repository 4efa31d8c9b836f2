"""
Rules for Mooncake: the functions that have a ChainRules rule in this package keep it, and what the package says is not
differentiable is constant.

Reverse mode is the ChainRules rule. Forward mode, and forward mode over that rule as an hvp takes it, is the same code with
ForwardDiff's dual numbers, for which all of these functions have methods. So Mooncake never looks into LAPACK, KrylovKit
or Yao; everything else it differentiates itself.
"""
module ByMooncake

using ChainRulesCore: ChainRulesCore, unthunk
using DiffProgTasks.Models: Blocks, unpack
using DiffProgTasks: DiffProgTasks, Halves, HiddenField, activate!, as_duals, deactivate!, matmul
using ForwardDiff: Dual, partials, value
using Mooncake:
    @is_primitive,
    @zero_derivative,
    CoDual,
    FData,
    ForwardMode,
    MinimalCtx,
    Mooncake,
    NoRData,
    NoTangent,
    fdata,
    primal,
    tangent,
    zero_rdata,
    zero_tangent

# A field with hidden units, without its scratch: that is changed by every call, and its shadow, which Mooncake makes once,
# would not be.

"`activate!` that leaves z as it is: the activations s (h × B), and g (B,)."
function activated(act, z, b, c)
    s = copy(z)
    return s, activate!(act, s, b, c)
end

function ChainRulesCore.rrule(::typeof(activated), act, z, b, c)
    s, g = activated(act, z, b, c)
    none = ChainRulesCore.NoTangent()
    activated_pullback((s̄, ḡ)) = none, none, deactivate!(act, copy(s̄), ḡ, s, c)...
    return (s, g), activated_pullback
end

Mooncake.@mooncake_overlay function (field::HiddenField)(x)
    s, g = activated(field.act, matmul(field.W, x), field.b, field.c)
    return matmul(field.V, s), g
end

"Which arguments of a function its rule is about; all others are constants."
varying(::typeof(activated)) = (2, 3, 4)
varying(::typeof(matmul)) = (1, 2)
varying(::typeof(DiffProgTasks.energies)) = (1,)
varying(::typeof(DiffProgTasks.ground_state)) = (1,)
varying(::typeof(DiffProgTasks.chain_matrix)) = (1, 2)
varying(::typeof(DiffProgTasks.split)) = (1,)
varying(::typeof(DiffProgTasks.multiply)) = (1, 2)
varying(::typeof(DiffProgTasks.probabilities)) = (2,)
varying(::typeof(DiffProgTasks.product)) = (2,)
varying(::typeof(DiffProgTasks.payoff)) = (2, 3)
varying(::typeof(DiffProgTasks.circuit_energy)) = (2,)
varying(::typeof(DiffProgTasks.label_chances)) = (2,)
varying(::typeof(DiffProgTasks.combine)) = (1, 3)

const Anywhere = Union{
    typeof(DiffProgTasks.energies),
    typeof(DiffProgTasks.ground_state),
    typeof(DiffProgTasks.chain_matrix),
    typeof(DiffProgTasks.split),
    typeof(DiffProgTasks.multiply),
    typeof(DiffProgTasks.probabilities),
    typeof(DiffProgTasks.product),
    typeof(DiffProgTasks.payoff),
    typeof(DiffProgTasks.circuit_energy),
    typeof(DiffProgTasks.label_chances),
    typeof(DiffProgTasks.combine),
    typeof(activated),
}
const Ruled = Union{Anywhere,typeof(matmul)}

pick(f, arguments) = map(k -> arguments[k], varying(f))

@zero_derivative MinimalCtx Tuple{typeof(DiffProgTasks.bound),Any}
@zero_derivative MinimalCtx Tuple{typeof(DiffProgTasks.scales),Any}
@zero_derivative MinimalCtx Tuple{typeof(DiffProgTasks.mean_log),Any}
@zero_derivative MinimalCtx Tuple{typeof(DiffProgTasks.corners_in),Any,Any}
@zero_derivative MinimalCtx Tuple{typeof(DiffProgTasks.spins),Any,Any,Any}
@zero_derivative MinimalCtx Tuple{typeof(DiffProgTasks.unless_degenerate),Any,Any}

# Reverse mode

"A pullback. Where forward mode goes over it, it is one of dual numbers, and so holds its own derivative."
struct Kept
    pullback::Any
end

Mooncake.tangent_type(::Type{Kept}) = NoTangent
Mooncake.zero_tangent_internal(::Kept, ::Mooncake.MaybeCache) = NoTangent()

function with_pullback(f, arguments...)
    y, pullback = ChainRulesCore.rrule(f, arguments...)
    return y, Kept(pullback)
end

"The arrays of an argument's fdata, or of its cotangent in ChainRules."
arrays(x::Array) = (x,)
arrays(x::Tuple) = x
arrays(x::FData) = Tuple(x.data)
arrays(x::ChainRulesCore.Tangent) = Tuple(ChainRulesCore.backing(x))

cotangents(f, kept, ȳ) = map(arrays ∘ unthunk, pick(f, Base.tail(kept.pullback(ȳ))))

add!(sums::Tuple, terms::Tuple) = foreach((sum, term) -> sum .+= term, sums, terms)

"Adds the cotangents that belong to `ȳ` to x̄, the arrays of each argument that varies."
function pull!(x̄, f, kept::Kept, ȳ)
    foreach(add!, x̄, cotangents(f, kept, ȳ))
    return nothing
end

@is_primitive MinimalCtx Tuple{Anywhere,Vararg}
@is_primitive MinimalCtx Tuple{typeof(matmul),Array,Array}

function Mooncake.rrule!!(f::CoDual{<:Ruled}, arguments::Vararg{CoDual,N}) where {N}
    y, kept = with_pullback(primal(f), map(primal, arguments)...)
    ȳ = zero_tangent(y)
    function back(::NoRData)
        pull!(map(x -> arrays(tangent(x)), pick(primal(f), arguments)), primal(f), kept, ȳ)
        return NoRData(), map(x -> zero_rdata(primal(x)), arguments)...
    end
    return CoDual(y, ȳ), back
end

# Forward mode

"ForwardDiff's tag of the one direction that there is."
struct Along end

"x as dual numbers along ẋ."
lift(x::Array{T}, ẋ::Array{T}) where {T} = as_duals(Dual{Along,T,1}, x, (ẋ,))
lift(x::Tuple, ẋ::Tuple) = map(lift, x, ẋ)
lift(H::Halves, Ḣ) = Halves(lift(H.low, Ḣ.fields.low), lift(H.high, Ḣ.fields.high), lift(H.edge, Ḣ.fields.edge))

lifted(f, arguments::NTuple{N,Any}) where {N} =
    ntuple(k -> k in varying(f) ? lift(primal(arguments[k]), tangent(arguments[k])) : primal(arguments[k]), Val(N))

values_of(x::Array{<:Dual}) = value.(x)
values_of(x::Tuple) = map(values_of, x)
slopes_of(x::Array{<:Dual}) = partials.(x, 1)
slopes_of(x::Tuple) = map(slopes_of, x)

function Mooncake.frule!!(f::Mooncake.Dual{<:Ruled}, arguments::Vararg{Mooncake.Dual,N}) where {N}
    y = primal(f)(lifted(primal(f), arguments)...)
    return Mooncake.Dual(values_of(y), slopes_of(y))
end

# Forward mode over reverse mode

@is_primitive MinimalCtx ForwardMode Tuple{typeof(with_pullback),Ruled,Vararg}
@is_primitive MinimalCtx ForwardMode Tuple{typeof(pull!),Tuple,Ruled,Kept,Any}

function Mooncake.frule!!(
    ::Mooncake.Dual{typeof(with_pullback)}, f::Mooncake.Dual{<:Ruled}, arguments::Vararg{Mooncake.Dual,N}
) where {N}
    y, kept = with_pullback(primal(f), lifted(primal(f), arguments)...)
    return Mooncake.Dual((values_of(y), kept), (slopes_of(y), NoTangent()))
end

function Mooncake.frule!!(
    ::Mooncake.Dual{typeof(pull!)},
    x̄::Mooncake.Dual{<:Tuple},
    f::Mooncake.Dual{<:Ruled},
    kept::Mooncake.Dual{Kept},
    ȳ::Mooncake.Dual,
)
    terms = cotangents(primal(f), primal(kept), lift(primal(ȳ), tangent(ȳ)))
    foreach(add!, primal(x̄), map(values_of, terms))
    foreach(add!, tangent(x̄), map(slopes_of, terms))
    return Mooncake.Dual(nothing, NoTangent())
end

# What only moves entries. Where each came from is found by moving their numbers, 1, 2, …, in the same way.

const Moves = Union{typeof(DiffProgTasks.legs),typeof(DiffProgTasks.matrices),typeof(DiffProgTasks.corner)}

origins(move, x, how...) = move(reshape(collect(eachindex(x)), size(x)), how...)

"x̄[origins] += ȳ"
function put_back!(x̄, ȳ, origins)
    for (i, k) in pairs(IndexLinear(), origins)
        x̄[k] += ȳ[i]
    end
    return nothing
end

@is_primitive MinimalCtx Tuple{Moves,Array{<:Base.IEEEFloat},Vararg}
@is_primitive MinimalCtx ForwardMode Tuple{typeof(put_back!),Array,Array,Array{Int}}
@zero_derivative MinimalCtx Tuple{typeof(origins),Any,Any,Vararg} ForwardMode

function Mooncake.rrule!!(move::CoDual{<:Moves}, x::CoDual{<:Array{<:Base.IEEEFloat}}, how::Vararg{CoDual,N}) where {N}
    parameters = map(primal, how)
    y = primal(move)(primal(x), parameters...)
    ȳ = zero_tangent(y)
    function back(::NoRData)
        put_back!(tangent(x), ȳ, origins(primal(move), primal(x), parameters...))
        return NoRData(), NoRData(), map(x -> zero_rdata(primal(x)), how)...
    end
    return CoDual(y, ȳ), back
end

function Mooncake.frule!!(
    move::Mooncake.Dual{<:Moves}, x::Mooncake.Dual{<:Array{<:Base.IEEEFloat}}, how::Vararg{Mooncake.Dual,N}
) where {N}
    moved(array) = primal(move)(array, map(primal, how)...)
    return Mooncake.Dual(moved(primal(x)), moved(tangent(x)))
end

function Mooncake.frule!!(
    put_back!::Mooncake.Dual{typeof(put_back!)},
    x̄::Mooncake.Dual{<:Array},
    ȳ::Mooncake.Dual{<:Array},
    origins::Mooncake.Dual{Array{Int,N}},
) where {N}
    primal(put_back!)(primal(x̄), primal(ȳ), primal(origins))
    primal(put_back!)(tangent(x̄), tangent(ȳ), primal(origins))
    return Mooncake.Dual(nothing, NoTangent())
end

# The parameters of a user's model, which lie on the memory of θ. So do their tangents, but for those of numbers.

@is_primitive MinimalCtx Tuple{typeof(unpack),Vector{<:Base.IEEEFloat},Blocks}

function Mooncake.rrule!!(
    ::CoDual{typeof(unpack)}, θ::CoDual{<:Vector{<:Base.IEEEFloat}}, blocks::CoDual{<:Blocks}
)
    within = primal(blocks)
    function back(ȳ)
        add_numbers!(tangent(θ), ȳ, within)
        return NoRData(), NoRData(), zero_rdata(within)
    end
    return CoDual(unpack(primal(θ), within), fdata(unpack(tangent(θ), within))), back
end

add_numbers!(θ̄, ::NoRData, blocks) = nothing
function add_numbers!(θ̄, ȳ::NamedTuple, blocks)
    for (start, x̄) in zip(blocks.starts, values(ȳ))
        add_number!(θ̄, x̄, start)
    end
    return nothing
end
add_number!(θ̄, ::NoRData, start) = nothing
add_number!(θ̄, x̄, start) = (θ̄[start] += x̄; nothing)

Mooncake.frule!!(
    ::Mooncake.Dual{typeof(unpack)}, θ::Mooncake.Dual{<:Vector{<:Base.IEEEFloat}}, blocks::Mooncake.Dual{<:Blocks}
) = Mooncake.Dual(unpack(primal(θ), primal(blocks)), unpack(tangent(θ), primal(blocks)))

# The note of a loss. Reverse mode takes back what a function has written, but a note is to stay.

const Note = typeof(DiffProgTasks.note!)

@is_primitive MinimalCtx Tuple{Note,Base.RefValue{T},T} where {T<:Base.IEEEFloat}

function Mooncake.rrule!!(note!::CoDual{Note}, last::CoDual{Base.RefValue{T}}, loss::CoDual{T}) where {T<:Base.IEEEFloat}
    noted = primal(note!)(primal(last), primal(loss))
    back(ȳ) = NoRData(), NoRData(), ȳ
    return CoDual(noted, tangent(loss)), back
end

Mooncake.frule!!(
    note!::Mooncake.Dual{Note}, last::Mooncake.Dual{Base.RefValue{T}}, loss::Mooncake.Dual{T}
) where {T<:Base.IEEEFloat} = Mooncake.Dual(primal(note!)(primal(last), primal(loss)), tangent(loss))

end
