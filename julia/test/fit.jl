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
