# How calls cross: a request and a reply are vectors of Int64, and arrays are named in them by where their memory is.
#
# Request: bytes of the caller's arena, identity, what, key, number, count of released keys, these keys, count of arrays, arrays.
# Reply: identity of the request, status, key, count of arrays, count of the words that describe them, these words.
# An identity is no other request's. The caller may have given up on an earlier one: it knows its own reply by that.
# An array: dtype (an index of TYPES), number of dimensions, dimensions as in C, where; and in a reply the key to
# release when it is no longer in use, 0 if it is the caller's to copy. A Float64 alone may be in the message: NUMBER, its bits.
# Nothing: 0.
#
# `entry` is called in this process: `where` is an address. `serve` is called from another one, with an arena of shared memory for
# either direction: `where` is an offset there. The first five words of its reply go through a pipe, as a whole; the others begin the arena
# of replies. Both arenas are made by the caller. Texts cross as arrays of UInt8.

const TYPES = (Float64, Float32, ComplexF64, ComplexF32, Int64, Int32, UInt8, Bool)
const NUMBER = length(TYPES) + 1

# NO_ROOM: `key` bytes of replies are needed. The reply waits until MEMORY tells of them, and is dropped by any other request.
# MEMORY: the arena of requests (`number` 0) or replies (1) has `key` bytes from now on; its path stands behind the arrays, as a count of bytes and
# these, where it is another file.
@enum Status OK = 0 FAILED = 1 INTERRUPTED = 2 REFUSED = 3 NO_ROOM = 4 GONE = 5
@enum What LOAD = 0 CALL = 1 FORWARD = 2 PULLBACK = 3 PUSHFORWARD = 4 SECOND = 5 TIME = 6 NOTHING = 7 MEMORY = 8

"Reads a request word by word; it is in memory that the caller keeps."
mutable struct Reader
    place::Ptr{Int64}
end

function next!(reader::Reader)
    word = unsafe_load(reader.place)
    reader.place += sizeof(Int64)
    return word
end

"The array that comes next, on the memory that it is in; a number where it has no dimensions; or nothing."
function next_array!(reader::Reader, base::Ptr{UInt8})
    code = next!(reader)
    code == 0 && return nothing
    code == NUMBER && return reinterpret(Float64, next!(reader))
    code == 1 && return next_array!(Float64, reader, base) # known to the compiler: most are
    return next_array!(TYPES[code], reader, base)
end

function next_array!(::Type{T}, reader::Reader, base) where {T}
    n = next!(reader)
    n == 0 && return unsafe_load(Ptr{T}(base + next!(reader)))
    if n == 1
        extent = next!(reader)
        return wrapped(T, base + next!(reader), (extent,))
    end
    dims = ntuple(_ -> next!(reader), n)
    return wrapped(T, base + next!(reader), reverse(dims))
end

function wrapped(::Type{T}, place, dims) where {T}
    any(iszero, dims) && return Array{T}(undef, dims)
    return unsafe_wrap(Array, Ptr{T}(place), dims)
end

"""
What a request asks for: its results and a key. `own`: the memory of its arrays is there for as long as what is kept of it.
"""
function answer!(table::Table, reader::Reader, base::Ptr{UInt8}, own::Bool)
    next!(reader) # the arena's size, which is seen to
    identity, what, key, number = next!(reader), What(next!(reader)), next!(reader), next!(reader)
    for _ in 1:next!(reader)
        release!(table, next!(reader))
    end
    x = Any[next_array!(reader, base) for _ in 1:next!(reader)]
    what === CALL && return unaliased(primal(table, key, x), x), 0
    if what === FORWARD
        own || map!(copied, x, x)
        results, key = forward(table, identity, key, x)
        return unaliased(results, x), key
    end
    what === PULLBACK && return unaliased(pullback(table, key, x), x), 0
    what === PUSHFORWARD && return pushforward(table, key, x[1:number], x[(number + 1):end]), 0
    what === SECOND &&
        return second(table, key, x[1:number], x[(number + 1):(2number)], x[(2number + 1):end]), 0
    what === LOAD && return Any[], load!(table, identity, String(copy(x[1])), named(String(copy(x[2])), x[3:end]))
    what === TIME && return Any[time_calls(table, key, x, abs(number), number < 0)], 0
    return Any[], length(table.kept) + length(table.lent) # NOTHING, but to see what is held
