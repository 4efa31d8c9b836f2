# For engines: a loss of any numbers, on Yao's instructions, with a rule for what reverse mode must not look into.

struct VqeCase{T,H,G}
    circuit::Circuit{G}
    hamiltonian::H
    sharing::Sharing{T}
end

"The register after the circuit from its first state, at angles of any real numbers."
function final_state(case::VqeCase, turned::AbstractVector{T}) where {T}
    ψ = zero_state(Complex{T}, case.circuit.qubits)
    first_state!(case.hamiltonian, vec(state(ψ)))
    return run!(ψ, case.circuit, turned)
end

"Hψ as a register."
function image(case::VqeCase, ψ)
    λ = copy(ψ)
    apply_terms!(vec(state(λ)), case.hamiltonian, vec(state(ψ)))
    return λ
end

"""
    circuit_energy(case, angles) -> Vector

<ψ|Hψ> as the one element of a vector: rules for engines are about arrays.
"""
circuit_energy(case::VqeCase, turned::AbstractVector) = first(energy_and_states(case, turned))

function energy_and_states(case, turned)
    ψ = final_state(case, turned)
    λ = image(case, ψ)
    return [real(sum(conj.(state(ψ)) .* state(λ)))], ψ, λ
end

function ChainRulesCore.rrule(::typeof(circuit_energy), case::VqeCase, turned::AbstractVector)
    energy, ψ, λ = energy_and_states(case, turned)
    function circuit_energy_pullback(Δ)
        back, cotangent = copy(ψ), copy(λ)
        state(cotangent) .*= 2 .* only(unthunk(Δ))
        return NoTangent(), NoTangent(), sweep_back(case.circuit.gates, back, cotangent, turned)
    end
    return energy, circuit_energy_pullback
end

vqe_energy(θ, case::VqeCase) = only(circuit_energy(case, angles(case.sharing, θ)))

objective(problem::VqeProblem) = objective(problem.method, problem)
objective(::Reverse, problem::VqeProblem) =
    (vqe_energy, VqeCase(Circuit(Yao.nqubits(problem.circuit), problem.gates), problem.hamiltonian, problem.sharing))
