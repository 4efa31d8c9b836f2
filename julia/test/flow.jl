const FLOW = ("density", "quadratic", "ising", "ring", "correlated")
const RK4_METHODS = ("discrete", "checkpointed", "backsolve")
const HAS_SOLVER = Base.locate_package(DiffProgTasks.SOLVER) !== nothing

function flow_case(
    variant; T = Float64, d = variant in ("ring", "correlated") ? 2 : 3, h = 5, steps = 6, time = 1.5, batch = 7,
    method = "discrete", seed = 0, rtol = 1e-10,
)
    rng = Xoshiro(seed)
    x, log_jacobian, root = randn(rng, d, batch), randn(rng, batch), randn(rng, d, d)
    P = variant == "density" ? h * (d + 2) : variant == "quadratic" ? d^2 : h * (d + 1)
    θ = randn(rng, P) ./ (variant == "quadratic" ? 2time : 1)
    config = (; variant, size = "test", dim = d, hidden = h, steps, time, batch, source = "normal", rtol)
    data = (data = T.(x), log_jacobian = T.(log_jacobian), inverse_coupling = T.(root * root' / d + I))
    return build("flow", method, config, data), T.(θ)
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
    field = DiffProgTasks.make_field(problem.case, θ)
    x = [0.3, -0.7]
    v, g = field(reshape(x, 2, 1))
    e = ([1.0, 0.0], [0.0, 1.0])
    @test vec(v) ≈ [directional(u, x, eᵢ) for eᵢ in e] rtol = 1e-9
    @test only(g) ≈ sum(directional(y -> directional(u, y, eᵢ), x, eᵢ) for eᵢ in e) rtol = 1e-7
end

@testset "the field of ln cosh is the gradient of u, its divergence the Laplacian" begin
    problem, θ = flow_case("ring"; h = 4)
    Wᵀ, a = reshape(θ[1:8], 2, 4), θ[9:12]
    u(x) = sum(a .* log.(cosh.(Wᵀ' * x)))
    field = DiffProgTasks.make_field(problem.case, θ)
    x = [0.3, -0.7]
    v, g = field(reshape(x, 2, 1))
    e = ([1.0, 0.0], [0.0, 1.0])
    @test vec(v) ≈ [directional(u, x, eᵢ) for eᵢ in e] rtol = 1e-9
    @test only(g) ≈ sum(directional(y -> directional(u, y, eᵢ), x, eᵢ) for eᵢ in e) rtol = 1e-7
end

@testset "finite differences, $variant, $method" for variant in FLOW, method in ("discrete", "checkpointed")
    problem, θ = flow_case(variant; method)
    @test agrees_with_differences(problem, θ; rtol = 1e-8)
end

@testset "discrete and checkpointed, $variant" for variant in FLOW
    discrete, θ = flow_case(variant)
    checkpointed, _ = flow_case(variant; method = "checkpointed")
    (l₁, g₁), (l₂, g₂) = gradient(discrete, θ), gradient(checkpointed, θ)
    @test l₁ == l₂ == value(discrete, θ) == value(checkpointed, θ)
    @test relative_error(g₁, g₂) < 1e-15
    @test last(gradient(discrete, θ)) == g₁ # the buffers that are used again leave nothing behind
end

@testset "backsolve is off by the fourth power of the step, $variant" for variant in FLOW
    errors = map((32, 64)) do steps
        discrete, θ = flow_case(variant; steps)
        backsolve, _ = flow_case(variant; steps, method = "backsolve")
        (l₁, g₁), (l₂, g₂) = gradient(discrete, θ), gradient(backsolve, θ)
        @test l₁ == l₂
        relative_error(g₂, g₁)
    end
    @test 12 < errors[1] / errors[2] < 24
end

if HAS_SOLVER
    @testset "the adaptive solver is what RK4 converges to, $variant" for variant in FLOW
        discrete, θ = flow_case(variant; steps = 400)
        library, _ = flow_case(variant; method = "library", rtol = 1e-11)
        (l₁, g₁), (l₂, g₂) = gradient(discrete, θ), gradient(library, θ)
        @test l₂ ≈ l₁ rtol = 1e-8
        @test relative_error(g₂, g₁) < 1e-8
        counts = work(library, θ)
        @test counts.parameters == length(θ)
        @test 0 < counts.adaptive_evaluations < counts.adaptive_evaluations_gradient
        @test made_with(library) == "OrdinaryDiffEqTsit5"
    end
else
    @testset "the adaptive solver is not installed" begin
        @test_throws "Pkg.add(\"OrdinaryDiffEqTsit5\")" flow_case("density"; method = "library")
    end
end

@testset "the rules of a field with hidden units, $act" for act in
                                                            (DiffProgTasks.Logistic(), DiffProgTasks.HyperbolicTangent())
    rng = Xoshiro(2)
    parts, x = (randn(rng, 4, 3), randn(rng, 3, 4), randn(rng, 4), randn(rng, 4)), randn(rng, 3, 2)
    v̄, ḡ = randn(rng, 3, 2), randn(rng, 2)
    call(W, V, b, c, x) = DiffProgTasks.HiddenField(act, W, V, b, c, Matrix{Float64}[])(x)
    function thrice(W, V, b, c, x) # terms are added up
        field = DiffProgTasks.HiddenField(act, W, V, b, c, Matrix{Float64}[])
        (v₁, g₁), (v₂, g₂) = field(x), field(x)
        return v₁ .+ 2 .* v₂, g₁ .+ 2 .* g₂
    end
    _, back = DiffProgTasks.Zygote.pullback(thrice, parts..., x)
    arguments = (parts..., x)
    for (k, x̄) in enumerate(back((v̄, ḡ)))
        u = randn(rng, size(x̄))
        f(t) = begin
            v, g = call(ntuple(i -> i == k ? arguments[i] + t * u : arguments[i], 5)...)
            3 * (dot(v̄, v) + dot(ḡ, g))
        end
        @test dot(x̄, u) ≈ directional(f, 0.0, 1.0) rtol = 1e-8
    end
end

@testset "a pullback that is called twice is refused" begin
    problem, θ = flow_case("density")
    field = DiffProgTasks.make_field(problem.case, θ)
    (v, g), back = DiffProgTasks.Zygote.pullback((field, x) -> field(x), field, problem.case.x)
    back((v, g))
    @test_throws "once only" back((v, g))
end

@testset "activations at the ends of the range" begin
    ends(act) = begin
        z = [-1e4 0.0 1e4;]
        g = DiffProgTasks.activate!(act, z, [0.0], [1.0])
        z, g
    end
    @test ends(DiffProgTasks.Logistic()) == ([0.0 0.5 1.0], [0.0, 0.25, 0.0])
    @test ends(DiffProgTasks.HyperbolicTangent()) == ([-1.0 0.0 1.0], [0.0, 1.0, 0.0])
end

@testset "targets" begin
    x = [0.3 -1.2; 2.0 0.4]
    K⁻¹ = [1.0 0.2; 0.2 0.7]
    targets = (
        DiffProgTasks.IsingDual(K⁻¹) => y -> -dot(y, K⁻¹ * y) / 2 + sum(log ∘ cosh, y),
        DiffProgTasks.Ring() => y -> -(norm(y) - 2)^2 / 0.32,
        DiffProgTasks.Correlated() => y -> -y[1]^2 - y[2]^2 - y[1] * y[2] / 2,
    )
    for (target, plain) in targets
        @test DiffProgTasks.log_target(target, x) ≈ map(plain, eachcol(x)) rtol = 1e-14
    end
    @test DiffProgTasks.log_cosh(1e4) == 1e4 - log(2)
end

@testset "outputs and work" begin
    problem, θ = flow_case("density")
    out = outputs(problem, θ)
    @test size(out.latent) == (3, 7)
    @test value(problem, θ) ≈ -sum(out.log_density) / 7
    @test only(out.bits_per_dim) ≈ -sum(out.log_density + problem.case.goal.log_jacobian) / 7 / (3 * log(2))
    @test work(problem, θ) === (parameters = 25, rhs_evaluations = 24, steps = 6)
    @test made_with(problem) == "Zygote"
    @test nparameters(problem) == 25
end

@testset "outputs of the free energy, $variant" for variant in ("ising", "ring", "correlated")
    problem, θ = flow_case(variant)
    out = outputs(problem, θ)
    @test size(out.samples) == size(problem.case.x)
    @test value(problem, θ) ≈ sum(out.free_energy) / 7
    @test out.log_density .- DiffProgTasks.log_target(problem.case.goal.target, out.samples) ≈ out.free_energy
    @test variant != "ising" || only(out.free_energy_per_site) ≈ value(problem, θ) / 3
    even = DiffProgTasks.FlowCase(
        problem.case.potential, problem.case.method, problem.case.goal, -problem.case.x, problem.case.h, 6,
        problem.case.scratch,
    )
    @test DiffProgTasks.loss(θ, even) ≈ value(problem, θ) # z and −z are worth the same
end

@testset "precision $T, $variant, $method" for T in (Float64, Float32),
    variant in FLOW,
    method in RK4_METHODS

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
    @test_throws "there are: density, quadratic, ising, ring, correlated" flow_case("densities")
    @test_throws "there are: discrete, checkpointed, backsolve, library" flow_case("density"; method = "symplectic")
end

@testset "a sample at the origin has no share in the gradient of ring, $method" for method in RK4_METHODS
    config = (; variant = "ring", size = "test", dim = 2, hidden = 4, steps = 6, time = 1.5, batch = 3, source = "normal", rtol = 1e-10)
    data(x) = (data = x, log_jacobian = zeros(size(x, 2)), inverse_coupling = Matrix(1.0I, 2, 2))
    x, θ = [0.4 0.0 -1.2; 0.9 0.0 0.3], randn(Xoshiro(5), 12)
    _, θ̄ = gradient(build("flow", method, config, data(x)), θ)
    parts = [last(gradient(build("flow", method, (; config..., batch = 1), data(x[:, [i]])), θ)) for i in 1:3]
    @test all(isfinite, θ̄)
    @test θ̄ ≈ sum(parts) ./ 3 rtol = 1e-12
end
