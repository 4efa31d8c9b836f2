# The circuit against a discriminator: the loss is linear in p, and the weights of the discriminator come after the angles in θ.

"A circuit, a discriminator with `weights` numbers, and the buffers of an evaluation."
struct AdversarialProblem{T,M} <: BornMachine{T}
    method::M
    discriminator::Discriminator{T}
    weights::Int
    "Holds the same blocks as `gates`: parameters dispatched to the one are seen in the other."
    circuit::ChainBlock{2}
    "In time order."
    gates::Vector{Gate{T}}
    ψ::Register{T}
    λ::Register{T}
    "ln(1 − D)"
    q::Vector{T}
end

"`data`: `target` (2ⁿ,), `spins` (n × 2ⁿ) and `cnots`; `hidden` units of the discriminator."
function adversarial_problem(method, qubits::Int, depth::Int, hidden::Int, data)
    spins, target = data.spins, data.target
    size(spins) == (qubits, 2^qubits) == (qubits, length(target)) ||
        throw(DimensionMismatch("$qubits qubits, but bits of $(size(spins)) and a target of length $(length(target))"))
    circuit, gates = assembled(eltype(target), qubits, depth, data.cnots)
    registers = ntuple(_ -> zero_state(Complex{eltype(target)}, qubits), 2)
    weights = hidden * (qubits + 2) + 1
    return AdversarialProblem(
        method, Discriminator(spins, target), weights, circuit, gates, registers..., similar(target)
    )
end

nparameters(problem::AdversarialProblem) = Yao.nparameters(problem.circuit) + problem.weights

"The angles and the weights of θ, which must be of the problem's length and type."
function angles_and_weights(problem::AdversarialProblem, θ)
    θ = parameters(problem, θ)
    return θ[1:(end - problem.weights)], θ[(end - problem.weights + 1):end]
end

"The loss, with p, the activations and the logits; leaves ψ and q behind for a gradient."
function evaluate!(problem::AdversarialProblem, angles, weights)
    dispatch!(problem.circuit, angles)
    p = abs2.(run_circuit!(problem))
    units, s = logits(problem.discriminator, weights)
    loss, q = play(problem.discriminator, p, s)
    copyto!(problem.q, q)
    return loss, p, units, s
end

value(problem::AdversarialProblem, θ) = first(evaluate!(problem, angles_and_weights(problem, θ)...))

function gradient(problem::AdversarialProblem, θ)
    angles, weights = angles_and_weights(problem, θ)
    loss, p, units, s = evaluate!(problem, angles, weights)
    taught = teach(problem.discriminator, p, weights, units, s)
    return loss, [derivatives(problem.method, problem, angles); taught]
end

"λ = ∂L/∂Re ψ + i ∂L/∂Im ψ = 2q ∘ ψ."
function cotangent!(problem::AdversarialProblem)
    state(problem.λ) .= 2 .* problem.q .* state(problem.ψ)
    return problem.λ
end

"q·p/2 with p from the circuit with one angle shifted: ∂p = ½(p⁺ − p⁻)."
function shifted(problem::AdversarialProblem{T}) where {T}
    ψ = run_circuit!(problem)
    return sum(problem.q[x] * abs2(ψ[x]) for x in eachindex(ψ); init = zero(T)) / 2
end

"`distribution` p and `discriminator` D, both (2ⁿ,)."
function outputs(problem::AdversarialProblem, θ)
    _, p, _, s = evaluate!(problem, angles_and_weights(problem, θ)...)
    return (distribution = p, discriminator = sigmoid.(s))
end

function work(problem::AdversarialProblem, θ)
    units, _ = logits(problem.discriminator, last(angles_and_weights(problem, θ)))
    count = length(parameters(problem, θ))
    return (; parameters = count, circuit_work(problem.circuit)..., activations = length(units))
end

# For engines

struct AdversarialCase{T}
    circuit::Circuit{Gate{T}}
    discriminator::Discriminator{T}
    weights::Int
end

function game(θ, case::AdversarialCase)
    p = probabilities(case.circuit, θ[1:(end - case.weights)])
    return only(payoff(case.discriminator, p, θ[(end - case.weights + 1):end]))
end

objective(problem::AdversarialProblem) = objective(problem.method, problem)
function objective(::Reverse, problem::AdversarialProblem)
    circuit = Circuit(Yao.nqubits(problem.circuit), problem.gates)
    return game, AdversarialCase(circuit, problem.discriminator, problem.weights)
end
