# Targets of the variational free energy: unnormalised densities π̃.

"The continuous dual of the Ising model, ln π̃ = −½ xᵀK′⁻¹x + Σ ln cosh xᵢ, given K′⁻¹."
struct IsingDual{T}
    inverse_coupling::Matrix{T}
end

IsingDual(data::NamedTuple) = IsingDual(data.inverse_coupling)

"ln cosh x without overflow."
log_cosh(x::T) where {T} = abs(x) + log1p(exp(-2 * abs(x))) - log(oftype(x, 2))

"""
    log_target(target, x) -> (B,)

ln π̃ in nats.
"""
log_target(target::IsingDual, x) = vec(sum(log_cosh.(x) .- x .* matmul(target.inverse_coupling, x) ./ 2; dims = 1))

"√s, with derivative 0 at 0: |x| has none there, but noise that lies at the origin stays there, whatever θ is."
flat_sqrt(s) = primal(s) > 0 ? sqrt(s) : zero(s)  # dual numbers of equal value compare by their derivatives

"ln π̃ = −(|x| − 2)²/0.32."
struct Ring end
log_target(::Ring, x::AbstractMatrix{T}) where {T} =
    vec(-(flat_sqrt.(sum(abs2, x; dims = 1)) .- 2) .^ 2 ./ convert(T, 0.32))

"ln π̃ = −x² − y² − ½xy."
struct Correlated end
log_target(::Correlated, x) = .-vec(sum(abs2, x; dims = 1)) .- x[1, :] .* x[2, :] ./ 2
