@testset "wrap shares memory" begin
    a = reshape(collect(1.0:6.0), 2, 3)
    GC.@preserve a begin
        address = Int(pointer(a))
        for w in (wrap("float64", address, 2, 3), wrap(Float64, UInt(address), 2, 3))
            @test w isa Matrix{Float64} && w == a
            w[1, 2] += 1
            @test a[1, 2] == w[1, 2]
        end
        @test size(wrap("float64", address)) == ()
    end
    @test_throws ArgumentError wrap("float16", 64, 2)
end

@testset "options" begin
    @test options(; a = 1, b = "x") === (a = 1, b = "x")
end

@testset "unknown task" begin
    @test_throws "there are: classifier, eigensolver, flow, qcbm, trg, vqe" build("flaw", "discrete", (;), (;))
end
