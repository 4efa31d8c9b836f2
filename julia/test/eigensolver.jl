function ising(variant; T = Float64, sites = 4, levels = variant == "spectrum" ? 3 : 1, method = "dense", seed = 0)
    rng = Xoshiro(seed)
    θ = 0.5 .+ rand(rng, 2sites)
    start = rand(rng, 2^sites)
    planted = eigen(Symmetric(pauli_chain(0.5 .+ rand(rng, 2sites))))
    target = variant == "spectrum" ? planted.values[1:levels] : planted.vectors[:, 1]
    config = (; variant, size = "test", sites, levels)
    return build("eigensolver", method, config, (start = T.(start), target = T.(target))), T.(θ)
end

"∂H/∂θ_k from Kronecker products; site 0 is the least significant bit, so the last factor."
function pauli_terms(sites)
    X, Z, one = [0.0 1; 1 0], [1.0 0; 0 -1], [1.0 0; 0 1]
    on(σ, site) = kron(reverse([k == site ? σ : one for k in 0:(sites - 1)])...)
    return [[-on(Z, i) * on(Z, (i + 1) % sites) for i in 0:(sites - 1)]; [-on(X, i) for i in 0:(sites - 1)]]
end

pauli_chain(θ) = sum(θ .* pauli_terms(length(θ) ÷ 2))

with_target(problem, target) = build(
    "eigensolver",
    problem.case.method isa DiffProgTasks.DenseEigen ? "dense" : "dominant",
    (
        variant = problem.case.variant isa DiffProgTasks.GroundState ? "ground_state" : "spectrum",
        sites = problem.case.sites,
        levels = problem.case.levels,
    ),
    (start = problem.case.start, target),
)

const SOLVERS = ("dense", "dominant")

