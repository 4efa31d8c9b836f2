# The gradient by each of the methods: that by the angle of every gate, and the parts of a parameter added.

function gradient(problem::VqeProblem, θ)
    θ = parameters(problem, θ)
    loss = evaluate!(problem, θ)
    return loss, add_parts(problem.sharing, gate_slopes(problem.method, problem, θ))
end

# dL = 2 Re <Hψ|dψ> = Re <λ|dψ> with λ = 2Hψ, Yao's convention: what `expect'` does, with the state that is there already.
function gate_slopes(::Reverse, problem::VqeProblem{T}, θ) where {T}
    state(problem.λ) .*= 2
    slopes = sizehint!(T[], length(problem.gates))
    AD.apply_back!((problem.ψ, problem.λ), problem.circuit, slopes)
    return slopes
end

function gate_slopes(::Adjoint, problem::VqeProblem, θ)
    state(problem.λ) .*= 2
    return sweep_back(problem.gates, problem.ψ, problem.λ, angles(problem.sharing, θ))
end

# dL/dangle = ½(L⁺ − L⁻) of each gate on its own: a shared parameter shifted as a whole obeys no such rule.
gate_slopes(::ParameterShift, problem::VqeProblem, θ) =
    by_shifts((above, below) -> (above - below) / 2, () -> run!(problem), problem.gates, angles(problem.sharing, θ))
