# The Monge-Ampère flow (Zhang, E, Wang, arXiv:1809.10188), as one would write it in Julia: u(x) = Σ_j a_j softplus(w_j·x + b_j),
# ẋ = ∇u, d ln p/dt = −∇²u, integrated backwards from the data to the noise by classic RK4.

const STEPS, STEP = 10, 0.1

"The velocity ∇u (d × B) and its divergence (B,) at `x`, for θ = (W (d × h), b (h,), a (h,))."
function field(θ, x)
    d = size(x, 1)
    h = length(θ) ÷ (d + 2)
    W, b, a = reshape(θ[1:(d * h)], d, h), θ[(d * h + 1):(d * h + h)], θ[(d * h + h + 1):end]
    s = 1 ./ (1 .+ exp.(-(W' * x .+ b)))
    return W * (a .* s), vec(sum(a .* vec(sum(abs2, W; dims = 1)) .* s .* (1 .- s); dims = 1))
end

"Noise z (d × B) and ln p (B,) of data `x` (d × B)."
function flow(θ, x)
    q = zeros(eltype(x), size(x, 2))
    for _ in 1:STEPS
        k₁, g₁ = field(θ, x)
        k₂, g₂ = field(θ, x .- STEP / 2 .* k₁)
        k₃, g₃ = field(θ, x .- STEP / 2 .* k₂)
        k₄, g₄ = field(θ, x .- STEP .* k₃)
        x = x .- STEP / 6 .* (k₁ .+ 2 .* k₂ .+ 2 .* k₃ .+ k₄)
        q = q .+ STEP / 6 .* (g₁ .+ 2 .* g₂ .+ 2 .* g₃ .+ g₄)
    end
    return x, -q .- vec(sum(abs2, x; dims = 1)) ./ 2 .- size(x, 1) / 2 * log(2π)
end
