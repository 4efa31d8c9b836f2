using DiffProgTasks: Problem, adam, step!

"L(θ) = |θ − c|², for optimisers."
struct Bowl{T} <: Problem{T}
    centre::Vector{T}
end
DiffProgTasks.gradient(bowl::Bowl, θ) = (sum(abs2, θ .- bowl.centre), 2 .* (θ .- bowl.centre))

@testset "the first step is of the rate's length, $T" for T in (Float64, Float32)
    start = T[0, 0]
    descent = adam(start, 0.1)
    @test step!(descent, Bowl(T[1, -2]), zeros(T, 2)) === T(5)
    @test descent.parameters ≈ T[0.1, -0.1]
    @test start == T[0, 0]
end

@testset "a source tilts the bowl" begin
    source = [2.0, 0.0]
    descent = adam([0.5, 0.5], 0.05)
    @test step!(descent, Bowl([1.0, -2.0]), source) ≈ 0.25 + 6.25 - 1
    for _ in 1:500
        step!(descent, Bowl([1.0, -2.0]), source)
    end
    @test descent.parameters ≈ [2.0, -2.0] atol = 1e-2
end

"L = x y + (x² − y²)/8, of which x is to be minimised and y maximised."
struct Saddle <: Problem{Float64} end
DiffProgTasks.gradient(::Saddle, θ) = (prod(θ) + (θ[1]^2 - θ[2]^2) / 8, [θ[2] + θ[1] / 4, θ[1] - θ[2] / 4])

@testset "a minimax: each component has its factor, and all fall linearly" begin
    factors, start = [1.0, -3.0], [1.0, 1.0]
    descent, plain = adam(start, 0.1, factors, 2), adam(start, 0.1)
    source = zeros(2)
    step!(descent, Saddle(), source)
    @test descent.parameters ≈ [0.9, 1.3]  # the first step is of the rate's length
    step!(plain, Saddle(), source)
    before = copy(descent.parameters)
    plain.parameters = copy(before)
    step!(descent, Saddle(), source)
    step!(plain, Saddle(), source)
    @test descent.parameters .- before ≈ factors ./ 2 .* (plain.parameters .- before)
    settled = adam([1.0, 0.5], 0.01, [1.0, -1.0], 2000)
    foreach(_ -> step!(settled, Saddle(), source), 1:2000)
    @test maximum(abs, settled.parameters) < 0.1
end
