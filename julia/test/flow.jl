function flow_case(variant; T = Float64, d = 3, h = 5, steps = 6, time = 1.5, batch = 7, method = "discrete", seed = 0)
    rng = Xoshiro(seed)
    x, log_jacobian = randn(rng, d, batch), randn(rng, batch)
    P = variant == "density" ? h * (d + 2) : d^2
    θ = randn(rng, P) ./ (variant == "density" ? 1 : 2time)
    config = (; variant, size = "test", dim = d, hidden = h, steps, time, batch, source = "normal")
    return build("flow", method, config, (data = T.(x), log_jacobian = T.(log_jacobian))), T.(θ)
end

"""
The exact value and gradient for the quadratic potential: a step multiplies x by R(−εS), R(z) = 1 + z + z²/2 + z³/6 + z⁴/24.
The gradient is written with divided differences of λ ↦ R(−ελ)²ᴺ on the spectrum of S (Daleckii-Krein).
"""
function exact_quadratic(A, x, steps, time)
    d, batch = size(x)
    ε = time / steps
    λ, Q = eigen(Symmetric((A + A') / 2))
    z = -ε .* λ
    R = @. 1 + z + z^2 / 2 + z^3 / 6 + z^4 / 24
    moments = Q' * x * x' * Q ./ batch
    value = time * sum(λ) + dot(R .^ 2steps, diag(moments)) / 2 + d / 2 * log(2π)
    y, w = z, z'
    slope = @. 1 + (y + w) / 2 + (y^2 + y * w + w^2) / 6 + (y^3 + y^2 * w + y * w^2 + w^3) / 24
    powers = R .^ (0:(2steps - 1))'
    divided = -ε .* slope .* (powers * reverse(powers; dims = 2)')
    return value, vec(Q * (divided .* moments ./ 2) * Q' + time * I)
end

"The loss of the density variant from u itself, one sample and one loop at a time, in plain scalars."
function plain_density(θ, x, h, steps, time)
    d, batch = size(x)
    W = [θ[(j - 1) * d + i] for j in 1:h, i in 1:d]
    b, a = θ[(h * d + 1):(h * d + h)], θ[(h * d + h + 1):end]
    σ(z) = 1 / (1 + exp(-z))
    v(x) = sum(a[j] * σ(dot(W[j, :], x) + b[j]) * W[j, :] for j in 1:h)
    g(x) = sum(a[j] * σ(dot(W[j, :], x) + b[j]) * σ(-dot(W[j, :], x) - b[j]) * sum(abs2, W[j, :]) for j in 1:h)
    ε = time / steps
    return sum(1:batch) do k
        y, q = x[:, k], 0.0
        for _ in 1:steps
            y₂ = y - ε / 2 * v(y)
            y₃ = y - ε / 2 * v(y₂)
            y₄ = y - ε * v(y₃)
            q += ε / 6 * (g(y) + 2 * g(y₂) + 2 * g(y₃) + g(y₄))
            y -= ε / 6 * (v(y) + 2 * v(y₂) + 2 * v(y₃) + v(y₄))
        end
        q + sum(abs2, y) / 2 + d / 2 * log(2π)
    end / batch
end

@testset "quadratic potential, closed form, d = $d" for d in (1, 2, 5)
    problem, θ = flow_case("quadratic"; d, steps = 20)
    exact, θ̄ = exact_quadratic(reshape(θ, d, d), problem.case.x, 20, 1.5)
    @test value(problem, θ) ≈ exact rtol = 1e-13
    loss, gradient_of_loss = gradient(problem, θ)
    @test loss ≈ exact rtol = 1e-13
    @test relative_error(gradient_of_loss, θ̄) < 1e-13
end

@testset "density from the definition of u" begin
    problem, θ = flow_case("density")
    @test value(problem, θ) ≈ plain_density(θ, problem.case.x, 5, 6, 1.5) rtol = 1e-13
end

@testset "the field is the gradient of u, its divergence the Laplacian" begin
    problem, θ = flow_case("density"; d = 2, h = 4)
    Wᵀ, b, a = reshape(θ[1:8], 2, 4), θ[9:12], θ[13:16]
    u(x) = sum(a .* log1p.(exp.(Wᵀ' * x .+ b)))
    field = DiffProgTasks.make_field(problem.case.variant, θ)
    x = [0.3, -0.7]
    v, g = field(reshape(x, 2, 1))
    e = ([1.0, 0.0], [0.0, 1.0])
    @test vec(v) ≈ [directional(u, x, eᵢ) for eᵢ in e] rtol = 1e-9
    @test only(g) ≈ sum(directional(y -> directional(u, y, eᵢ), x, eᵢ) for eᵢ in e) rtol = 1e-7
end

@testset "finite differences, $variant, $method" for variant in ("density", "quadratic"),
    method in ("discrete", "checkpointed")

    problem, θ = flow_case(variant; method)
    @test agrees_with_differences(problem, θ; rtol = 1e-9)
end

@testset "discrete and checkpointed, $variant" for variant in ("density", "quadratic")
    discrete, θ = flow_case(variant)
    checkpointed, _ = flow_case(variant; method = "checkpointed")
    (l₁, g₁), (l₂, g₂) = gradient(discrete, θ), gradient(checkpointed, θ)
    @test l₁ == l₂ == value(discrete, θ) == value(checkpointed, θ)
    @test relative_error(g₁, g₂) < 1e-15
end

@testset "the rule of activate" begin
    rng = Xoshiro(2)
    z, b, c = randn(rng, 4, 3), randn(rng, 4), randn(rng, 4)
    s̄, ḡ = randn(rng, 4, 3), randn(rng, 3)
    _, back = DiffProgTasks.Zygote.pullback(DiffProgTasks.activate, z, b, c)
    for (k, x̄) in enumerate(back((s̄, ḡ)))
        u = randn(rng, size(x̄))
        f(t) = begin
            s, g = DiffProgTasks.activate(ntuple(i -> i == k ? (z, b, c)[i] + t * u : (z, b, c)[i], 3)...)
            dot(s̄, s) + dot(ḡ, g)
        end
        @test dot(x̄, u) ≈ directional(f, 0.0, 1.0) rtol = 1e-9
    end
    extreme, _ = DiffProgTasks.activate([-1e4 1e4;], [0.0], [1.0])
    @test extreme == [0.0 1.0]
end

@testset "outputs and work" begin
    problem, θ = flow_case("density")
    out = outputs(problem, θ)
    @test size(out.latent) == (3, 7)
    @test value(problem, θ) ≈ -sum(out.log_density) / 7
    @test only(out.bits_per_dim) ≈ -sum(out.log_density + problem.log_jacobian) / 7 / (3 * log(2))
    @test work(problem, θ) === (parameters = 25, rhs_evaluations = 24, steps = 6)
    @test engine(problem) == "Zygote"
    @test nparameters(problem) == 25
end

@testset "precision $T, $variant, $method" for T in (Float64, Float32),
    variant in ("density", "quadratic"),
    method in ("discrete", "checkpointed")

    problem, θ = flow_case(variant; T, method)
    @test (@inferred value(problem, θ)) isa T
    loss, θ̄ = gradient(problem, θ)
    @test loss isa T && θ̄ isa Vector{T}
    @test all(x -> eltype(x) === T, outputs(problem, θ))
    reference, _ = flow_case(variant; method)
    @test relative_error(θ̄, last(gradient(reference, Float64.(θ)))) < 100 * eps(T)
    @test_throws ArgumentError value(problem, T === Float32 ? Float64.(θ) : Float32.(θ))
    @test_throws DimensionMismatch gradient(problem, θ[2:end])
end

@testset "unknown names" begin
    @test_throws "there are: density, quadratic" flow_case("densities")
    @test_throws "there are: discrete, checkpointed" flow_case("density"; method = "backsolve")
end
