using PrecompileTools: @compile_workload, @setup_workload

# Wherever the compiler meets `x >= 1` with an unknown x, and knows of one method alone, it counts on there being no other.
# Zygote's own code is full of this. PythonCall then adds `>=(::Py, ::Number)` and its like: all that was compiled in
# advance is thrown away, and the flow's first gradient takes 31 s instead of 0.1 (PythonCall 0.9.37, Julia 1.12.5). Where it
# knows of four methods or more it counts on nothing. Hence these, which nobody calls, before anything is compiled.

struct Nobody{N} end

for operator in (:>, :>=, :!=, :>>), N in 1:3
    @eval Base.$operator(::Nobody{$N}, ::Number) = nobody()
    @eval Base.$operator(::Number, ::Nobody{$N}) = nobody()
    @eval Base.$operator(::Nobody{$N}, ::Nobody{$N}) = nobody()
end
nobody() = error("nobody is compared with a number")

"Calls every function of a problem once."
function exercise(problem::Problem{T}) where {T}
    θ = fill(T(0.1), nparameters(problem))
    return value(problem, θ), gradient(problem, θ), outputs(problem, θ), work(problem, θ), made_with(problem)
end

"Calls a function by `Bridge.entry`, with its pullback, as a caller in this process does."
function exercise_bridge()
    (; HERE, CALL, FORWARD, PULLBACK, NUMBER, HEADER, INLINE) = Bridge
    twice(x) = 2x
    key = 1
    HERE.operations[key] = Bridge.Operation(twice)
    x, reply = [1.0, 2.0], zeros(Int64, HEADER + INLINE)
    number, vector = [NUMBER, reinterpret(Int64, 1.0)], [1, 1, 2, Int(pointer(x))]
    GC.@preserve x reply for array in (number, vector)
        kept = key
        for what in (CALL, FORWARD, PULLBACK)
            words = [0, 2, Int(what), what === PULLBACK ? kept : key, 0, 0, 1, array...]
            request = [length(words); words]
            GC.@preserve request Bridge.entry(pointer(request), pointer(reply))
            kept = reply[3]
        end
    end
    foreach(empty!, (HERE.operations, HERE.kept, HERE.lent, HERE.tuples))
    HERE.last[] = 0
    return nothing
end

# Every variant and method once on a tiny problem, so that first calls do not compile. In Float64, which most ask for: Float32
# would double the minutes that this takes.
@setup_workload begin
    @compile_workload begin
        foreach(workload -> workload(), of_tasks(:workload))
        Models.workload()
        exercise_bridge()
        θ = [0.1, 0.2]
        GC.@preserve θ wrap("float64", UInt(pointer(θ)), 2)
    end
end
