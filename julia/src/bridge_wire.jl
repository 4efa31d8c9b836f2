# How calls cross: a request and a reply are vectors of Int64, and arrays are named in them by where their memory is.
#
# Request: bytes of the caller's arena, what, key, number, count of released keys, these keys, count of arrays, arrays.
# Reply: bytes of the arena of replies, status, key, count of arrays, arrays.
# An array: dtype (an index of TYPES; 0: none), number of dimensions, dimensions as in C, where; and in a reply the key to
# release when it is no longer in use, 0 if it is the caller's to copy.
#
# `entry` is called in this process: `where` is an address. `serve` is called from another one, with an arena of shared memory for
# either direction: `where` is an offset there. Texts cross as arrays of UInt8.

const TYPES = (Float64, Float32, ComplexF64, ComplexF32, Int64, Int32, UInt8, Bool)

@enum Status OK = 0 FAILED = 1 INTERRUPTED = 2 REFUSED = 3
@enum What LOAD = 0 CALL = 1 FORWARD = 2 PULLBACK = 3 PUSHFORWARD = 4 SECOND = 5 TIME = 6 NOTHING = 7

"Reads a request word by word."
mutable struct Reader{V}
    words::V
    at::Int
end

next!(reader::Reader) = reader.words[reader.at += 1]

"The array that comes next, on the memory that it is in; a number where it has no dimensions; or nothing."
function next_array!(reader::Reader, base::Ptr{UInt8})
    type = next!(reader)
    type == 0 && return nothing
    dims = ntuple(_ -> next!(reader), next!(reader))
    place = base + next!(reader)
    return wrapped(TYPES[type], place, reverse(dims))
end

function wrapped(::Type{T}, place, dims) where {T}
    isempty(dims) && return unsafe_load(Ptr{T}(place))
    any(iszero, dims) && return Array{T}(undef, dims)
    return unsafe_wrap(Array, Ptr{T}(place), dims)
end

"""
What a request asks for: its results and a key. `own`: the memory of its arrays is there for as long as what is kept of it.
"""
function answer!(table::Table, words, base::Ptr{UInt8}, own::Bool)
    reader = Reader(words, 1)
    what, key, number = What(next!(reader)), next!(reader), next!(reader)
    for _ in 1:next!(reader)
        release!(table, next!(reader))
    end
    x = Any[next_array!(reader, base) for _ in 1:next!(reader)]
    what === CALL && return unaliased(primal(table, key, x), x), 0
    if what === FORWARD
        own || (x = map(copied, x))
        results, key = forward(table, key, x)
        return unaliased(results, x), key
    end
    what === PULLBACK && return unaliased(pullback(table, key, x), x), 0
    what === PUSHFORWARD && return pushforward(table, key, x[1:number], x[(number + 1):end]), 0
    what === SECOND &&
        return second(table, key, x[1:number], x[(number + 1):(2number)], x[(2number + 1):end]), 0
    what === LOAD && return Any[], load!(table, String(copy(x[1])), named(String(copy(x[2])), x[3:end]))
    what === TIME && return Any[time_calls(table, key, x, abs(number), number < 0)], 0
    return Any[], length(table.kept) + length(table.lent) # NOTHING, but to see what is held
end

copied(x::Array) = copy(x)
copied(x) = x

"The results, with a copy of each that is an argument handed through: its memory is another's."
unaliased(results, x) = Any[any(x -> x isa Array && y isa Array && pointer(x) == pointer(y), x) ? copy(y) : y for y in results]

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
function settle!(table::Table, words, base::Ptr{UInt8}, own::Bool)
    try
        results, key = interruptible(() -> answer!(table, words, base, own), own)
        return OK, key, map(storable, results)
    catch error
        error isa InterruptException && return INTERRUPTED, 0, Any[]
        texts = (nameof(typeof(error)), sprint(showerror, error), sprint(Base.show_backtrace, catch_backtrace()))
        return error isa Refusal ? REFUSED : FAILED, 0, Any[Vector{UInt8}(first(string(text), 6000)) for text in texts]
    end
end

interruptible(call, own) = own ? call() : reenable_sigint(call)

type_code(x) = something(findfirst(==(eltype(x)), TYPES), 0)
"Numbers of other types than TYPES cross as the nearest of these."
storable(x::AbstractArray) = type_code(x) == 0 ? convert(Array{nearest(eltype(x))}, x) : x
storable(x::Number) = type_code(x) == 0 ? convert(nearest(typeof(x)), x) : x
storable(::Nothing) = nothing
nearest(::Type{<:Integer}) = Int64
nearest(::Type{<:Real}) = Float64
nearest(::Type{<:Complex}) = ComplexF64

