# Requests from this process.

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
