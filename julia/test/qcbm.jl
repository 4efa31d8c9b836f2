const METHODS = ("reverse", "adjoint", "parameter_shift")
const RING = [0 2 1 3; 1 3 2 0]

function born_machine(; T = Float64, n = 4, depth = 3, cnots = RING, kernel = "integer", method = "reverse", target = nothing)
    variant = kernel == "integer" ? "gaussian" : "bars_and_stripes"
    config = (; variant, size = "test", qubits = n, depth, kernel)
    target = something(target, normalize(rand(Xoshiro(7), 2^n), 1))
    problem = build("qcbm", method, config, (target = T.(target), cnots, sigmas = T[0.25, 4]))
    return problem, 2 .* T(π) .* rand(Xoshiro(8), T, nparameters(problem))
end

no_cnots() = zeros(Int, 2, 0)

"p from dense 2ⁿ × 2ⁿ matrices, straight from the definition of the circuit."
function dense_distribution(θ, n, depth, cnots)
    X, Z, one = [0 1; 1 0], [1 0; 0 -1], [1 0; 0 1]
    rotation(σ, t) = cos(t / 2) * one - im * sin(t / 2) * σ
    # Qubit 0 is the least significant bit, so it is the last factor of the Kronecker product.
    embed(matrix, qubit) = kron(reverse([k == qubit ? matrix : one for k in 0:(n - 1)])...)
    flip(control, target) =
        [y == x ⊻ ((x >> control & 1) << target) ? 1 : 0 for y in 0:(2^n - 1), x in 0:(2^n - 1)]
    angles = Iterators.Stateful(θ)
    ψ = ComplexF64[k == 1 for k in 1:(2^n)]
    for layer in 0:depth
        for qubit in 0:(n - 1), (gate, σ) in enumerate((Z, X, Z))
            (layer, gate) in ((0, 1), (depth, 3)) && continue
            ψ = embed(rotation(σ, popfirst!(angles)), qubit) * ψ
        end
        layer < depth && for (control, target) in eachcol(cnots)
            ψ = flip(control, target) * ψ
        end
    end
    @assert isempty(angles)
    return abs2.(ψ)
end

@testset "distribution from the definition, n = $n, depth = $depth" for (n, depth, cnots) in
    ((2, 2, [0; 1;;]), (3, 1, [2 0 1; 0 1 2]), (4, 3, RING))

    problem, θ = born_machine(; n, depth, cnots)
    @test length(θ) == (3depth + 1) * n
    p = outputs(problem, θ).distribution
    @test p ≈ dense_distribution(θ, n, depth, cnots) atol = 1e-15
    @test sum(p) ≈ 1 rtol = 1e-14
end

@testset "one qubit: p₁ = sin²(θ/2), θ = $t" for t in (0.0, 0.3, 2.0, 5.0)
    target = [0.75, 0.25]
    problem, _ = born_machine(; n = 1, depth = 0, cnots = no_cnots(), target)
    p₁ = sin(t / 2)^2
    @test outputs(problem, [t]).distribution ≈ [1 - p₁, p₁] atol = 1e-15
    K₀, K₁ = 2.0, exp(-2) + exp(-1 / 8)
    loss, θ̄ = gradient(problem, [t])
    @test loss ≈ 2 * (p₁ - 0.25)^2 * (K₀ - K₁) atol = 1e-15
    @test only(θ̄) ≈ 2 * (p₁ - 0.25) * (K₀ - K₁) * sin(t) atol = 1e-15
    # The last rotation turns about the same axis as the first.
    deeper, _ = born_machine(; n = 1, depth = 1, cnots = no_cnots(), target)
    @test outputs(deeper, [t, 0, 0, 0.4]).distribution[2] ≈ sin((t + 0.4) / 2)^2 atol = 1e-15
end

@testset "methods agree, $kernel" for kernel in ("integer", "hamming")
    gradients = map(METHODS) do method
        problem, θ = born_machine(; kernel, method)
        loss, θ̄ = gradient(problem, θ)
        @test loss == value(problem, θ)
        θ̄
    end
    @test maximum(abs, gradients[1] - gradients[2]) < 1e-14
    @test maximum(abs, gradients[1] - gradients[3]) < 1e-14
end

@testset "finite differences, $kernel, $method" for kernel in ("integer", "hamming"), method in METHODS
    problem, θ = born_machine(; kernel, method)
    @test agrees_with_differences(problem, θ; rtol = 1e-8)
