using DiffProgTasks: PackageMissing

const CHAIN = build(
    "eigensolver", "dense", (variant = "spectrum", sites = 3, levels = 2),
    (start = ones(8) ./ sqrt(8), target = [-5.0, -3.0]),
)
const MACHINE = build(
    "qcbm", "reverse", (variant = "gaussian", qubits = 2, depth = 1, kernel = "integer"),
    (target = [0.1, 0.2, 0.3, 0.4], cnots = [0; 1;;], sigmas = [0.25, 4.0]),
)
const GAME = build(
    "qcbm", "reverse", (variant = "adversarial", qubits = 2, depth = 1, hidden = 4),
    (target = [0.1, 0.2, 0.3, 0.4], cnots = [0; 1;;], spins = [-1.0 1 -1 1; -1 -1 1 1]),
)

@testset "operators of $(nameof(typeof(problem))) by every engine" for problem in
    ("--thorough" in ARGS ? (CHAIN, MACHINE, GAME) : (CHAIN, MACHINE))
    rng = Xoshiro(3)
    θ = 0.5 .+ rand(rng, nparameters(problem))
    v = normalize(randn(rng, length(θ)))
    loss, θ̄ = gradient(problem, θ)
    for engine in ("zygote", "forwarddiff")
        found = derive(derivation(problem, "gradient", engine), θ)
        @test first(found) ≈ loss rtol = 1e-13
        @test last(found) ≈ θ̄ rtol = 1e-13
        found = derive(derivation(problem, "hvp", engine), θ, v)
        @test first(found) ≈ loss rtol = 1e-13
        @test last(found) ≈ directional(θ -> last(gradient(problem, θ)), θ, v) rtol = 1e-9
    end
    found = derive(derivation(problem, "jvp", "forwarddiff"), θ, v)
    @test last(found) ≈ dot(θ̄, v) atol = 1e-13 * norm(θ̄)
    @test last(found) isa Float64
end

@testset "what an engine cannot do is told" begin
    @test_throws "forward mode" derivation(CHAIN, "jvp", "zygote")
    @test_throws "circuits alone" derivation(CHAIN, "gradient", "yao")
    @test_throws "reverse mode alone" derivation(MACHINE, "hvp", "yao")
    @test_throws "zygote, forwarddiff" derivation(CHAIN, "gradient", "tapenade")
    @test_throws "gradient, jvp, hvp" derivation(CHAIN, "hessian", "zygote")
    @test occursin("Pkg.add(\"Enzyme\")", sprint(showerror, PackageMissing("Enzyme")))
    @test_throws DimensionMismatch derive(derivation(CHAIN, "jvp", "forwarddiff"), ones(6), ones(5))
end