"Appends the words that describe `x`, which lies at `place`."
function describe!(words, x, place, key)
    x === nothing && return append!(words, (0, 0, 0, 0))
    append!(words, (type_code(x), ndims(x)))
    append!(words, reverse(size(x)))
    return append!(words, (place, key))
end

store!(place::Ptr{UInt8}, x::Number) = unsafe_store!(Ptr{typeof(x)}(place), x)
store!(place::Ptr{UInt8}, x::Array) = GC.@preserve x unsafe_copyto!(place, Ptr{UInt8}(pointer(x)), sizeof(x))

# From this process

const HERE = Table()
"Words of the reply's header at most; what is small enough follows it, so that it need not be kept for the caller."
const HEADER = 512
const INLINE = 4096
const SPENT = Int64[]

"""
    entry(request, reply) -> Cint

Answers the request at `request`, whose first word is the number of the words that follow; `reply` has room for
HEADER words and 8 × INLINE bytes. The arrays of a request must outlive what is kept of it.
"""
function entry(request::Ptr{Int64}, reply::Ptr{Int64})::Cint
    words = unsafe_wrap(Array, request + 8, unsafe_load(request))
    status, key, results = settle!(HERE, words, Ptr{UInt8}(0), true)
    told = sizehint!(Int64[0, Int(status), key, length(results)], 32)
    offset = 8HEADER
    for x in results
        if x === nothing || sizeof(x) <= INLINE && offset + sizeof(x) <= 8HEADER + 8INLINE
            x === nothing || store!(Ptr{UInt8}(reply) + offset, x)
            describe!(told, x, offset, 0)
            x === nothing || (offset += cld(sizeof(x), 16) * 16)
        else
            describe!(told, x, Int(pointer(x)), put!(HERE.lent, HERE, x))
        end
    end
    length(told) <= HEADER || return 1
    GC.@preserve told unsafe_copyto!(reply, pointer(told), length(told))
    return 0
end

"The address of `entry` as a C function, an integer."
entry_address() = Int(@cfunction(entry, Cint, (Ptr{Int64}, Ptr{Int64})))

# From another process

"Shared memory that one side writes and the other reads; a file that only grows."
mutable struct Arena
    file::IOStream
    memory::Vector{UInt8}
end

Arena(path::AbstractString) = Arena(open(path, "r+"))
Arena(file::IOStream) = Arena(file, map_file(file, filesize(file)))
map_file(file, bytes) = Mmap.mmap(file, Vector{UInt8}, (bytes,); grow = false, shared = true)
Base.pointer(arena::Arena) = pointer(arena.memory)

"Sees what the other side has added."
follow!(arena::Arena, bytes) = bytes > length(arena.memory) && (arena.memory = map_file(arena.file, bytes))

function grow!(arena::Arena, bytes)
    bytes > length(arena.memory) || return nothing
    bytes = max(bytes, 2length(arena.memory))
    # Memory that is promised and not there would kill the process that touches it.
    failed = Sys.islinux() ? ccall(:posix_fallocate, Cint, (Cint, Int64, Int64), fd(arena.file), 0, bytes) : 0
    failed == 0 || throw(Refusal("no shared memory is left for $bytes bytes of results"))
    Sys.islinux() || truncate(arena.file, bytes)
    arena.memory = map_file(arena.file, bytes)
    return nothing
end

aligned(bytes) = cld(bytes, 64) * 64

"""
    serve(requests, replies; input, output)

Answers requests from the file descriptor `input` on `output` until it ends: each is the number of its words, then these.
`requests` and `replies` are the paths of the arenas. SIGINT interrupts the call under way; one that comes too late interrupts
the next.
"""
function serve(requests::AbstractString, replies::AbstractString; input::Integer, output::Integer)
    Base.exit_on_sigint(false)
    table, from, into = Table(), Arena(requests), Arena(replies)
    disable_sigint() do
        while true
            words = read_words(input)
            words === nothing && return nothing
            follow!(from, words[1])
            status, key, results = settle!(table, words, pointer(from), false)
            reply = write_reply!(into, status, key, results)
            GC.@preserve reply write_all(output, Ptr{UInt8}(pointer(reply)), sizeof(reply))
        end
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

function write_reply!(arena::Arena, status, key, results)
    try
        grow!(arena, sum(x -> x === nothing ? 0 : aligned(sizeof(x)), results; init = 0))
    catch error
        return write_reply!(arena, REFUSED, 0, Any[Vector{UInt8}(text) for text in ("Refusal", sprint(showerror, error), "")])
    end
    reply = Int64[0, length(arena.memory), Int(status), key, length(results)]
    offset = 0
    for x in results
        x === nothing || store!(pointer(arena) + offset, x)
        describe!(reply, x, offset, 0)
        x === nothing || (offset += aligned(sizeof(x)))
    end
    reply[1] = length(reply) - 1
    return reply
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
