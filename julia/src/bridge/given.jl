# A user's loss, given from Python by its source or its file, as an operation of the flat θ.

using ..DiffProgTasks: Models

"""
    given_loss(flat) -> Operation

θ ↦ L(θ) by `Models.model` of one flat named tuple: `file`, the path of a file with a function `loss(params, data)`, or else
`source`, that of the function itself; `precision`; `engine`, what makes all derivatives (the usual engines, if empty); `shapes`
of the parameters, a line each, such as `W 3 2`; `theta`, where the loss is looked at once; and the data, whose names begin with
`data__`. What goes wrong is a `Models.Fault` in its author's words, or an `Unfit` for a loss that is no number of its type.
"""
function given_loss(flat::NamedTuple)
    place = isempty(flat.file) ? SOURCE : flat.file
    space = faults(() -> isempty(flat.file) ? sourced(flat.source) : Models.load_model(flat.file), place)
    data = (; (Symbol(chopprefix(string(name), "data__")) => x for (name, x) in pairs(flat) if startswith(string(name), "data__"))...)
    # What was just evaluated is of a later world than this call.
    return Base.invokelatest(given_loss, space, flat.precision, flat.engine, shapes_of(flat.shapes), flat.theta, data, place)
end

"What the source of a function is called in sentences."
const SOURCE = "the Julia source"

function given_loss(space, precision, engine, shapes, theta, data, place)
    problem = faults(() -> Models.model(space, precision, shapes, data), place)
    faults(() -> look(problem, theta, data), place)
    by(operator, usual) = Later(operator, isempty(engine) ? usual : engine)
    gradient, jvp, hvp = by("gradient", "zygote"), by("jvp", "forwarddiff"), by("hvp", "zygote")
    derived(later, x...) = faults(() -> DiffProgTasks.derive(get!(later, problem), x...), place)
    function reverse(θ)
        loss, θ̄ = derived(gradient, θ)
        kept = copy(θ̄)
        return loss, Δ -> (Δ .* kept,)
    end
    forward((θ,), (v,)) = last(derived(jvp, θ, v))
    second((θ,), (v,), Δ) = (Δ .* last(derived(hvp, θ, v)),)
    return Operation(θ -> faults(() -> DiffProgTasks.value(problem, θ), place), reverse, forward, second)
end

"A module in which `loss` is the value of a source."
function sourced(source)
    space = Module(:given)
    Core.eval(space, :(eval(x) = Core.eval($space, x)))
    Core.eval(space, :(const loss = $(Base.include_string(space, source, SOURCE))))
    return space
end

shapes_of(text) = (; (Symbol(first(words)) => Tuple(parse.(Int, words[2:end])) for words in split.(split(text, '\n'), ' '))...)

"Asks a loss once: its inputs are to be afterwards what they were."
function look(problem, theta, data)
    θ, before = copy(theta), deepcopy(data)
    DiffProgTasks.value(problem, θ)
    for name in keys(data)
        isequal(data[name], before[name]) || throw(Models.Fault("loss changes its input '$name' in place; work on a copy"))
    end
    isequal(θ, theta) || throw(Models.Fault("loss changes its parameters in place; work on a copy"))
    return nothing
end

"A loss that is no number of the type of the parameters: its shape, NumPy's kind of its numbers, and their type."
struct Unfit <: Exception
    text::String
end

Base.showerror(io::IO, error::Unfit) = print(io, error.text)

"The value of `f()`; its exceptions are told in the words of who wrote the loss."
function faults(f, place)
    return try
        f()
    catch error
        error isa Union{InterruptException,OutOfMemoryError,DiffProgTasks.PackageMissing} && rethrow()
        if error isa Models.NoNumber
            shape, kind, dtype = Models.described(error.loss)
            throw(Unfit("$(join(shape, ' '))|$kind|$dtype"))
        end
        error isa Models.Fault && throw(Models.Fault("$place: $(error.text)"))
        throw(Models.Fault(Models.told(error, catch_backtrace(), place, nothing)))
    end
end