@testset "matrix and operator, L = $sites" for sites in 2:5
    rng = Xoshiro(sites)
    θ, v, w = randn(rng, 2sites), randn(rng, 2^sites), randn(rng, 2^sites)
    H = pauli_chain(θ)
    matrix = DiffProgTasks.chain_matrix(θ[1:sites], θ[(sites + 1):end])
    @test matrix ≈ H atol = 1e-15
    halves = DiffProgTasks.Halves(θ)
    @test DiffProgTasks.apply(halves, v) ≈ H * v atol = 1e-14
    slope = [w' * term * v for term in pauli_terms(sites)]
    for make in (DiffProgTasks.DenseEigen(), DiffProgTasks.DominantEigen())
        hamiltonian, back = DiffProgTasks.Zygote.pullback(θ -> DiffProgTasks.make_hamiltonian(make, θ), θ)
        @test only(back(DiffProgTasks.Zygote.wrap_chainrules_output(DiffProgTasks.cotangent(hamiltonian, w, v)))) ≈
            slope rtol = 1e-13
    end
end

@testset "free fermions, L = $sites, $method" for (sites, E₀) in
    ((4, -5.2262518595), (6, -7.7274066103), (8, -10.2516617910)),
    method in SOLVERS

    problem, _ = ising("ground_state"; sites, method)
    out = outputs(problem, ones(2sites))
    @test out.energies[1] ≈ -2 / sin(π / 2sites) rtol = 1e-13
    @test out.energies[1] ≈ E₀ atol = 1e-10
    @test only(out.gap) ≈ 2 * tan(π / 4sites) atol = 1e-12
end

@testset "all levels, degenerate or not, $method" for method in SOLVERS
    problem, θ = ising("spectrum"; method, levels = 4)
    for θ in (θ, ones(8), [zeros(4); ones(4)], [ones(4); zeros(4)], θ .* repeat([1, -1], 4))
        @test outputs(problem, θ).energies ≈ eigvals(Symmetric(pauli_chain(θ)))[1:5] atol = 1e-13
    end
end

@testset "Hellmann-Feynman, $method" for method in SOLVERS
    problem, θ = ising("spectrum"; method, levels = 1)
    state, _ = ising("ground_state"; method)
    E, v = outputs(state, θ).energies[1], outputs(state, θ).state
    _, θ̄ = gradient(problem, θ)
    @test θ̄ ./ 2(E - problem.case.target[1]) ≈ [v' * term * v for term in pauli_terms(4)] atol = 1e-12
end

@testset "two sites are a two-level system, $method" for method in SOLVERS
    problem, θ = ising("ground_state"; sites = 2, method)
    φ = 0.3
    even = [1 0; 0 1; 0 1; 1 0] / √2
    problem = with_target(problem, even * [cos(φ / 2), sin(φ / 2)])
    J, h = θ[1] + θ[2], θ[3] + θ[4]
    turn = (atan(h, J) - φ) / 2
    loss, θ̄ = gradient(problem, θ)
    @test loss ≈ 1 - cos(turn) atol = 1e-15
    @test θ̄ ≈ sin(turn) / 2 / (J^2 + h^2) .* [-h, -h, J, J] atol = 1e-15
end

@testset "methods agree, Euler, $variant, L = $sites" for variant in ("ground_state", "spectrum"), sites in (3, 4, 7)
    dense, θ = ising(variant; sites)
    dominant, _ = ising(variant; sites, method = "dominant")
    (l₁, g₁), (l₂, g₂) = gradient(dense, θ), gradient(dominant, θ)
    @test l₁ ≈ l₂ rtol = 1e-12
    @test l₁ ≈ value(dense, θ) && l₂ ≈ value(dominant, θ)
    @test relative_error(g₂, g₁) < 1e-12
    if variant == "ground_state"
        @test abs(dot(θ, g₁)) < 1e-14 && abs(dot(θ, g₂)) < 1e-14
    end
end

@testset "finite differences, $variant, $method" for variant in ("ground_state", "spectrum"), method in SOLVERS
    problem, θ = ising(variant; method)
    @test agrees_with_differences(problem, θ; rtol = 1e-8)
end

@testset "degenerate excited levels, J = $J, $method" for J in (0.0, 0.1, 1.0), method in SOLVERS
    problem, _ = ising("ground_state"; method)
    @test agrees_with_differences(problem, [fill(J, 4); ones(4)]; rtol = 1e-8)
end

@testset "no derivative, no answer, $method" for method in SOLVERS
    problem, _ = ising("ground_state"; method)
    @test all(isnan, last(gradient(problem, [ones(4); zeros(4)])))
    problem, _ = ising("spectrum"; method, levels = 4)
    loss, θ̄ = gradient(problem, ones(8))
    @test isnan(loss) && all(isnan, θ̄)
end

@testset "no gradient where the target is met, $variant, $method" for variant in ("ground_state", "spectrum"),
    method in SOLVERS

    problem, θ = ising(variant; method)
    out = outputs(problem, θ)
    met = with_target(problem, variant == "spectrum" ? out.energies[1:3] : out.state)
    loss, θ̄ = gradient(met, θ)
    @test abs(loss) < 1e-14
    @test maximum(abs, θ̄) < 1e-13
end

@testset "sixteen sites without a matrix" begin
    rng = Xoshiro(3)
    start, target = rand(rng, 2^16), normalize(rand(rng, 2^16))
    config = (variant = "ground_state", sites = 16, levels = 1)
    problem = build("eigensolver", "dominant", config, (; start, target))
    @test outputs(problem, ones(32)).energies[1] ≈ -2 / sin(π / 32) rtol = 1e-13
    θ = 0.5 .+ rand(rng, 32)
    loss, θ̄ = gradient(problem, θ)
    @test abs(dot(θ, θ̄)) < 1e-13
    u = normalize(randn(rng, 32))
    @test dot(θ̄, u) ≈ directional(θ -> value(problem, θ), θ, u; h = 1e-2) atol = 1e-8
end

@testset "a matrix that does not fit is refused" begin
    config = (variant = "ground_state", sites = 14, levels = 1)
    @test_throws "14 sites has 2 GiB, and dense goes up to 12 sites" build(
        "eigensolver", "dense", config, (start = zeros(2), target = zeros(2))
    )
end

@testset "outputs and work, $method" for method in SOLVERS
    problem, θ = ising("ground_state"; method)
    out = outputs(problem, θ)
    @test 1 - only(out.overlap) ≈ value(problem, θ) atol = 1e-15
    @test dot(out.state, problem.case.target) ≈ only(out.overlap)
    @test haskey(out, :applications) == (method == "dominant")
    @test work(problem, θ) === (parameters = 8, matrix_size = 16, bonds = 4, fields = 4)
    @test nparameters(problem) == 8
end

@testset "precision $T, $variant, $method" for T in (Float64, Float32),
    variant in ("ground_state", "spectrum"),
    method in SOLVERS

    problem, θ = ising(variant; T, method)
    @test value(problem, θ) isa T
    loss, θ̄ = gradient(problem, θ)
    @test loss isa T && θ̄ isa Vector{T}
    @test all(x -> eltype(x) in (T, Int), outputs(problem, θ))
    reference, _ = ising(variant)
    @test relative_error(θ̄, last(gradient(reference, Float64.(θ)))) < 1000 * eps(T)
    @test_throws ArgumentError value(problem, T === Float32 ? Float64.(θ) : Float32.(θ))
    @test_throws DimensionMismatch gradient(problem, θ[2:end])
end

@testset "unknown names" begin
    @test_throws "there are: ground_state, spectrum" build(
        "eigensolver", "dense", (variant = "state", sites = 2, levels = 1), (start = zeros(4), target = zeros(4))
    )
    @test_throws "there are: dense, dominant" ising("spectrum"; method = "sparse")
    @test_throws DimensionMismatch with_target(first(ising("ground_state")), zeros(3))
end
