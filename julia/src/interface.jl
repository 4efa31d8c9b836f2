"A task with its inputs fixed, in precision `T`; it holds every buffer that its calls need."
abstract type Problem{T<:AbstractFloat} end

"""
    value(problem, θ) -> T

The loss at the parameters `θ`.
"""
function value end

"""
    gradient(problem, θ) -> (value, gradient::Vector{T})

The loss and its gradient, in the order of `θ`, by the problem's own engine.
"""
function gradient end

"""
    derivation(problem, operator, engine) -> Derivation

How `engine` ("zygote", "forwarddiff", "mooncake", "enzyme" or "yao") makes a derivative of the loss: the `operator` is
"gradient", "jvp" or "hvp". What can be prepared once is prepared here.

Throws `ArgumentError` with the reason where the engine has no such derivative, and `PackageMissing` where the engine's
package is not in the environment.
"""
function derivation end

"""
    derive(derivation, θ) -> (value, gradient::Vector{T})
    derive(derivation, θ, v) -> (value, derivative)

The loss with its gradient; or, along a direction `v`, with dL/dθ·v (a `T`) or d²L/dθ²·v (a `Vector{T}`).
"""
function derive end

"""
    objective(problem) -> (f, case)

The loss as engines can differentiate it: `f(θ, case)`, for θ of any real numbers. Throws `ArgumentError` for a method that
is a rule of its own for gradients.
"""
objective(method, _) = throw(
    ArgumentError("the method $(nameof(typeof(method))) is a rule of its own for gradients: engines have nothing to differentiate")
)

"""
    outputs(problem, θ) -> NamedTuple

Named arrays for pictures and further checks.
"""
function outputs end

"""
    work(problem, θ) -> NamedTuple

Counts of the work that one evaluation of the loss really does.
"""
function work end

"""
    made_with(problem) -> String

What it is made with: the packages that compute the value and differentiate it.
"""
function made_with end

"""
    nparameters(problem) -> Int

The length of `θ`.
"""
function nparameters end

const DTYPES = (
    float64 = Float64,
    float32 = Float32,
    complex128 = ComplexF64,
    complex64 = ComplexF32,
    int64 = Int64,
    int32 = Int32,
    bool = Bool,
)

"""
    wrap(T, address, dims...) -> Array{T}

The memory at `address` as an array, without a copy. `T` is a type or NumPy's name of one, such as `"float64"`.

The memory must be aligned for `T`, its owner must outlive the array, and the dimensions are in column-major order: those
of a C-ordered array reversed.
"""
wrap(::Type{T}, address::Integer, dims::Integer...) where {T} =
    unsafe_wrap(Array, Ptr{T}(UInt(address)), map(Int, dims))
wrap(dtype::AbstractString, address::Integer, dims::Integer...) = wrap(choose("dtype", dtype, DTYPES), address, dims...)

"""
    options(; kwargs...) -> NamedTuple

Keyword arguments as a named tuple, for callers whose language has none.
"""
options(; kwargs...) = (; kwargs...)

"""
    named(tuple) -> Dict{String,Any}

A named tuple as a dictionary, for callers whose language has no named tuples.
"""
named(tuple::NamedTuple) = Dict{String,Any}(string(name) => entry for (name, entry) in pairs(tuple))

"The entry `name` of `known`, or an `ArgumentError` with the names that there are."
function choose(kind::String, name::AbstractString, known::NamedTuple)
    key = Symbol(name)
    haskey(known, key) || throw(ArgumentError("no $kind \"$name\"; there are: $(join(keys(known), ", "))"))
    return known[key]
end

"`θ` as the `Vector{T}` that `problem` expects; not a copy if it is one. Never converts between precisions."
function parameters(problem::Problem{T}, θ::AbstractVector) where {T}
    eltype(θ) === T || throw(ArgumentError("the problem is in $T, but the parameters are $(eltype(θ))"))
    length(θ) == nparameters(problem) ||
        throw(DimensionMismatch("expected $(nparameters(problem)) parameters, got $(length(θ))"))
    return convert(Vector{T}, θ)
end
