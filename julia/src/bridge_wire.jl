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

# From this process

const HERE = Table()
"Words of a reply before those that describe its arrays."
const REPLY = 5
"Words of the reply's header at most; what is small enough follows it, so that it need not be kept for the caller."
const HEADER = 512
const INLINE = 4096

"""
    entry(request, reply) -> Cint

Answers the request at `request`, whose first word is the number of the words that follow; `reply` has room for
HEADER words and 8 × INLINE bytes. The arrays of a request must outlive what is kept of it.
"""
function entry(request::Ptr{Int64}, reply::Ptr{Int64})::Cint
    try
        status, key, results = settle!(HERE, Reader(request + sizeof(Int64)), Ptr{UInt8}(0), true)
        words = description_length(results)
        if REPLY + words > HEADER
            release!(HERE, key)
            return 1
        end
        place = reply
        for word in (unsafe_load(request, 3), Int(status), key, length(results), words)
            place = write!(place, word)
        end
        offset = 8HEADER
        for x in results
            place, offset = reply!(place, reply, offset, x)::Tuple{Ptr{Int64},Int}
        end
        return 0
    catch # an exception must not leave this way: it would skip the caller's code
        return 2
    end
end

"Writes one result, behind the others if it is small; where Julia has it otherwise, and it is lent."
function reply!(place::Ptr{Int64}, reply::Ptr{Int64}, offset::Int, x)::Tuple{Ptr{Int64},Int}
    if sizeof(x) > INLINE || offset + stored_bytes(x) > 8HEADER + 8INLINE
        return describe!(place, x, Int(pointer(x)), lend!(HERE, x)), offset
    end
    store!(Ptr{UInt8}(reply) + offset, x)
    return describe!(place, x, offset, 0), offset + cld(stored_bytes(x), 16) * 16
end

"The address of `entry` as a C function, an integer."
entry_address() = Int(@cfunction(entry, Cint, (Ptr{Int64}, Ptr{Int64})))

# From another process

"Shared memory that one side writes and the other reads; a file that the caller makes, and makes grow."
mutable struct Arena
    file::IOStream
    memory::Vector{UInt8}
end

Arena(path::AbstractString) = Arena(open(path, "r+"))
Arena(file::IOStream) = Arena(file, map_file(file, filesize(file)))
map_file(file, bytes) = Mmap.mmap(file, Vector{UInt8}, (bytes,); grow = false, shared = true)
Base.pointer(arena::Arena) = pointer(arena.memory)

"Sees what has been added to it."
follow!(arena::Arena, bytes) = bytes > length(arena.memory) && (arena.memory = map_file(arena.file, bytes))

aligned(bytes) = cld(bytes, 64) * 64

"What a request came to: its status, a key, and results."
const Outcome = Tuple{Status,Int,Vector{Any}}

"""
    serve(requests, replies; input, output)

Answers requests from the file descriptor `input` on `output` until it ends: each is the number of its words, then these.
`requests` and `replies` are the paths of the arenas. SIGINT interrupts the call under way; one that comes too late interrupts
the next.
"""
function serve(requests::AbstractString, replies::AbstractString; input::Integer, output::Integer)
    Base.exit_on_sigint(false)
    table, arenas = Table(), [Arena(requests), Arena(replies)]
    waiting::Union{Nothing,Outcome} = nothing
    disable_sigint() do
        while true
            words = read_words(input)
            words === nothing && return nothing
            if What(words[3]) === MEMORY
                outcome = something(remember!(arenas, words), waiting, (OK, 0, Any[]))
            else
                waiting === nothing || release!(table, waiting[2]) # the caller has given up on it
                outcome = answered!(table, words, arenas[1])
            end
            bell, waiting = write_reply!(arenas[2], words[2], outcome)
            GC.@preserve bell write_all(output, Ptr{UInt8}(pointer(bell)), sizeof(bell))
        end
    end
end

function answered!(table::Table, words::Vector{Int64}, arena::Arena)::Outcome
    follow!(arena, words[1])
    return GC.@preserve words settle!(table, Reader(pointer(words)), pointer(arena), false)
end

"Opens or maps an arena again, as the request MEMORY tells; returns the outcome of what fails."
function remember!(arenas, words)::Union{Nothing,Outcome}
    side, bytes, length_of_path = words[5] + 1, words[4], words[8]
    path = String(reinterpret(UInt8, words[9:end])[1:length_of_path])
    try
        isempty(path) ? follow!(arenas[side], bytes) : (arenas[side] = Arena(path))
        return nothing
    catch error
        return REFUSED, 0, told(error, catch_backtrace())
    end
end

"The words of the next request; nothing where there are no more."
function read_words(input)
    count = Int64[0]
    GC.@preserve count read_all!(input, Ptr{UInt8}(pointer(count)), 8) || return nothing
    words = Vector{Int64}(undef, only(count))
    GC.@preserve words read_all!(input, Ptr{UInt8}(pointer(words)), sizeof(words)) || return nothing
    return words
end

"""
Writes what describes the results and these into the arena of replies. Returns the words that go through the pipe, and the
outcome if there is no room for it: it waits.
"""
function write_reply!(arena::Arena, identity, outcome::Outcome)
    status, key, results = outcome
    words = description_length(results)
    offset = aligned(8words)
    bytes = offset + sum(x -> aligned(stored_bytes(x)), results; init = 0)
    bytes > length(arena.memory) && return Int64[identity, Int(NO_ROOM), bytes, 0, 0], outcome
    place = Ptr{Int64}(pointer(arena))
    for x in results
        store!(pointer(arena) + offset, x)
        place = describe!(place, x, offset, 0)
        offset += aligned(stored_bytes(x))
    end
    return Int64[identity, Int(status), key, length(results), words], nothing
end

# The system's own calls block the process and wake it in microseconds; the event loop's streams take ten times as long.

function read_all!(fd, place::Ptr{UInt8}, bytes)
    while bytes > 0
        got = blocking(() -> ccall(:read, Cssize_t, (Cint, Ptr{UInt8}, Csize_t), fd, place, bytes))
        got > 0 || return false
        place += got
        bytes -= got
    end
    return true
end

function write_all(fd, place::Ptr{UInt8}, bytes)
    while bytes > 0
        put = blocking(() -> ccall(:write, Cssize_t, (Cint, Ptr{UInt8}, Csize_t), fd, place, bytes))
        put > 0 || error("the caller does not read any more")
        place += put
        bytes -= put
    end
    return nothing
end

"A system call during which other threads may collect garbage."
function blocking(call)
    while true
        state = ccall(:jl_gc_safe_enter, Int8, ())
        result = call()
        ccall(:jl_gc_safe_leave, Cvoid, (Int8,), state)
        result < 0 && Base.Libc.errno() == Base.Libc.EINTR && continue
        return result
    end
end
