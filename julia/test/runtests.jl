using DiffProgTasks: DiffProgTasks, build, derivation, derive, gradient, made_with, nparameters, options, outputs, value, work, wrap
using LinearAlgebra
using Random
using Test

relative_error(x, y) = norm(x .- y) / norm(y)

"The derivative of `f` at `x` along `u`, by central differences of fourth order."
function directional(f, x, u; h = 1e-3)
    return (8 * (f(x + h * u) - f(x - h * u)) - (f(x + 2h * u) - f(x - 2h * u))) / 12h
end

"Checks a gradient against finite differences in a few random directions."
function agrees_with_differences(problem, θ; rtol, rng = Xoshiro(1))
    _, θ̄ = gradient(problem, θ)
    return all(1:3) do _
        u = normalize(randn(rng, length(θ)))
        isapprox(dot(θ̄, u), directional(θ -> value(problem, θ), θ, u); rtol, atol = rtol * norm(θ̄))
    end
end

@testset "DiffProgTasks" begin
    @testset "interface" include("interface.jl")
    @testset "flow" include("flow.jl")
    @testset "eigensolver" include("eigensolver.jl")
    @testset "kernels" include("kernels.jl")
    @testset "qcbm" include("qcbm.jl")
    @testset "trg" include("trg.jl")
    @testset "vqe" include("vqe.jl")
    @testset "classifier" include("classifier.jl")
    @testset "bridge" include("bridge.jl")
    @testset "engines" include("engines.jl")
    @testset "fit" include("fit.jl")
    @testset "models" include("models.jl")
    # Minutes of compilation: by `runtests.jl --thorough`, where Mooncake is installed.
    if "--thorough" in ARGS && Base.find_package("Mooncake") !== nothing
        @testset "mooncake" include("mooncake.jl")
    end
end
