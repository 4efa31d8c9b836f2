# The continuous adjoint (Chen et al., arXiv:1806.07366), by RK4 or by an adaptive solver.

"""
    adjoint_slopes(field, x, x̄, q̄, sign) -> (k, l, field̄)

The slopes of x and of its cotangent in the continuous adjoint, and what is to be integrated for the field's: with time
counted in the direction of the flow, dx/dt = `sign`·v and dx̄/dt = −l (Chen et al., arXiv:1806.07366, appendix B).
"""
function adjoint_slopes(field, x, x̄, q̄, sign)
    (v, _), back = Zygote.pullback((field, x) -> field(x), field, x)
    field̄, l = back((sign .* x̄, q̄))
    return v, something(l, zero(x)), field̄
end

"Value and gradient by backsolve."
function backsolve(θ, case::FlowCase{T}) where {T}
    field, field_back = Zygote.pullback(θ -> make_field(case, θ), θ)
    x, q = integrate(case, field)
    value, terminal_back = Zygote.pullback((x, q) -> terminal(case, x, q), x, q)
    x̄, q̄ = terminal_back(one(T))
    h = case.h
    ε, direction = abs(h), sign(h)
    field̄ = nothing
    # A stage's product is taken with its weight in the step, so that the field's cotangent is added up in place.
    function slopes(x, x̄, weight)
        k, l, term = adjoint_slopes(field, x, weight .* x̄, weight .* q̄, direction)
        field̄ = Zygote.accum(field̄, term)
        return k, l ./ weight
    end
    for _ in 1:case.steps
        k₁, l₁ = slopes(x, x̄, ε / 6)
        k₂, l₂ = slopes(combine(x, (-h / 2,), (k₁,)), combine(x̄, (ε / 2,), (l₁,)), ε / 3)
        k₃, l₃ = slopes(combine(x, (-h / 2,), (k₂,)), combine(x̄, (ε / 2,), (l₂,)), ε / 3)
        k₄, l₄ = slopes(combine(x, (-h,), (k₃,)), combine(x̄, (ε,), (l₃,)), ε / 6)
        x = combine(x, (-h / 6, -h / 3, -h / 3, -h / 6), (k₁, k₂, k₃, k₄))
        x̄ = combine(x̄, (ε / 6, ε / 3, ε / 3, ε / 6), (l₁, l₂, l₃, l₄))
    end
    return value, only(field_back(field̄))::Vector{T}
end

# What the extension AdaptiveFlow defines once OrdinaryDiffEqTsit5 is loaded. That may happen while a caller's function is
# running already, hence `invokelatest`.

"x, q and the evaluations of the field, by an adaptive solver."
function adaptive_integrate end
"Value, gradient and the evaluations of the field, by an adaptive solver and its continuous adjoint."
function adaptive_gradient end

integrate(::Library, case::FlowCase, field) = Base.invokelatest(adaptive_integrate, case, field)[1:2]
