const CLASSIC = (bonds = [0; 0; 0; 0;;], plaquettes = [0 0 0 0])

"Tables of a torus of `side`² sites as the host makes them, counted from zero: 4 × n and N × 4."
function torus_tables(side)
    n = side^2
    index = permutedims(reshape(0:(n - 1), side, side))
    rows(A) = vec(permutedims(A))
    bonds = hcat(
        rows(circshift(index, (1, 0))) .+ n, rows(circshift(index, (0, 1))), rows(index) .+ n, rows(index)
    )
    right, down = rows(circshift(index, (0, -1))) .+ 1, rows(circshift(index, (-1, 0))) .+ 1
    function sublattices(right, down)
        colour = fill(-1, length(right))
        colour[1] = 0
        stack = [1]
        while !isempty(stack)
            site = pop!(stack)
            for neighbour in (right[site], down[site])
                colour[neighbour] < 0 || continue
                colour[neighbour] = 1 - colour[site]
                push!(stack, neighbour)
            end
        end
        return sortperm(colour)
    end
    order = sublattices(right, down)
    bonds, levels = bonds[order, :], Matrix{Int}[]
    while length(right) > 1
        place = invperm(order)
        right, down = place[right[order]], place[down[order]]
        half = length(right) ÷ 2
        below = down[1:half]
        corners = hcat(1:half, right[1:half] .- half, below .- half, right[below])
        right, down = right[below], invperm(right)[below]
        order = sublattices(right, down)
        push!(levels, corners[order, :])
    end
    return (bonds = permutedims(bonds), plaquettes = reduce(vcat, levels) .- 1)
end

function ising(variant; T = Float64, chi = 16, iterations = 4, side = variant == "classic" ? 1 : 4, seed = 0)
    tables = variant == "classic" ? CLASSIC : torus_tables(side)
    config = (; variant, size = "test", chi, iterations, side)
    problem = build("trg", "reverse", config, (; tables..., weights = T.(0.5 .^ (0:iterations))))
    return problem, T.(0.3 .+ 0.2 .* rand(Xoshiro(seed), nparameters(problem)))
end

