using ChainRulesCore: ChainRulesCore, NoTangent
using DiffProgTasks.Bridge: Bridge, Operation, forwarddiff, forwarddiff_over_zygote, scalar_task, zygote

# A caller in this process: what Python does, by hand.

"The words that describe an array in this process's memory."
function described(x)
    x === nothing && return Int64[0]
    code = findfirst(==(eltype(x)), Bridge.TYPES)
    return Int64[code; ndims(x); reverse(size(x))...; Int(pointer(x))]
end

const identities = Ref(0)

"One request to `entry`; the status, the key and the results, copied."
function ask(what, key = 0, arrays = (); number = 0, released = Int64[])
    words = Int64[0, identities[] += 1, Int(what), key, number, length(released), released..., length(arrays)]
    foreach(x -> append!(words, described(x)), arrays)
    request, reply = Int64[length(words); words], zeros(Int64, Bridge.HEADER + Bridge.INLINE)
    GC.@preserve arrays request reply begin
        @test Bridge.entry(pointer(request), pointer(reply)) == 0
        @test reply[1] == identities[] # it is the reply to this request
        at, results = 5, Any[]
        for _ in 1:reply[4]
            code = reply[at += 1]
            code == 0 && (push!(results, nothing); continue)
            code == Bridge.NUMBER && (push!(results, fill(reinterpret(Float64, reply[at += 1]))); continue)
            dims = reply[at + 1]
            shape = Tuple(reverse(reply[(at + 2):(at + 1 + dims)]))
            place, lent = reply[at + 2 + dims], reply[at + 3 + dims]
            at += 3 + dims
            from = lent == 0 ? Ptr{UInt8}(pointer(reply)) + place : Ptr{UInt8}(place)
            array = Array{Bridge.TYPES[code]}(undef, shape)
            GC.@preserve array unsafe_copyto!(Ptr{UInt8}(pointer(array)), from, sizeof(array))
            push!(results, array)
            lent == 0 || Bridge.release!(Bridge.HERE, lent)
        end
        return Bridge.Status(reply[2]), reply[3], results
    end
end

text(string) = Vector{UInt8}(string)
loaded(code) = (answer = ask(Bridge.LOAD, 0, (text(code), text(""))); @test answer[1] === Bridge.OK; answer[2])

@testset "value, pullback, pushforward and second order" begin
    key = loaded("(x, w) -> (sin.(x) .* w, sum(x .* w))")
    x, w, a, b = [0.1, 0.5], [1.0, 2.0], [0.3, -0.7], fill(2.0)
    _, handle, y = ask(Bridge.FORWARD, key, (x, w))
    @test y[1] == sin.(x) .* w && only(y[2]) == sum(x .* w)
    x̄, w̄ = ask(Bridge.PULLBACK, handle, (a, b))[3]
    @test x̄ ≈ cos.(x) .* w .* a .+ 2w && w̄ ≈ sin.(x) .* a .+ 2x
    @test ask(Bridge.PULLBACK, handle, (a, b))[3] == [x̄, w̄] # as often as one likes
    ẏ = ask(Bridge.PUSHFORWARD, key, (x, w, w, nothing); number = 2)[3]
    @test ẏ[1] ≈ cos.(x) .* w .* w && only(ẏ[2]) ≈ sum(w .* w)
    s̄ = ask(Bridge.SECOND, key, (x, w, w, nothing, a, b); number = 2)[3]
    @test s̄[1] ≈ -sin.(x) .* w .* w .* a && s̄[2] ≈ cos.(x) .* w .* a .+ 2w
    @test ask(Bridge.NOTHING; released = [handle])[2] == 0
    @test ask(Bridge.PULLBACK, handle, (a, b))[1] === Bridge.GONE
end

@testset "numbers, in the message and beside it" begin
    key = loaded("(x, y, n) -> (x * y, Float32(x), n + 1, true)")
    request = [0, identities[] += 1, Int(Bridge.CALL), key, 0, 0, 3, Bridge.NUMBER, reinterpret(Int64, 1.5), 1, 0, 0, 5, 0, 0]
    y, n = fill(-2.0), fill(7)
    request[[12, 15]] = [Int(pointer(y)), Int(pointer(n))]
    pushfirst!(request, length(request))
    reply = zeros(Int64, Bridge.HEADER + Bridge.INLINE)
    GC.@preserve y n request reply @test Bridge.entry(pointer(request), pointer(reply)) == 0
    @test reply[[1:4; 6:7]] == [identities[], Int(Bridge.OK), 0, 4, Bridge.NUMBER, reinterpret(Int64, -3.0)]
    @test only.(ask(Bridge.CALL, key, (fill(1.5), y, n))[3]) == [-3.0, 1.5, 8, true]
end

@testset "complex numbers, integers, matrices" begin
    key = loaded("(z, k) -> z .^ 2 .* k")
    z, k, z̄ = [1.0 + 2im 0.5im 1.0], Int64[2 3 4], [1.0im 2.0 1.0 - 1im]
    _, handle, (y,) = ask(Bridge.FORWARD, key, (z, k))
    @test y ≈ z .^ 2 .* k && size(y) == (1, 3)
    found = ask(Bridge.PULLBACK, handle, (z̄,))[3]
    @test found[1] ≈ conj.(2z .* k) .* z̄ && found[2] === nothing
    key = loaded("x -> sum(abs2, cis.(x) .+ 1)") # real to complex to real
    _, handle, _ = ask(Bridge.FORWARD, key, ([0.3],))
    @test ask(Bridge.PULLBACK, handle, (fill(1.0),))[3] ≈ [[-2sin(0.3)]]