end

copied(x::Array) = copy(x)
copied(x) = x

"The results, with a copy of each that is an argument handed through: its memory is another's."
function unaliased(results::Vector{Any}, x::Vector{Any})
    for (k, y) in enumerate(results)
        y isa Array && any(x -> x isa Array && pointer(x) == pointer(y), x) && (results[k] = copy(y))
    end
    return results
end

"The data of a function: `names` a line each, those of texts behind a `:`."
function named(names::String, values)
    isempty(names) && return (;)
    pairs = map(split(names, '\n'), values) do name, value
        is_text = startswith(name, ':')
        Symbol(chopprefix(name, ":")) => is_text ? String(copy(value)) : copied(value)
    end
    return (; pairs...)
end

"The status, the key and the results of a request, whatever happens."
function settle!(table::Table, reader::Reader, base::Ptr{UInt8}, own::Bool)::Tuple{Status,Int,Vector{Any}}
    identity = unsafe_load(reader.place, 2)
    try
        results, key = own ? answer!(table, reader, base, own) : reenable_sigint(() -> answer!(table, reader, base, own))
        return OK, key, map!(storable, results, results)
    catch error
        delete!(table.kept, identity) # it was interrupted, or failed, when it had kept it already
        error isa InterruptException && return INTERRUPTED, 0, Any[]
        status = error isa Refusal ? REFUSED : error isa Gone ? GONE : FAILED
        return status, 0, told(error, catch_backtrace())
    end
end

"The type, the message and the backtrace of an exception; how to show it may be the user's, and fail as well."
function told(error, backtrace)
    parts = (
        () -> string(nameof(typeof(error))),
        () -> sprint(showerror, error),
        () -> sprint(Base.show_backtrace, backtrace),
    )
    return Any[Vector{UInt8}(first(shown(part), 6000)) for part in parts]
end

shown(part) =
    try
        Base.invokelatest(part)::String
    catch
        "it cannot be shown"
    end

type_code(_) = 0
for (code, T) in enumerate(TYPES)
    @eval type_code(::Union{$T,AbstractArray{$T}}) = $code
end
"Numbers of other types than TYPES cross as the nearest of these."
storable(x::AbstractArray) = type_code(x) == 0 ? convert(Array{nearest(eltype(x))}, x) : x
storable(x::Number) = type_code(x) == 0 ? convert(nearest(typeof(x)), x) : x
storable(::Nothing) = nothing
nearest(::Type{<:Integer}) = Int64
nearest(::Type{<:Real}) = Float64
nearest(::Type{<:Complex}) = ComplexF64

"How many words describe `x`, or all of them."
description_length(::Nothing) = 1
description_length(::Float64) = 2
description_length(x) = 4 + ndims(x)
description_length(results::Vector{Any}) = sum(x -> description_length(x)::Int, results; init = 0)

"Writes the words that describe `x`, which lies at `where`; returns the place behind them."
describe!(place::Ptr{Int64}, ::Nothing, where, key) = write!(place, 0)
describe!(place::Ptr{Int64}, x::Float64, where, key) = write!(write!(place, NUMBER), reinterpret(Int64, x))
function describe!(place::Ptr{Int64}, x, where, key)
    place = write!(write!(place, type_code(x)), ndims(x))
    for extent in reverse(size(x))
        place = write!(place, extent)
    end
    return write!(write!(place, where), key)
end

function write!(place::Ptr{Int64}, word)
    unsafe_store!(place, word)
    return place + sizeof(Int64)
end

"How many bytes of memory a result takes beside its description."
stored_bytes(::Union{Nothing,Float64}) = 0
stored_bytes(x) = sizeof(x)

store!(::Ptr{UInt8}, ::Union{Nothing,Float64}) = nothing
store!(place::Ptr{UInt8}, x::Number) = unsafe_store!(Ptr{typeof(x)}(place), x)
store!(place::Ptr{UInt8}, x::Array) = GC.@preserve x unsafe_copyto!(place, Ptr{UInt8}(pointer(x)), sizeof(x))
