# The flat θ and the named arrays that it is made of.

"Where each of the parameters `names` is within θ, and its shape. They lie one after another, in column-major order."
struct Blocks{names,S<:Tuple}
    shapes::S
    "The indices of the first elements, and one beyond the last of all."
    starts::Vector{Int}
end

Blocks(shapes::NamedTuple{names}) where {names} =
    Blocks{names,typeof(values(shapes))}(values(shapes), cumsum([1; Int[prod(shape) for shape in shapes]]))

Base.length(blocks::Blocks) = last(blocks.starts) - 1

"""
    unpack(θ, blocks) -> NamedTuple

The parameters by name, of any numbers: arrays on the memory of θ, and numbers.
"""
@generated function unpack(θ::AbstractVector, blocks::Blocks{names}) where {names}
    parts = [:(block(θ, blocks.starts[$k], blocks.shapes[$k])) for k in eachindex(names)]
    return :(NamedTuple{names}(($(parts...),)))
end

block(θ::AbstractVector, start, ::Tuple{}) = θ[start]
block(θ::AbstractVector, start, shape) = reshape(view(θ, start:(start + prod(shape) - 1)), shape)

# An array where Julia can make one on memory that it shares, from 1.11 on: for a view first calls would compile for twice as
# long, since nothing is compiled for it in advance; and a user's signature may well say Matrix.
@static if isdefined(Base, :memoryref) && isdefined(Base, :wrap)
    block(θ::Vector, start, shape::Tuple{Int,Vararg{Int}}) = Base.wrap(Array, memoryref(θ.ref, start), shape)
end

# One vector for all blocks: Zygote would make one for each.
function ChainRulesCore.rrule(::typeof(unpack), θ::AbstractVector, blocks::Blocks)
    unpack_pullback(Δ) = NoTangent(), packed(θ, blocks, unthunk(Δ)), NoTangent()
    return unpack(θ, blocks), unpack_pullback
end

"The cotangents of all blocks as one of θ, in its numbers."
@generated function packed(θ, blocks::Blocks{names}, Δ) where {names}
    parts = map(enumerate(names)) do (k, name)
        :(pack!(view(θ̄, blocks.starts[$k]:(blocks.starts[$(k + 1)] - 1)), unthunk(getproperty(Δ, $(QuoteNode(name))))))
    end
    return quote
        θ̄ = similar(θ)
        $(parts...)
        return θ̄
    end
end

pack!(to, ::Union{Nothing,AbstractZero}) = fill!(to, 0) # of what the loss does not depend on
pack!(to, x̄::Number) = fill!(to, real(x̄))
function pack!(to, x̄::AbstractArray)
    length(x̄) == length(to) || throw(DimensionMismatch("a cotangent of $(length(x̄)) numbers for a block of $(length(to))"))
    return to .= real.(vec(x̄)) # of what has been through complex numbers, a complex one
end
