using DiffProgTasks: HammingKernel, IntegerKernel, product!

dense_kernel(distance, states, sigmas) =
    [sum(exp(-distance(x, y) / 2σ) for σ in sigmas) for x in 0:(states - 1), y in 0:(states - 1)]

const DISTANCES =
    ((IntegerKernel, (x, y) -> abs2(x - y)), (HammingKernel, (x, y) -> count_ones(x ⊻ y)))

@testset "$Kernel, 2^$n states, σ = $sigmas" for (Kernel, distance) in DISTANCES,
    n in (1, 2, 6, 10),
    sigmas in ([0.25, 4.0], [0.5, 1.0, 2.0, 4.0], [100.0])

    K = dense_kernel(distance, 2^n, sigmas)
    x = randn(Xoshiro(n), 2^n)
    @test relative_error(product!(similar(x), Kernel{Float64}(sigmas, 2^n), x), K * x) < 1e-14
    y = product!(zeros(Float32, 2^n), Kernel{Float32}(Float32.(sigmas), 2^n), Float32.(x))
    @test y isa Vector{Float32}
    @test relative_error(y, K * x) < 1e-5
end

@testset "the band is short where the kernel is narrow, and pieces join" begin
    kernel = IntegerKernel{Float64}([0.25, 4.0], 2^14)
    @test length(kernel.column) < 25
    x = randn(Xoshiro(3), 2^14)
    y = product!(similar(x), kernel, x)
    for i in (1, 2, 4095, 4096, 4097, 8192, 2^14)
        row = [sum(exp(-(i - j)^2 / 2σ) for σ in (0.25, 4.0)) for j in 1:(2^14)]
        @test y[i] ≈ dot(row, x) rtol = 1e-13
    end
end