end

@testset "loss and p" begin
    problem, θ = born_machine()
    q = outputs(problem, θ).distribution - problem.target
    K = [exp(-2abs2(x - y)) + exp(-abs2(x - y) / 8) for x in 0:15, y in 0:15]
    @test value(problem, θ) ≈ q' * K * q rtol = 1e-14
    for k in eachindex(θ)
        shift = [j == k ? π / 2 : 0.0 for j in eachindex(θ)]
        ∂p = (outputs(problem, θ + shift).distribution - outputs(problem, θ - shift).distribution) / 2
        @test abs(sum(∂p)) < 1e-15
    end
end

@testset "no gradient where p = π, $method" for method in METHODS
    problem, θ = born_machine(; method)
    p = outputs(problem, θ).distribution
    matched, _ = born_machine(; method, target = p)
    loss, θ̄ = gradient(matched, θ)
    @test loss < 1e-30
    @test maximum(abs, θ̄) < 1e-15
end

@testset "a call leaves nothing behind, $method" for method in METHODS
    problem, θ = born_machine(; method)
    first_answer = gradient(problem, θ)
    gradient(problem, θ .+ 1)
    @test gradient(problem, θ) == first_answer
    @test value(problem, θ) == first(first_answer)
end

@testset "the order of the CNOTs matters" begin
    right, θ = born_machine()
    wrong, _ = born_machine(; cnots = reverse(RING; dims = 2))
    @test relative_error(last(gradient(wrong, θ)), last(gradient(right, θ))) > 1e-2
end

@testset "work" begin
    problem, θ = born_machine()
    @test work(problem, θ) === (parameters = 40, rotations = 40, cnots = 12, layers = 4, qubits = 4)
    @test made_with.(first.((born_machine(; method) for method in METHODS))) == ["Yao", "Yao blocks, own sweep", "Yao"]
end

@testset "precision $T, $method, $kernel" for T in (Float64, Float32), method in METHODS, kernel in ("integer", "hamming")
    problem, θ = born_machine(; T, method, kernel)
    @test (@inferred value(problem, θ)) isa T
    loss, θ̄ = @inferred gradient(problem, θ)
    @test loss isa T && θ̄ isa Vector{T}
    @test outputs(problem, θ).distribution isa Vector{T}
    reference, _ = born_machine(; method, kernel)
    @test relative_error(θ̄, last(gradient(reference, Float64.(θ)))) < 300 * eps(T)
    @test_throws ArgumentError value(problem, T === Float32 ? Float64.(θ) : Float32.(θ))
    @test_throws DimensionMismatch gradient(problem, θ[2:end])
end

# Against a discriminator

bits(n) = [x >> qubit & 1 == 1 ? 1.0 : -1.0 for qubit in 0:(n - 1), x in 0:(2^n - 1)]

function adversary(; T = Float64, n = 4, depth = 3, cnots = RING, method = "reverse", target = nothing, spins = bits(n))
    config = (; variant = "adversarial", size = "test", qubits = n, depth, hidden = 2n, kernel = "")
    target = something(target, normalize(rand(Xoshiro(7), 2^n), 1))
    problem = build("qcbm", method, config, (target = T.(target), cnots, spins = T.(spins)))
    angles = (3depth + 1) * n
    return problem, T.([2π .* rand(Xoshiro(8), angles); randn(Xoshiro(9), nparameters(problem) - angles) ./ 2])
end

"W₁ (2n × n, a row a unit), b₁, W₂, b₂ of a vector in C order."
function discriminator(weights, n)
    W₁ = permutedims(reshape(weights[1:(2n^2)], n, 2n))
    return W₁, weights[(2n^2) .+ (1:(2n))], weights[(2n^2 + 2n) .+ (1:(2n))], weights[end]
end

"A discriminator that says the same of all x."
function pinned(θ, n, logit)
    θ = copy(θ)
    θ[(end - 2n):(end - 1)] .= 0
    θ[end] = logit
    return θ
end

