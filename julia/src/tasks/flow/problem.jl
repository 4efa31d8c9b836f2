# The problem: a batch, a potential, a goal and a method, from a configuration.

const FLOW_VARIANTS = (
    density = (Softplus, Likelihood, -1),
    quadratic = (Quadratic, Likelihood, -1),
    ising = (LogCosh, data -> FreeEnergy(IsingDual(data), data), 1),
    ring = (LogCosh, data -> FreeEnergy(Ring(), data), 1),
    correlated = (LogCosh, data -> FreeEnergy(Correlated(), data), 1),
)

Softplus(config::NamedTuple) = Softplus(config.dim, config.hidden)
LogCosh(config::NamedTuple) = LogCosh(config.dim, config.hidden)
Quadratic(config::NamedTuple) = Quadratic(config.dim)

struct FlowProblem{T,C<:FlowCase{T},P} <: Problem{T}
    case::C
    preparation::P
end

"""
    flow_problem(method, config, data)

`config`: `variant` ("density", "quadratic", "ising", "ring" or "correlated"), `dim` d, `hidden` h (not for quadratic),
`steps` N, `time` T, and for the method "library" `rtol`.
`data`: `data` (d × B), and `log_jacobian` (B,), ln |dy/dx| of the preprocessing, for density and quadratic;
`inverse_coupling` K′⁻¹ (d × d) for ising.
"""
function flow_problem(method::AbstractString, @nospecialize(config::NamedTuple), @nospecialize(data::NamedTuple))
    potential, goal, direction = choose("variant of flow", config.variant, FLOW_VARIANTS)
    T = eltype(data.data)
    return flow_problem(
        FlowCase(
            potential(config),
            choose("method of flow", method, FLOW_METHODS)(config),
            goal(data),
            data.data,
            convert(T, direction * config.time / config.steps),
            config.steps,
            Matrix{T}[],
        ),
    )
end

flow_problem(case::FlowCase{T}) where {T} =
    FlowProblem(case, prepare_gradient(loss, AutoZygote(), zeros(T, nparameters(case.potential)), Constant(case)))
flow_problem(case::FlowCase{T,P,Backsolve}) where {T,P} = FlowProblem(case, nothing)

const SOLVER = Base.PkgId(Base.UUID("b1df2697-797e-41e3-8120-5422d3b24e4a"), "OrdinaryDiffEqTsit5")

# The solver is a package that few environments have, and loading it takes its time: only a problem that needs it asks for
# it, and with it comes the extension that defines the methods for `Library`.
function flow_problem(case::FlowCase{T,P,Library}) where {T,P}
    Base.locate_package(SOLVER) === nothing && throw(
        ArgumentError("the method library needs the package $(SOLVER.name); to install it: import Pkg; Pkg.add(\"$(SOLVER.name)\")"),
    )
    Base.require(SOLVER)
    return FlowProblem(case, nothing)
end

nparameters(problem::FlowProblem) = nparameters(problem.case.potential)

objective(problem::FlowProblem) = objective(problem.case.method, problem.case)
objective(::Union{Discrete,Checkpointed}, case) = (loss, case)

value(problem::FlowProblem, θ) = loss(parameters(problem, θ), problem.case)

gradient(problem::FlowProblem, θ) = flow_gradient(problem.case.method, problem, parameters(problem, θ))

flow_gradient(method, problem, θ) =
    value_and_gradient(loss, problem.preparation, AutoZygote(), θ, Constant(problem.case))
flow_gradient(::Backsolve, problem, θ) = backsolve(θ, problem.case)
flow_gradient(::Library, problem, θ) = Base.invokelatest(adaptive_gradient, problem.case, θ)[1:2]

"""
`log_density` (B,) in nats, with `latent` (d × B) and `bits_per_dim`, without dimensions, for density estimation; else with
`samples` (d × B), `free_energy` (B,), the loss of each in nats, and for ising `free_energy_per_site`, without dimensions.
"""
function outputs(problem::FlowProblem, θ)
    case = problem.case
    x, q = integrate(case, make_field(case, parameters(problem, θ)))
    return flow_outputs(case.goal, x, losses(case.goal, x, q))
end

function flow_outputs(goal::Likelihood, x::Matrix{T}, nats) where {T}
    bits = sum(nats .- goal.log_jacobian) / length(nats) / T(size(x, 1) * log(2))
    return (latent = x, log_density = .-nats, bits_per_dim = fill(bits))
end

flow_outputs(goal::FreeEnergy, x, nats) =
    (samples = x, log_density = nats .+ log_target(goal.target, x), free_energy = nats)
flow_outputs(goal::FreeEnergy{<:IsingDual}, x, nats) = (
    samples = x,
    log_density = nats .+ log_target(goal.target, x),
    free_energy = nats,
    free_energy_per_site = fill(sum(nats) / length(x)),
)

work(problem::FlowProblem, θ) = flow_work(problem.case.method, problem, parameters(problem, θ))

function flow_work(method, problem, θ)
    field = Counted(make_field(problem.case, θ), Ref(0))
    integrate(problem.case, field)
    return (parameters = length(θ), rhs_evaluations = field.calls[], steps = field.calls[] ÷ 4)
end

# The counts of an adaptive solver are no invariants: they have names of their own.
flow_work(::Library, problem, θ) = (
    parameters = length(θ),
    adaptive_evaluations = Base.invokelatest(adaptive_integrate, problem.case, make_field(problem.case, θ))[3],
    adaptive_evaluations_gradient = Base.invokelatest(adaptive_gradient, problem.case, θ)[3],
)

made_with(problem::FlowProblem) = problem.case.method isa Library ? SOLVER.name : "Zygote"

function flow_workload()
    batch = (data = [0.1 0.2 0.3; 0.4 0.5 0.6], log_jacobian = zeros(3), inverse_coupling = [1.0 0.0; 0.0 1.0])
    for variant in string.(keys(FLOW_VARIANTS)), method in ("discrete", "checkpointed", "backsolve")
        exercise(build("flow", method, (; variant, dim = 2, hidden = 3, steps = 2, time = 1.0), batch))
    end
end
