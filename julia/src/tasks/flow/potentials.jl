# Other fields, and potentials: how θ, flat and in C order, becomes a field.

using LinearAlgebra: tr

"The field of u(x) = ½ xᵀSx: v = Sx, g = tr S."
struct LinearField{T}
    S::Matrix{T}
    trace::T
end

(field::LinearField)(x) = (matmul(field.S, x), fill(field.trace, size(x, 2)))

"Counts the evaluations of a field."
struct Counted{F}
    field::F
    calls::Base.RefValue{Int}
end

function (counted::Counted)(x)
    counted.calls[] += 1
    return counted.field(x)
end

"u(x) = Σ_j a_j softplus(w_j·x + b_j)."
struct Softplus
    dim::Int
    hidden::Int
end

nparameters(potential::Softplus) = potential.hidden * (potential.dim + 2)

"θ is W (h, d), b (h,), a (h,): its first block, read in column-major order, is Wᵀ."
function make_field(potential::Softplus, θ, scratch)
    d, h = potential.dim, potential.hidden
    Wᵀ = reshape(θ[1:(h * d)], d, h)
    b = θ[(h * d + 1):(h * d + h)]
    a = θ[(h * d + h + 1):(h * d + 2h)]
    return HiddenField(Logistic(), permutedims(Wᵀ), Wᵀ .* a', b, a .* vec(sum(abs2, Wᵀ; dims = 1)), scratch)
end

"u(x) = Σ_j a_j ln cosh(w_j·x), which is even."
struct LogCosh
    dim::Int
    hidden::Int
end

nparameters(potential::LogCosh) = potential.hidden * (potential.dim + 1)

"θ is W (h, d), a (h,)."
function make_field(potential::LogCosh, θ, scratch)
    d, h = potential.dim, potential.hidden
    Wᵀ = reshape(θ[1:(h * d)], d, h)
    a = θ[(h * d + 1):(h * d + h)]
    c = a .* vec(sum(abs2, Wᵀ; dims = 1))
    return HiddenField(HyperbolicTangent(), permutedims(Wᵀ), Wᵀ .* a', zero(a), c, scratch)
end

"u(x) = ½ xᵀSx."
struct Quadratic
    dim::Int
end

nparameters(potential::Quadratic) = potential.dim^2

"θ is A (d, d), and S = (A + Aᵀ)/2 does not care for its order."
function make_field(potential::Quadratic, θ, scratch)
    A = reshape(θ, potential.dim, potential.dim)
    S = (A .+ A') ./ 2
    return LinearField(S, tr(S))
end
