# Requests from another process.

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
