"""
Differentiable scientific programs with their values, gradients and work counts.

`build(task, method, config, data)` makes a problem; `value`, `gradient`, `outputs`, `work` and `made_with` ask it, and
`derivation` and `derive` differentiate it by an engine. Nothing here times, prints or draws random numbers. Arrays are column-major: a C-ordered array of shape (B, d) from elsewhere is a
`d × B` matrix here, without a copy.
"""
module DiffProgTasks

using ChainRulesCore: ChainRulesCore, NoTangent, @non_differentiable, @thunk, unthunk
using DifferentiationInterface: AutoZygote, Constant, DifferentiationInterface, prepare_gradient, value_and_gradient
using KrylovKit: KrylovKit
using LinearAlgebra: BLAS, mul!
using Optimisers: Optimisers
using Yao: Yao

include("interface.jl")
include("duals.jl")
include("engines.jl")
include("fit.jl")
include("models/models.jl")
include("circuits/circuits.jl")

# A task is a file in `tasks/`. Nothing else names it: it defines `<its name>_problem(method, config, data)`, and
# `<its name>_workload()` for what is to be compiled in advance.
const TASK_FILES = filter(endswith(".jl"), readdir(joinpath(@__DIR__, "tasks")))
include_dependency(joinpath(@__DIR__, "tasks"))
for file in TASK_FILES
    include(joinpath("tasks", file))
end

"What the file of each task defines under `<its name>_<part>`; without those that define nothing."
function of_tasks(part)
    names = Symbol.(chopsuffix.(TASK_FILES, ".jl"))
    defined(name) = isdefined(@__MODULE__, Symbol(name, :_, part))
    return (; (name => getfield(@__MODULE__, Symbol(name, :_, part)) for name in names if defined(name))...)
end

const TASKS = of_tasks(:problem)

"""
    build(task, method, config, data) -> Problem

The problem `task` with gradients by `method`.

`config` holds the scalars and names of the case and `data` its arrays, both as named tuples; extra entries are ignored.
The element type of the data is the precision. Throws `ArgumentError`, with the valid names, for a name that is unknown.
"""
build(task::AbstractString, method::AbstractString, config::NamedTuple, data::NamedTuple) =
    choose("task", task, TASKS)(method, config, data)

"""
    versions() -> NamedTuple

The versions of the packages that compute, with those of the engines that are installed, whether they are loaded or not.
"""
versions() = (;
    DiffProgTasks = string(pkgversion(@__MODULE__)),
    DifferentiationInterface = string(pkgversion(DifferentiationInterface)),
    ForwardDiff = string(pkgversion(ForwardDiff)),
    KrylovKit = string(pkgversion(KrylovKit)),
    Yao = string(pkgversion(Yao)),
    YaoBlocks = string(pkgversion(Yao.YaoBlocks)),
    Zygote = string(pkgversion(Zygote)),
    blas = join((basename(library.libname) for library in BLAS.get_config().loaded_libs), ", "),
    late_versions()...,
)

# Last, for Julia 1.12: Zygote's code generator sees only the constants that were there when Zygote was loaded, and a
# function that it does not see as constant it differentiates differently. Were Zygote loaded first, the forward passes in
# the precompiled image would not match reverse passes that are generated later (SciML/QuantumNLDiffEq.jl#76).
using Zygote: Zygote

include("bridge/bridge.jl")
include("precompile.jl")

end
