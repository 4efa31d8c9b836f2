# The problem: a circuit with its target and kernel, and its value.

const QCBM_VARIANTS = (gaussian = :gaussian, bars_and_stripes = :bars_and_stripes, adversarial = :adversarial)

"A circuit with a loss of its p = |ψ|²: it has a `circuit`, its `gates`, registers `ψ` and `λ`, and a `method`."
abstract type BornMachine{T} <: Problem{T} end

"A circuit, a target distribution, and the buffers of an evaluation."
struct QcbmProblem{T,M,K} <: BornMachine{T}
    method::M
    kernel::K
    target::Vector{T}
    "Holds the same blocks as `gates`: parameters dispatched to the one are seen in the other."
    circuit::ChainBlock{2}
    "In time order."
    gates::Vector{Gate{T}}
    ψ::Register{T}
    λ::Register{T}
    "p − π"
    q::Vector{T}
    "K(p − π)"
    Kq::Vector{T}
end

"""
    qcbm_problem(method, config, data)

`config`: `variant` ("gaussian", "bars_and_stripes" or "adversarial"), `qubits` n, `depth` d and `kernel` ("integer" or
"hamming"), or the number of `hidden` units of a discriminator. `data`: `target` (2ⁿ,), `cnots` (2 × m; control and target,
from zero) and `sigmas`, or `spins` (n × 2ⁿ).
"""
function qcbm_problem(method::AbstractString, @nospecialize(config::NamedTuple), @nospecialize(data::NamedTuple))
    variant, way = choose("variant of qcbm", config.variant, QCBM_VARIANTS), choose("method of qcbm", method, CIRCUIT_METHODS)
    variant === :adversarial &&
        return adversarial_problem(way, Int(config.qubits), Int(config.depth), Int(config.hidden), data)
    return qcbm_problem(
        way,
        choose("kernel of qcbm", config.kernel, KERNELS),
        Int(config.qubits),
        Int(config.depth),
        data.target,
        data.cnots,
        data.sigmas,
    )
end

function qcbm_problem(method, Kernel, qubits::Int, depth::Int, target::Vector{T}, cnots, sigmas) where {T}
    length(target) == 2^qubits || throw(DimensionMismatch("$qubits qubits, but a target of length $(length(target))"))
    circuit, gates = assembled(T, qubits, depth, cnots)
    return QcbmProblem(
        method,
        Kernel{T}(sigmas, length(target)),
        target,
        circuit,
        gates,
        zero_state(Complex{T}, qubits),
        zero_state(Complex{T}, qubits),
        similar(target),
        similar(target),
    )
end

"The circuit as one block, and its gates in time order: the same blocks."
function assembled(::Type{T}, qubits, depth, cnots) where {T}
    parts = layers(T, qubits, depth, cnots)
    return ChainBlock(qubits, [ChainBlock(qubits, part) for part in parts]), reduce(vcat, parts)
end

nparameters(problem::QcbmProblem) = Yao.nparameters(problem.circuit)

# Value

"Runs the circuit from |0…0> with the angles that it holds; leaves the state in `ψ` and returns it, (2ⁿ,)."
function run_circuit!(problem::BornMachine)
    ψ = vec(state(problem.ψ))
    fill!(ψ, 0)
    ψ[1] = 1
    apply!(problem.ψ, problem.circuit)
    return ψ
end

"The same; leaves p − π in `q`."
function run!(problem::QcbmProblem)
    problem.q .= abs2.(run_circuit!(problem)) .- problem.target
    return problem
end

"The loss (p − π)ᵀK(p − π); leaves `ψ`, `q` and `Kq` behind for a gradient."
function evaluate!(problem::QcbmProblem, θ)
    dispatch!(problem.circuit, θ)
    run!(problem)
    product!(problem.Kq, problem.kernel, problem.q)
    return dot(problem.q, problem.Kq)
end

value(problem::QcbmProblem, θ) = evaluate!(problem, parameters(problem, θ))

# Outputs and work

"`distribution` p, (2ⁿ,)."
function outputs(problem::QcbmProblem, θ)
    evaluate!(problem, parameters(problem, θ))
    return (distribution = vec(abs2.(state(problem.ψ))),)
end

work(problem::QcbmProblem, θ) = (; parameters = length(parameters(problem, θ)), circuit_work(problem.circuit)...)

made_with(problem::BornMachine) = circuit_made_with(problem.method)

own_engine(::BornMachine) = YaoEngine()

function qcbm_workload()
    machine = (target = [0.1, 0.2, 0.3, 0.4], cnots = [0; 1;;], sigmas = [0.25, 4.0])
    against = (; machine.target, machine.cnots, spins = [-1.0 1 -1 1; -1 -1 1 1])
    for method in string.(keys(CIRCUIT_METHODS))
        exercise(build("qcbm", method, (variant = "adversarial", qubits = 2, depth = 1, hidden = 4), against))
    end
    for (variant, kernel) in (("gaussian", "integer"), ("bars_and_stripes", "hamming")), method in string.(keys(CIRCUIT_METHODS))
        exercise(build("qcbm", method, (; variant, kernel, qubits = 2, depth = 1), machine))
    end
end
