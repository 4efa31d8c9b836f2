"""
A user's own model as a problem: `loss(params, data)` in a file of theirs and, where they want it, `outputs(params, data)`.

`params` and `data` are named tuples of arrays in the shapes that the user drew, with the same indices as elsewhere:
W[i + 1, j + 1] is Python's W[i, j]. So θ holds each block in column-major order here, and data is column-major, too: who calls
has seen to that. What has no dimensions is a number.
"""
module Models

using ChainRulesCore: AbstractZero, ChainRulesCore, NoTangent, unthunk
using DifferentiationInterface: AutoZygote, Constant, prepare_gradient, value_and_gradient
using ForwardDiff: Dual
using TOML: TOML
using ..DiffProgTasks: DTYPES, DiffProgTasks, Problem, choose, derivation, derive, parameters

include("blocks.jl")
include("faults.jl")

"The loss of a model at its data."
struct ModelCase{F,B<:Blocks,D<:NamedTuple}
    loss::F
    blocks::B
    data::D
end

model_loss(θ, case::ModelCase) = case.loss(unpack(θ, case.blocks), case.data)

struct ModelProblem{T,C<:ModelCase,O,P} <: Problem{T}
    case::C
    "A function, or nothing."
    outputs::O
    preparation::P
end

ModelProblem{T}(case, outputs, preparation) where {T} =
    ModelProblem{T,typeof(case),typeof(outputs),typeof(preparation)}(case, outputs, preparation)

"""
    load_model(path) -> Module

Evaluates a user's file in a module of its own. What it defines can be called from the next call on, which is `model`.
"""
function load_model(path::AbstractString)
    space = Module(:on_julia)
    Core.eval(space, :(eval(x) = Core.eval($space, x)))
    Core.eval(space, :(include(path) = Base.include($space, path)))
    Base.include(space, path)
    return space
end

"""
    model(space, precision, shapes, data) -> Problem

The problem of the functions in the module `space`. `shapes` are those of the parameters, in the order of θ, and `data` its
arrays, both as named tuples. Throws `Fault` if there is no function `loss` of two such arguments.
"""
function model(space::Module, precision::AbstractString, @nospecialize(shapes::NamedTuple), @nospecialize(data::NamedTuple))
    loss, shown = defined(space, :loss), defined(space, :outputs)
    loss === nothing && throw(Fault("the file has no function loss; write `loss(params, data) = …`"))
    return model(choose("precision", precision, (float64 = Float64, float32 = Float32)), loss, shown, Blocks(shapes), data)
end

"The same with the names of the parameters and their shapes apart."
model(space::Module, precision::AbstractString, names::Tuple, shapes::Tuple, @nospecialize(data::NamedTuple)) =
    model(space, precision, NamedTuple{Symbol.(names)}(shapes), data)

function model(T::Type{<:AbstractFloat}, loss, shown, blocks::Blocks, data::NamedTuple)
    held, θ = map(x -> x isa Array{<:Any,0} ? x[] : x, data), zeros(T, length(blocks))
    if !applicable(loss, unpack(θ, blocks), held)
        isempty(methods(loss)) && throw(Fault("loss is no function; write `loss(params, data) = …`"))
        throw(Fault("loss must take two arguments, params and data, which are named tuples; it is $(signatures(loss))"))
    end
    case = ModelCase(loss, blocks, held)
    return ModelProblem{T}(case, shown, prepare_gradient(model_loss, AutoZygote(), θ, Constant(case)))
end

defined(space, name) = isdefined(space, name) ? getglobal(space, name) : nothing

DiffProgTasks.nparameters(problem::ModelProblem) = length(problem.case.blocks)

DiffProgTasks.objective(problem::ModelProblem) = (model_loss, problem.case)

DiffProgTasks.value(problem::ModelProblem{T}, θ) where {T} = number(T, model_loss(parameters(problem, θ), problem.case))

function DiffProgTasks.gradient(problem::ModelProblem{T}, θ) where {T}
    θ = parameters(problem, θ)
    loss, θ̄ = try
        value_and_gradient(model_loss, problem.preparation, AutoZygote(), θ, Constant(problem.case))
    catch error
        # Zygote's code has no lines. Where the loss itself fails, its own exception has the right one.
        error isa Union{InterruptException,OutOfMemoryError} || model_loss(θ, problem.case)
        rethrow()
    end
    return number(T, loss), θ̄ === nothing ? zero(θ) : θ̄ # nothing, says Zygote, where the loss has no parameters in it
end

"A loss that is what it must be: one number of the type of the parameters."
number(::Type{T}, loss::T) where {T} = loss
number(::Type{T}, loss) where {T} = throw(NoNumber(loss))

"What the user's `outputs` returns, as arrays that are nobody else's; nothing where there is no such function."
function DiffProgTasks.outputs(problem::ModelProblem, θ)
    problem.outputs === nothing && return (;)
    found = problem.outputs(unpack(parameters(problem, θ), problem.case.blocks), problem.case.data)
    found isa NamedTuple || throw(Fault("outputs must return a named tuple of arrays and numbers, not a $(typeof(found))"))
    return (; (name => output(name, x) for (name, x) in pairs(found))...)
end

output(_, x::Number) = fill(DiffProgTasks.Bridge.storable(x))
output(_, x::AbstractArray{<:Number}) = Array(DiffProgTasks.Bridge.storable(x))
output(name, x) = throw(Fault("outputs gives a $(typeof(x)) for '$name'; it must be an array or a number"))

DiffProgTasks.work(problem::ModelProblem, θ) = (parameters = length(parameters(problem, θ)),)

DiffProgTasks.made_with(::ModelProblem) = "Zygote"

function workload()
    tiny(params, data) = sum(abs2, tanh.(data.X * params.W .+ params.b') .- data.y) / length(data.y) + params.c^2
    blocks = Blocks((W = (2, 2), b = (2,), c = ()))
    problem = model(Float64, tiny, nothing, blocks, (X = [0.1 0.2; 0.3 0.4; 0.5 0.6], y = ones(3, 2)))
    DiffProgTasks.exercise(problem)
    θ = fill(0.1, 7)
    derive(derivation(problem, "jvp", "forwarddiff"), θ, θ)
    derive(derivation(problem, "hvp", "zygote"), θ, θ)
end

end