"ln Z per site of the 4 × 4 torus and <ss′>/16 of its bonds, by summing over all states."
function enumerated(K)
    S = [1 - 2 * (state >> (4 * row + column) & 1) for row in 0:3, column in 0:3, state in 0:(2^16 - 1)]
    bonds(A) = reshape(permutedims(A, (2, 1, 3)), 16, :)
    products = vcat(bonds(S .* circshift(S, (0, -1, 0))), bonds(S .* circshift(S, (-1, 0, 0))))
    exponent = vec(K' * products)
    weights = exp.(exponent .- maximum(exponent))
    return (maximum(exponent) + log(sum(weights))) / 16, products * weights ./ sum(weights) ./ 16
end

@testset "the 4 × 4 torus, K = $K" for (K, exact, energy) in (
    (0.3, 0.799095207857, -0.844054073624),
    (0.4, 0.910068313990, -1.379116482259),
    (0.44068679350977, 0.970119716172, -1.565623787638),
    (0.5, 1.069085444921, -1.755380288777),
)
    problem, _ = ising("classic")
    loss, θ̄ = gradient(problem, [K])
    @test loss ≈ exact atol = 1e-12
    @test only(θ̄) ≈ -energy atol = 1e-12
    @test loss ≈ first(enumerated(fill(K, 32))) rtol = 1e-13
end

@testset "specific heat of the 4 × 4 torus, K = $K" for (K, exact) in
    ((0.3, 0.440992653577), (0.4, 0.812515229440), (0.44068679350977, 0.783266825929), (0.5, 0.605532657210))
    problem, _ = ising("classic")
    hvp = derivation(problem, "hvp", "zygote")
    @test K^2 * only(last(derive(hvp, [K], [1.0]))) ≈ exact rtol = 1e-9
    jvp = derivation(problem, "jvp", "forwarddiff")
    @test last(derive(jvp, [K], [2.0])) ≈ 2 * only(last(gradient(problem, [K]))) rtol = 1e-13
end

@testset "a disordered 4 × 4 torus, seed $seed" for seed in 1:3
    problem, θ = ising("disordered"; seed)
    exact, correlations = enumerated(θ)
    loss, θ̄ = gradient(problem, θ)
    @test loss ≈ exact rtol = 1e-13
    @test relative_error(θ̄, correlations) < 1e-12
    @test relative_error(outputs(problem, θ).correlations, 16 .* correlations) < 1e-12
end

@testset "published anchor" begin
    problem, _ = ising("classic"; chi = 20, iterations = 20)
    loss, θ̄ = gradient(problem, [0.5])
    @test loss ≈ 1.0257933734351765 rtol = 1e-14
    @test only(θ̄) ≈ 1.7455677143228514 rtol = 1e-12
end

@testset "Onsager, K = $K" for (K, exact, bound) in
    ((0.3, 0.7905590709512629, 2e-8), (0.4, 0.8793638207749482, 1e-6), (0.5, 1.025792812694918, 1e-6))

    problem, _ = ising("classic"; iterations = 20)
    @test abs(value(problem, [K]) - exact) < bound
end

@testset "finite differences, $variant, χ = $chi" for variant in ("classic", "disordered"), chi in (4, 8)
    problem, θ = ising(variant; chi)
    @test agrees_with_differences(problem, θ; rtol = 1e-8)
end

@testset "a uniform torus is the classic one, side = $side" for side in (4, 8)
    iterations = Int(2 * log2(side))
    torus, θ = ising("disordered"; side, iterations)
    classic, _ = ising("classic"; iterations)
    (l₁, g₁), (l₂, g₂) = gradient(torus, fill(0.42, length(θ))), gradient(classic, [0.42])
    @test l₁ ≈ l₂ rtol = 1e-12
    @test sum(g₁) ≈ only(g₂) rtol = 1e-10
end

@testset "equal and vanishing singular values, $T" for T in (Float64, Float32)
    # The loss |ABᵀ|²/2 at diag(1, 1, 0, 0), cut after two: the cotangent is the matrix itself.
    M = reshape(T[1 0 0 0; 0 1 0 0; 0 0 0 0; 0 0 0 0], 4, 4, 1)
    (A, B), back = DiffProgTasks.Zygote.pullback(M -> DiffProgTasks.split(M, 2), M)
    product = A[:, :, 1] * B[:, :, 1]'
    (M̄,) = back((reshape(product * B[:, :, 1], 4, 2, 1), reshape(product' * A[:, :, 1], 4, 2, 1)))
    @test M̄ isa Array{T,3}
    @test M̄ ≈ M atol = 4eps(T)
end

@testset "the rule of multiply" begin
    A, B, C̄ = randn(Xoshiro(1), 3, 4, 2), randn(Xoshiro(2), 4, 5, 2), randn(Xoshiro(3), 3, 5, 2)
    C, back = DiffProgTasks.Zygote.pullback(DiffProgTasks.multiply, A, B)
    Ā, B̄ = back(C̄)
    for b in 1:2
        @test C[:, :, b] ≈ A[:, :, b] * B[:, :, b]
        @test Ā[:, :, b] ≈ C̄[:, :, b] * B[:, :, b]'
        @test B̄[:, :, b] ≈ A[:, :, b]' * C̄[:, :, b]
    end
end

@testset "bond dimensions" begin
    kept(chi, n) = [step.keep for step in DiffProgTasks.coarsenings(1, chi, n)]
    @test kept(4, 5) == [2, 4, 4, 4, 4]
    @test kept(8, 5) == [2, 4, 4, 8, 8]
    @test kept(48, 7) == [2, 4, 4, 16, 16, 48, 48]
end

@testset "outputs and work" begin
    problem, θ = ising("classic"; chi = 8, iterations = 6)
    loss, θ̄ = gradient(problem, θ)
    @test value(problem, θ) ≈ loss rtol = 1e-15
    out = outputs(problem, θ)
    @test only(out.free_energy) == -loss
    @test only(out.energy) == -only(θ̄)
    @test only(out.correlations) == only(θ̄) / 2
    @test length(out.spectrum) == 8 && first(out.spectrum) == 1 && issorted(out.spectrum; rev = true)
    flops = sum(2 * d^3 * k^2 + d^2 * k^4 for (d, k) in ((2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 8)))
    @test work(problem, θ) === (parameters = 1, iterations = 6, svds = 12, bond_dimension = 8, multiply_adds = flops)
    torus, θ = ising("disordered"; chi = 4)
    @test work(torus, θ).svds == 30
    @test made_with(problem) == "Zygote"
end

@testset "precision $T, $variant" for T in (Float64, Float32), variant in ("classic", "disordered")
    problem, θ = ising(variant; T, chi = 8)
    @test (@inferred value(problem, θ)) isa T
    loss, θ̄ = gradient(problem, θ)
    @test loss isa T && θ̄ isa Vector{T}
    @test all(x -> eltype(x) === T, outputs(problem, θ))
    reference, _ = ising(variant; chi = 8)
    @test relative_error(θ̄, last(gradient(reference, Float64.(θ)))) < 1000 * eps(T)
    @test_throws ArgumentError value(problem, T === Float32 ? Float64.(θ) : Float32.(θ))
    @test_throws DimensionMismatch gradient(problem, [θ; θ])
end

@testset "unknown names" begin
    @test_throws "there are: classic, disordered" ising("glassy")
    config = (variant = "classic", chi = 4, iterations = 2, side = 1)
    @test_throws "there are: reverse" build("trg", "forward", config, (; CLASSIC..., weights = ones(3)))
end