end

@testset "memory: an argument handed through, large results, empty arrays" begin
    x = randn(10_000)
    y = only(ask(Bridge.CALL, loaded("identity"), (x,))[3])
    @test y == x && isempty(Bridge.HERE.lent)
    @test only(ask(Bridge.CALL, loaded("x -> reverse(x)"), (x,))[3]) == reverse(x)
    @test only(ask(Bridge.CALL, loaded("x -> x .+ 1"), (zeros(0, 3),))[3]) == zeros(0, 3)
end

@testset "mistakes are told, and nothing breaks" begin
    status, _, (kind, message) = ask(Bridge.CALL, loaded("x -> sqrt(x[1])"), ([-1.0],))
    @test status === Bridge.FAILED && String(kind) == "DomainError" && occursin("sqrt", String(message))
    @test ask(Bridge.LOAD, 0, (text("x ->"), text("")))[1] === Bridge.FAILED
    @test ask(Bridge.CALL, 10^9, ([1.0],))[1] === Bridge.GONE
    key = loaded("Operation(x -> 2x; forward = nothing, second = nothing)")
    status, _, (_, message) = ask(Bridge.PUSHFORWARD, key, ([1.0], [1.0]); number = 1)
    @test status === Bridge.REFUSED && occursin("no forward rule", String(message))
    @test ask(Bridge.CALL, loaded("x -> \"text\""), ([1.0],))[1] === Bridge.FAILED
    @test only(ask(Bridge.CALL, key, ([1.0],))[3]) == [2.0]
end

@testset "an exception that cannot be shown" begin
    key = loaded("""
        struct Unshown <: Exception end
        Base.showerror(io::IO, ::Unshown) = error("not this either")
        x -> throw(Unshown())""")
    status, _, (kind, message) = ask(Bridge.CALL, key, ([1.0],))
    @test status === Bridge.FAILED && String(kind) == "Unshown" && String(message) == "it cannot be shown"
end

@testset "what is kept has the identity of its request, and is not kept if that fails" begin
    key = loaded("Operation(identity; reverse = x -> (\"no array\", identity))")
    @test key == identities[]
    held = ask(Bridge.NOTHING)[2]
    @test ask(Bridge.FORWARD, key, ([1.0],))[1] === Bridge.FAILED
    @test ask(Bridge.NOTHING)[2] == held
    _, handle, _ = ask(Bridge.FORWARD, loaded("x -> 2x"), ([1.0],))
    @test handle == identities[]
    @test ask(Bridge.NOTHING; released = [handle])[2] == held
end

@testset "another process: replies that wait for room" begin
    mktemp() do path, file
        truncate(file, 128)
        flush(file)
        arena, results = Bridge.Arena(path), Any[ones(100)]
        outcome = (Bridge.OK, 7, results)
        bell, waiting = Bridge.write_reply!(arena, 3, outcome)
        @test bell == [3, Int(Bridge.NO_ROOM), 64 + 832, 0, 0] && waiting === outcome
        truncate(file, 2000)
        flush(file)
        words = Int64[0, 4, Int(Bridge.MEMORY), 2000, 1, 0, 0, 0]
        arenas = [arena, arena]
        @test Bridge.remember!(arenas, words) === nothing
        bell, waiting = Bridge.write_reply!(arena, 4, outcome)
        @test bell == [4, Int(Bridge.OK), 7, 1, 5] && waiting === nothing
        @test reinterpret(Float64, arena.memory[65:864]) == results[1]
        name = [Vector{UInt8}(path); zeros(UInt8, mod(-sizeof(path), 8))]
        moved = [words[1:7]; sizeof(path); reinterpret(Int64, name)]
        @test Bridge.remember!(arenas, moved) === nothing && arenas[2] !== arena
        moved[9] += 1 # a file that is not there
        @test Bridge.remember!(arenas, moved)[1] === Bridge.REFUSED
    end
end

@testset "a rule of one's own, and ChainRules'" begin
    key = loaded("""
        halved(x) = x ./ 2
        DiffProgTasks.ChainRulesCore.rrule(::typeof(halved), x) = halved(x), Δ -> (DiffProgTasks.NoTangent(), 10Δ)
        halved""")
    _, handle, _ = ask(Bridge.FORWARD, key, ([1.0],))
    @test only(ask(Bridge.PULLBACK, handle, ([1.0],))[3]) == [10.0]
    key = loaded("Operation(x -> 2x; reverse = x -> (2x, ȳ -> (20ȳ,)))")
    _, handle, _ = ask(Bridge.FORWARD, key, ([1.0],))
    @test only(ask(Bridge.PULLBACK, handle, ([1.0],))[3]) == [20.0]
end

@testset "a task as an operation" begin
    problem = build("flow", "discrete", (variant = "quadratic", dim = 2, steps = 3, time = 1.0),
                    (data = randn(Xoshiro(0), 2, 4), log_jacobian = zeros(4)))
    operation, θ = scalar_task(problem), randn(Xoshiro(1), 4)
    loss, back = operation.reverse(θ)
    @test (loss, only(back(1.0))) == gradient(problem, θ)
    v = randn(Xoshiro(2), 4)
    @test operation.forward((θ,), (v,)) ≈ v' * only(back(1.0))
    h = 1e-5
    differences = (gradient(problem, θ .+ h .* v)[2] .- gradient(problem, θ .- h .* v)[2]) ./ 2h
    @test only(operation.second((θ,), (v,), 2.0)) ≈ 2 .* differences rtol = 1e-7
end
