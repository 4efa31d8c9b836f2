# The gradient by each of the methods.

function gradient(problem::QcbmProblem, θ)
    θ = parameters(problem, θ)
    loss = evaluate!(problem, θ)
    return loss, derivatives(problem.method, problem, θ)
end

"λ = ∂L/∂Re ψ + i ∂L/∂Im ψ = 4 K(p − π) ∘ ψ: Yao's convention, dL = Re <λ|dψ>."
function cotangent!(problem::QcbmProblem)
    state(problem.λ) .= 4 .* problem.Kq .* state(problem.ψ)
    return problem.λ
end

function derivatives(::Reverse, problem::BornMachine{T}, θ) where {T}
    θ̄ = sizehint!(T[], length(θ))
    AD.apply_back!((problem.ψ, cotangent!(problem)), problem.circuit, θ̄)
    return θ̄
end

function derivatives(::Adjoint, problem::BornMachine, θ)
    ψ, λ = problem.ψ, cotangent!(problem)
    return sweep_back(problem.gates, ψ, λ, θ)
end

# dL/dθ_k = ∂L/∂p·∂p, where ∂p = ½(p⁺ − p⁻): the difference of what `shifted` makes of the two circuits.
derivatives(::ParameterShift, problem::BornMachine, θ) = by_shifts(-, () -> shifted(problem), problem.gates, θ)

"K(p − π)·(p − π) with p from the circuit with one angle shifted; `Kq` stays that of the unshifted circuit, π drops out."
function shifted(problem::QcbmProblem)
    run!(problem)
    return dot(problem.Kq, problem.q)
end
