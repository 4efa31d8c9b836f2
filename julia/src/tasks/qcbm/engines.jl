# For engines: a loss of any numbers, on Yao's instructions, with a rule for what reverse mode must not look into.

"""
    probabilities(circuit, θ) -> Vector

p = |ψ|², (2ⁿ,).
"""
probabilities(circuit::Circuit, θ::AbstractVector) = vec(abs2.(state(run(circuit, θ))))

# dL = Σ p̄ dp = Re <λ|dψ> with λ = 2 p̄ ∘ ψ.
function ChainRulesCore.rrule(::typeof(probabilities), circuit::Circuit, θ::AbstractVector)
    ψ = run(circuit, θ)
    function probabilities_pullback(Δ)
        back, λ = copy(ψ), copy(ψ)
        state(λ) .*= 2 .* unthunk(Δ)
        return NoTangent(), NoTangent(), sweep_back(circuit.gates, back, λ, θ)
    end
    return vec(abs2.(state(ψ))), probabilities_pullback
end

struct QcbmCase{T,K}
    circuit::Circuit{Gate{T}}
    kernel::K
    target::Vector{T}
end

function discrepancy(θ, case::QcbmCase)
    q = probabilities(case.circuit, θ) .- case.target
    return dot(q, product(case.kernel, q))
end

objective(problem::QcbmProblem) = objective(problem.method, problem)
objective(::Reverse, problem::QcbmProblem) =
    (discrepancy, QcbmCase(Circuit(Yao.nqubits(problem.circuit), problem.gates), problem.kernel, problem.target))