@testset "the game from its definition" begin
    problem, θ = adversary()
    p = dense_distribution(θ[1:40], 4, 3, RING)
    W₁, b₁, W₂, b₂ = discriminator(θ[41:end], 4)
    D = [1 / (1 + exp(-(dot(W₂, tanh.(W₁ * x .+ b₁)) + b₂))) for x in eachcol(bits(4))]
    target = problem.discriminator.target
    @test value(problem, θ) ≈ dot(target, log.(D)) + dot(p, log.(1 .- D)) rtol = 1e-14
    @test outputs(problem, θ).distribution ≈ p atol = 1e-15
    @test outputs(problem, θ).discriminator ≈ D rtol = 1e-14
    @test work(problem, θ) ===
        (parameters = 89, rotations = 40, cnots = 12, layers = 4, qubits = 4, activations = 128)
    @test made_with(problem) == "Yao"
end

@testset "one that cannot tell: L = −2 ln 2 and no force on the circuit, $method" for method in METHODS
    problem, θ = adversary(; method)
    loss, θ̄ = gradient(problem, pinned(θ, 4, 0.0))
    @test loss ≈ -2log(2) rtol = 1e-15
    @test maximum(abs, θ̄[1:40]) < 1e-15
    W₁, b₁, _, _ = discriminator(θ[41:end], 4)
    π₋p = problem.discriminator.target .- outputs(problem, θ).distribution
    @test θ̄[(end - 8):(end - 1)] ≈ tanh.(W₁ * bits(4) .+ b₁) * π₋p ./ 2 atol = 1e-15
end

@testset "the best discriminator measures the divergence of Jensen and Shannon, $method" for method in METHODS
    target, t = [0.8, 0.2], 0.8
    p = [cos(t / 2)^2, sin(t / 2)^2]
    problem, _ = adversary(; n = 1, depth = 0, cnots = no_cnots(), target, method)
    low, high = log.(target ./ p)
    θ = [t; 1; 0; 0; 0; (high - low) / 2tanh(1); 0; (high + low) / 2]  # of two hidden units one does nothing
    entropy(p) = -sum(p .* log.(p))
    loss, θ̄ = gradient(problem, θ)
    @test loss ≈ -2log(2) + 2entropy((p + target) / 2) - entropy(p) - entropy(target) rtol = 1e-14
    @test maximum(abs, θ̄[2:end]) < 1e-15
    @test all(k -> value(problem, θ + [0; randn(Xoshiro(k), 7) ./ 5]) < loss, 1:20)
end

@testset "a sure one overflows nothing, logit $s" for s in (-800.0, 800.0)
    problem, θ = adversary()
    loss, θ̄ = gradient(problem, pinned(θ, 4, s))
    @test loss ≈ -800 rtol = 1e-14
    @test all(isfinite, θ̄)
    @test last(θ̄) ≈ -sign(s) rtol = 1e-14
end

@testset "the game's methods agree, and leave nothing behind" begin
    problem, θ = adversary()
    loss, expected = gradient(problem, θ)
    @test agrees_with_differences(problem, θ; rtol = 1e-8)
    for method in METHODS
        problem, _ = adversary(; method)
        first_answer = gradient(problem, θ)
        @test first(first_answer) == value(problem, θ)
        @test relative_error(last(first_answer), expected) < 1e-14
        gradient(problem, θ .+ 1)
        @test gradient(problem, θ) == first_answer
    end
end

@testset "the game in $T, $method" for T in (Float64, Float32), method in METHODS
    problem, θ = adversary(; T, method)
    @test (@inferred value(problem, θ)) isa T
    loss, θ̄ = @inferred gradient(problem, θ)
    @test loss isa T && θ̄ isa Vector{T}
    @test outputs(problem, θ).discriminator isa Vector{T}
    reference, _ = adversary()
    @test relative_error(θ̄, last(gradient(reference, Float64.(θ)))) < 100 * eps(T)
    @test_throws ArgumentError value(problem, T === Float32 ? Float64.(θ) : Float32.(θ))
    @test_throws DimensionMismatch gradient(problem, θ[2:end])
end

@testset "unknown names" begin
    @test_throws "there are: reverse, adjoint, parameter_shift" born_machine(; method = "forward")
    @test_throws "there are: integer, hamming" born_machine(; kernel = "euclid")
    @test_throws "there are: reverse, adjoint, parameter_shift" adversary(; method = "forward")
    @test_throws "bits of (4, 8)" adversary(; spins = ones(4, 8))
    config = (variant = "stripes", qubits = 1, depth = 0, kernel = "integer")
    @test_throws "there are: gaussian, bars_and_stripes, adversarial" build("qcbm", "reverse", config, (;))
    @test_throws DimensionMismatch born_machine(; target = ones(8))
end
