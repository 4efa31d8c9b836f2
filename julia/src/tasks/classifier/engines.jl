# For engines: a loss of any numbers, on Yao's instructions, with a rule for what reverse mode must not look into.

struct SampledCircuit{T,S}
    qubits::Int
    parts::Vector{Vector{Gate{T}}}
    samples::S
end

"The batch after the circuit, at angles of any real numbers."
function final_states(circuit::SampledCircuit, θ::AbstractVector{T}) where {T}
    B = length(circuit.samples)
    ψ = BatchedArrayReg(Matrix{Complex{T}}(undef, 2^circuit.qubits, B), B)
    first_states!(state(ψ), circuit.samples)
    start = 1
    for (k, gates) in enumerate(circuit.parts)
        isodd(k) && upload!(state(ψ), circuit.samples)
        stop = start + count(gate -> !(gate isa CNOT), gates) - 1
        run!(ψ, Circuit(circuit.qubits, gates), θ[start:stop])
        start = stop + 1
    end
    return ψ
end

"""
    label_chances(circuit, θ) -> Matrix

p and 1 − p of every sample, (2 × B).
"""
label_chances(circuit::SampledCircuit, θ::AbstractVector) = chances(state(final_states(circuit, θ)))

function ChainRulesCore.rrule(::typeof(label_chances), circuit::SampledCircuit, θ::AbstractVector)
    ψ = final_states(circuit, θ)
    function label_chances_pullback(Δ)
        back, λ = copy(ψ), copy(ψ)
        from_chances!(state(λ), state(ψ), unthunk(Δ))
        return NoTangent(), NoTangent(), sweep_back(circuit.parts, circuit.samples, back, λ, θ)
    end
    return chances(state(ψ)), label_chances_pullback
end

struct ClassifierCase{T,S}
    circuit::SampledCircuit{T,S}
    weights::Matrix{T}
end

cross_entropy(θ, case::ClassifierCase) = mean_surprise(vec(sum(case.weights .* label_chances(case.circuit, θ); dims = 1)))

objective(problem::ClassifierProblem) = objective(problem.method, problem)
function objective(::Reverse, problem::ClassifierProblem)
    circuit = SampledCircuit(Yao.nqubits(problem.circuit), problem.parts, problem.samples)
    return cross_entropy, ClassifierCase(circuit, problem.weights)
end
