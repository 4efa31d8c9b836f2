# Calls by number: operations and kept pullbacks stand in a table, and callers hold their keys.

"A pullback with the arguments that it belongs to; `outputs`: how many results there were, and so cotangents."
struct Kept
    pullback::Any
    inputs::Vector{Any}
    outputs::Int
    is_tuple::Bool
end

"""
Everything that callers hold the key of. Operations and pullbacks have the identity of the request that made them: so the caller
knows it, though the reply be lost. Lent arrays, of which a reply may have several, are numbered downwards from -1.
"""
struct Table
    operations::Dict{Int,Operation}
    kept::Dict{Int,Kept}
    lent::Dict{Int,Array}
    "The operations that have returned tuples: cotangents for them are tuples too."
    tuples::Set{Int}
    last::Base.RefValue{Int}
end

Table() = Table(Dict(), Dict(), Dict(), Set(), Ref(0))

function lend!(table::Table, array)
    key = table.last[] -= 1
    table.lent[key] = array
    return key
end

function release!(table::Table, key::Int)
    delete!(table.kept, key)
    delete!(table.lent, key)
    return nothing
end

"The caller's mistake, for which its text is enough."
struct Refusal <: Exception
    text::String
end

Base.showerror(io::IO, refusal::Refusal) = print(io, refusal.text)

"What is asked for is not here, or not any more."
struct Gone <: Exception
    text::String
end

Base.showerror(io::IO, gone::Gone) = print(io, gone.text)

operation(table::Table, key) =
    get(() -> throw(Gone("there is no function $key: it was loaded elsewhere")), table.operations, key)
kept(table::Table, key) = get(() -> throw(Gone("pullback $key is gone: it was released")), table.kept, key)

rule(rule, name) = rule === nothing ? throw(Refusal("the Julia function has no $name rule")) : rule

"""
    load!(table, identity, code, data) -> key

Evaluates `code` in a module of its own that uses `DiffProgTasks.Bridge`. Its last value is a function or an `Operation`; or, where there is `data`, a
function of the named tuple `data` that makes one.
"""
function load!(table::Table, identity::Int, code::String, data::NamedTuple)
    name = gensym(:Interop)
    space = Core.eval(Main, Expr(:module, true, name, quote
        import DiffProgTasks
        using DiffProgTasks.Bridge
    end))
    found = Base.include_string(space, code, "interop")
    isempty(data) || (found = Base.invokelatest(found, data))
    found isa Operation || (found = Base.invokelatest(Operation, found))
    table.operations[identity] = found
    return identity
end

primal(table::Table, key, x) = results(table, key, Base.invokelatest(operation(table, key).f, x...))

function results(table::Table, key, y)
    y isa Tuple && push!(table.tuples, key)
    return parts(y)
end

function forward(table::Table, identity::Int, key, x)
    reverse = rule(operation(table, key).reverse, "reverse")
    y, pullback = Base.invokelatest(reverse, x...)
    outputs = results(table, key, y)
    table.kept[identity] = Kept(pullback, x, length(outputs), y isa Tuple)
    return outputs, identity
end

function pullback(table::Table, key, ȳ)
    one = kept(table, key)
    length(ȳ) == one.outputs || throw(Refusal("expected $(one.outputs) cotangents, got $(length(ȳ))"))
    return cotangents(one.inputs, Base.invokelatest(one.pullback, one.is_tuple ? Tuple(ȳ) : only(ȳ)))
end

"ẏ, with zeros where nothing depends on x; in the types of f's own results."
function pushforward(table::Table, key, x, ẋ)
    forward = rule(operation(table, key).forward, "forward")
    return parts(Base.invokelatest(forward, Tuple(x), Tuple(ẋ)))
end

function second(table::Table, key, x, ẋ, ȳ)
    second = rule(operation(table, key).second, "second-order")
    bars = key in table.tuples ? Tuple(ȳ) : only(ȳ)
    return cotangents(x, Base.invokelatest(second, Tuple(x), Tuple(ẋ), bars))
end

"Seconds of each of `calls` calls from within Julia: of the primal, or of reverse rule and pullback with cotangents of ones."
function time_calls(table::Table, key, x, calls::Int, with_pullback::Bool)
    found = operation(table, key)
    seconds = Vector{Float64}(undef, calls)
    return with_pullback ? Base.invokelatest(time_reverse!, seconds, found.reverse, x) :
           Base.invokelatest(time_primal!, seconds, found.f, x)
end

function time_primal!(seconds, f, x)
    for k in eachindex(seconds)
        start = time_ns()
        f(x...)
        seconds[k] = (time_ns() - start) / 1e9
    end
    return seconds
end

function time_reverse!(seconds, reverse, x)
    ones_like(y) = y isa Tuple ? map(ones_like, y) : y isa Number ? one(y) : fill!(similar(y), 1)
    for k in eachindex(seconds)
        start = time_ns()
        y, back = reverse(x...)
        back(ones_like(y))
        seconds[k] = (time_ns() - start) / 1e9
    end
    return seconds
end
