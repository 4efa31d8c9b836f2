using DiffProgTasks.Models: Blocks, NoNumber, load_model, model, told, unpack
using ForwardDiff: ForwardDiff
using Zygote: Zygote

const FOLDER = mktempdir()

"A user's file of this text."
function written(text, name = "on_julia.jl")
    path = joinpath(FOLDER, name)
    write(path, text)
    return path
end

# What is loaded can be called from the next statement at the top on, hence the constants.

const SHAPED = load_model(written("""
    helper(x) = tanh.(x)
    function loss(params, data)
        y = helper(data.X * params.b)
        turned = sum(abs2, data.z .* params.s) + real(sum(data.z .^ 2)) * params.s
        return sum(data.w .* params.W) + sum(y[data.mask]) * data.k + turned + sum(abs2, params.A * params.A')
    end
    outputs(params, data) = (y = helper(data.X * params.b), transposed = params.A', mask = data.X .> 0, s = params.s, n = 3)
    """))
const SHAPES = (W = (2, 3, 2), b = (3,), s = (), A = (2, 2), unused = (4,))
const DATA = (
    X = [0.1 -0.2 0.3; 0.4 0.5 -0.6], mask = [true, false], z = [1.0 + 2im, -0.5im], k = fill(3),
    w = [i * 10.0^j * 1000.0^k for i in 1:2, j in 1:3, k in 1:2],
)
shaped(precision = "float64", data = DATA) = model(SHAPED, precision, SHAPES, data)

