"""
The flow by OrdinaryDiffEqTsit5: Tsitouras' adaptive method for the state, and again for its continuous adjoint.
"""
module AdaptiveFlow

using DiffProgTasks: DiffProgTasks, FlowCase, Zygote, adjoint_slopes, make_field, terminal
using OrdinaryDiffEqTsit5: ODEProblem, Tsit5, solve

"The state at time T and the evaluations of `slope!`; an `ErrorException` if the solver gives up."
function finish(slope!, state::Vector{T}, case::FlowCase{T}) where {T}
    tolerance = max(T(case.method.rtol), 100 * eps(T))
    problem = ODEProblem(slope!, state, (zero(T), abs(case.h) * case.steps))
    solution = solve(problem, Tsit5(); reltol = tolerance, abstol = tolerance, save_everystep = false)
    string(solution.retcode) == "Success" || error("Tsit5 stopped: $(solution.retcode)")
    return solution.u[end], solution.stats.nf
end

function DiffProgTasks.adaptive_integrate(case::FlowCase{T}, field) where {T}
    n, direction = length(case.x), sign(case.h)
    function slope!(du, u, _, _)
        v, g = field(reshape(u[1:n], size(case.x)))
        du[1:n] .= direction .* vec(v)
        du[(n + 1):end] .= g
        return nothing
    end
    state, evaluations = finish(slope!, vcat(vec(case.x), zeros(T, size(case.x, 2))), case)
    return reshape(state[1:n], size(case.x)), state[(n + 1):end], evaluations
end

function DiffProgTasks.adaptive_gradient(case::FlowCase{T}, θ) where {T}
    field, field_back = Zygote.pullback(θ -> make_field(case, θ), θ)
    x, q, evaluations = DiffProgTasks.adaptive_integrate(case, field)
    value, terminal_back = Zygote.pullback((x, q) -> terminal(case, x, q), x, q)
    x̄, q̄ = terminal_back(one(T))
    n, direction = length(x), sign(case.h)
    function slope!(du, u, _, _)
        here, bar = reshape(u[1:n], size(x)), reshape(u[(n + 1):(2n)], size(x))
        v, l, field̄ = adjoint_slopes(field, here, bar, q̄, direction)
        du[1:n] .= -direction .* vec(v)
        du[(n + 1):(2n)] .= vec(l)
        du[(2n + 1):end] .= only(field_back(field̄))
        return nothing
    end
    state, more = finish(slope!, vcat(vec(x), vec(x̄), zero(θ)), case)
    return value, state[(2n + 1):end], evaluations + more
end

end