"The gradient by hand, a block after the other."
function by_hand(θ)
    b, s, A = θ[13:15], θ[16], reshape(θ[17:20], 2, 2)
    b̄ = 3 * (1 - tanh(DATA.X[1, :]' * b)^2) * DATA.X[1, :]
    s̄ = 2s * sum(abs2, DATA.z) + real(sum(DATA.z .^ 2))
    return [vec(DATA.w); b̄; s̄; vec(4 * A * A' * A); zeros(4)]
end

@testset "blocks" begin
    blocks = Blocks(SHAPES)
    θ = collect(1.0:length(blocks))
    @test length(blocks) == 24
    params = @inferred unpack(θ, blocks)
    @test keys(params) == keys(SHAPES)
    @test params.W == reshape(1:12, 2, 3, 2) && params.b == 13:15 && params.s === 16.0
    @test params.A isa (VERSION < v"1.11" ? StridedMatrix{Float64} : Matrix{Float64})
    θ[17] = -1
    @test params.A[1, 1] == -1 # no copy
    many = NamedTuple(Symbol(:p, k) => (k, 2) for k in 1:40)
    @test (@inferred unpack(ones(1640), Blocks(many))).p40 == ones(40, 2)
    duals = ForwardDiff.Dual.(θ, 1.0)
    @test unpack(duals, blocks).A[2, 2] === duals[20]
end

@testset "the gradient by all engines" begin
    problem, θ = shaped(), randn(Xoshiro(1), 24)
    @test nparameters(problem) == 24
    @test value(problem, θ) isa Float64
    loss, θ̄ = gradient(problem, θ)
    @test loss == value(problem, θ)
    @test θ̄ ≈ by_hand(θ) rtol = 1e-13
    @test all(iszero, θ̄[21:24])
    v = normalize(randn(Xoshiro(2), 24))
    for engine in ("zygote", "forwarddiff")
        @test last(derive(derivation(problem, "gradient", engine), θ)) ≈ θ̄ rtol = 1e-12
        found = derive(derivation(problem, "hvp", engine), θ, v)
        @test first(found) ≈ loss rtol = 1e-14
        @test last(found) ≈ directional(by_hand, θ, v) rtol = 1e-8
    end
    @test last(derive(derivation(problem, "jvp", "forwarddiff"), θ, v)) ≈ dot(θ̄, v) rtol = 1e-12
    @test work(problem, θ) === (parameters = 24,)
    @test made_with(problem) == "Zygote"
end

@testset "Zygote's cotangent is one vector" begin
    blocks, θ = Blocks((a = (2,), b = (2, 2))), ones(6)
    _, back = Zygote.pullback(unpack, θ, blocks)
    @test back((a = [1.0, 2.0], b = nothing))[1] == [1, 2, 0, 0, 0, 0]
    @test back((a = nothing, b = Diagonal([3.0, 4.0])))[1] == [0, 0, 3, 0, 0, 4]
    @test back((a = [1.0im, 2], b = ones(2, 2)'))[1] == [0, 2, 1, 1, 1, 1]
    @test_throws DimensionMismatch back((a = [1.0], b = nothing))
    large, x = Blocks(NamedTuple(Symbol(:p, k) => (100, 100) for k in 1:10)), ones(100_000)
    slopes(x) = only(Zygote.gradient(x -> sum(abs2, unpack(x, large).p3), x))
    slopes(x)
    @test (@allocated slopes(x)) < 2 * sizeof(x)
end

@testset "outputs have the indices of the user's" begin
    θ = randn(Xoshiro(1), 24)
    found = outputs(shaped(), θ)
    @test found.y ≈ tanh.(DATA.X * θ[13:15])
    @test found.transposed == reshape(θ[17:20], 2, 2)' && found.transposed isa Matrix{Float64}
    @test found.mask isa Matrix{Bool} && found.mask == (DATA.X .> 0)
    @test found.s == fill(θ[16]) && found.n == fill(3)
end

@testset "in float32 all of it is" begin
    narrow(x::Array{Float64}) = Float32.(x)
    narrow(x::Array{ComplexF64}) = ComplexF32.(x)
    narrow(x) = x
    problem, θ = shaped("float32", map(narrow, DATA)), randn(Xoshiro(1), 24)
    loss, θ̄ = gradient(problem, Float32.(θ))
    @test loss isa Float32 && θ̄ isa Vector{Float32}
    @test θ̄ ≈ by_hand(θ) rtol = 1e-5
    @test outputs(problem, Float32.(θ)).s isa Array{Float32,0}
    @test_throws ArgumentError value(problem, θ)
end

const CONSTANT = load_model(written("loss(params, data) = 3.0"))
const ARRAY = load_model(written("loss(params, data) = 2 .* params.x"))
const COMPLEX = load_model(written("loss(params, data) = sum(params.x) * im"))
const LITERAL = load_model(written("loss(params, data) = 0.5 * sum(params.x)"))
const NOTHING = load_model(written("loss(params, data) = nothing"))
const MUTATING = load_model(written("""
    loss(params, data) = squares(params)
    function squares(params)
        y = similar(params.x)
        for i in eachindex(y)
            y[i] = params.x[i]^2
        end
        return sum(y)
    end
    """, "mutating.jl"))
const STIFF = load_model(written("""
    function loss(params, data)
        y = zeros(2)
        y .= params.x
        return sum(y)
    end
    """, "stiff.jl"))

x_of(space, precision = "float64") = model(space, precision, (x = (2,),), (;))

@testset "a loss that is none is told" begin
    θ = [1.0, 2.0]
    @test gradient(x_of(CONSTANT), θ) == (3.0, [0, 0])
    for (space, (shape, kind, dtype)) in
        (ARRAY => ((2,), "f", "float64"), COMPLEX => ((), "c", "complex128"), NOTHING => ((), "O", "Nothing"))
        found = try
            value(x_of(space), θ)
        catch error
            error
        end
        @test found isa NoNumber && DiffProgTasks.Models.described(found.loss) == (shape, kind, dtype)
    end
    @test_throws NoNumber value(x_of(LITERAL, "float32"), Float32[1, 2])
    @test_throws NoNumber gradient(x_of(LITERAL, "float32"), Float32[1, 2])
    @test value(x_of(LITERAL), θ) === 1.5
end

"What is told of the exception of a call."
function complaint(call)
    try
        call()
    catch error
        return told(error, catch_backtrace(), FOLDER)
    end
    return "nothing was wrong"
end

@testset "what Zygote and ForwardDiff cannot do is told with the line" begin
    θ = [1.0, 2.0]
    found = complaint(() -> gradient(x_of(MUTATING), θ))
    @test startswith(found, joinpath(FOLDER, "mutating.jl") * ":2: ") # of the function
    @test occursin("--engine forwarddiff", found)
    @test last(derive(derivation(x_of(MUTATING), "gradient", "forwarddiff"), θ)) == [2, 4]
    found = complaint(() -> derive(derivation(x_of(STIFF), "jvp", "forwarddiff"), θ, θ))
    @test startswith(found, joinpath(FOLDER, "stiff.jl") * ":3: MethodError")
    @test occursin("eltype", found)
end

const NO_LOSS = load_model(written("los(params, data) = 1.0"))
const ONE_ARGUMENT = load_model(written("\nloss(params) = 1.0"))
const NUMBER = load_model(written("loss = 3"))
const LISTED = load_model(written("loss(params, data) = 0.0\noutputs(params, data) = [1, 2]"))
const TEXTED = load_model(written("loss(params, data) = 0.0\noutputs(params, data) = (a = \"b\",)"))

@testset "a file without what it must have is told" begin
    @test_throws "no function loss" x_of(NO_LOSS)
    @test_throws "loss(params) in line 2" x_of(ONE_ARGUMENT)
    @test_throws "loss is no function" x_of(NUMBER)
    @test_throws "not a Vector{Int64}" outputs(x_of(LISTED), ones(2))
    @test_throws "a String for 'a'" outputs(x_of(TEXTED), ones(2))
end

@testset "a file that cannot be loaded is told with the line" begin
    path = written("x = 1\nloss(params, data) = sum(params.x\ny = 2\n")
    found = complaint(() -> load_model(path))
    @test occursin(r"^\S*on_julia.jl:[23]: syntax error: ", found)
    path = written("\n\nloss(params, data) = 1.0\nsqr(2)\n")
    @test startswith(complaint(() -> load_model(path)), "$path:4: UndefVarError: `sqr` not defined")
    path = written("include(\"other.jl\")\n")
    other = written("a = 1\nerror(\"no\")\n", "other.jl")
    @test complaint(() -> load_model(path)) == "$other:2: no"
    path = written("\nusing NoSuchPackage\n")
    found = complaint(() -> load_model(path))
    @test startswith(found, "$path:2: the package NoSuchPackage is not installed; julia --project=$FOLDER -e ")
    @test occursin("Pkg.add(\"NoSuchPackage\")", found)
    write(joinpath(FOLDER, "Project.toml"), "[deps]\nNoSuchPackage = \"00000000-0000-0000-0000-00000000beef\"\n")
    @test occursin("Pkg.instantiate()", complaint(() -> load_model(path)))
    rm(joinpath(FOLDER, "Project.toml"))
end
