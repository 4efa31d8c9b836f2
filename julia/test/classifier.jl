using Yao: Yao, apply!, put, state, Rx, Rz

const SAMPLES = 3
const CLASSIFIERS = ("digits", "reuploading")
const CLASSIFIER_WAYS = ("reverse", "adjoint", "parameter_shift")
"What compiles for seconds more: all with --thorough, else the one with encodings."
const COMPILED = "--thorough" in ARGS ? CLASSIFIERS : ("reuploading",)

function classified(; T = Float64)
    rng = Xoshiro(3)
    images() = mapslices(normalize, abs.(randn(rng, 16, SAMPLES)); dims = 1)
    samples = (images = T.(images()), held_images = T.(images()))
    points = (points = randn(rng, T, 2, SAMPLES), held_points = randn(rng, T, 2, 2))
    return (; samples..., points..., labels = T[1, 0, 1], cnots = [0 2 1 3; 1 3 2 0])
end

function classifying(variant; T = Float64, method = "reverse", data = classified(; T))
    problem = build("classifier", method, (; variant, qubits = 4, depth = 2), data)
    return problem, 2T(π) .* rand(Xoshiro(0), T, nparameters(problem))
end

"One sample alone, on Yao's own register of one state, gate by gate."
function alone(variant, θ, data, sample)
    ψ = variant == "digits" ? Yao.ArrayReg(complex(data.images[:, sample])) : Yao.zero_state(4)
    angles = Iterators.Stateful(θ)
    for layer in 0:2
        if variant == "reuploading"
            for qubit in 1:4, (gate, x) in ((Rx, 1), (Rz, 2))
                apply!(ψ, put(4, qubit => gate(data.points[x, sample])))
            end
        end
        for qubit in 1:4, (k, gate) in enumerate((Rz, Rx, Rz))
            variant == "digits" && (layer, k) in ((0, 1), (2, 3)) && continue
            apply!(ψ, put(4, qubit => gate(popfirst!(angles))))
        end
        layer < 2 && foreach(pair -> apply!(ψ, Yao.cnot(4, pair[1] + 1, pair[2] + 1)), eachcol(data.cnots))
    end
    return sum(abs2, vec(state(ψ))[1:8])
end

@testset "every sample as if it were alone, $variant" for variant in CLASSIFIERS
    data = classified()
    problem, θ = classifying(variant; data)
    p = [alone(variant, θ, data, sample) for sample in 1:SAMPLES]
    @test outputs(problem, θ).probabilities ≈ p
    @test value(problem, θ) ≈ -sum(log.(ifelse.(data.labels .== 1, p, 1 .- p))) / SAMPLES
    held, _ = classifying(variant; data = (; data..., images = data.held_images, points = data.held_points,
        labels = variant == "digits" ? data.labels : data.labels[1:2]))
    @test outputs(problem, θ).held_out ≈ outputs(held, θ).probabilities
end

@testset "at θ = 0 the digits' amplitudes are permuted" begin
    data = classified()
    problem, θ = classifying("digits"; data)
    flip(x, (control, target)) = x ⊻ (((x >> control) & 1) << target)
    moved(x) = foldl(flip, repeat(collect(eachcol(data.cnots)), 2); init = x)
    upper = [x + 1 for x in 0:15 if moved(x) < 8]
    p = vec(sum(abs2, data.images[upper, :]; dims = 1))
    @test outputs(problem, zero(θ)).probabilities ≈ p
end

@testset "encodings are withdrawn" begin
    samples = DiffProgTasks.Points(classified().points)
    ψ = randn(Xoshiro(5), ComplexF64, 16, SAMPLES)
    @test DiffProgTasks.withdraw!(DiffProgTasks.upload!(copy(ψ), samples), samples) ≈ ψ
end

@testset "methods agree, $variant" for variant in CLASSIFIERS
    answers = map(method -> gradient(classifying(variant; method)...), CLASSIFIER_WAYS)
    problem, θ = classifying(variant)
    loss, θ̄ = first(answers)
    for (other, found) in answers
        @test loss ≈ other ≈ value(problem, θ)
        @test maximum(abs, θ̄ - found) < 1e-14
    end
    @test agrees_with_differences(problem, θ; rtol = 1e-8)
end

@testset "engines agree, $variant" for variant in COMPILED
    problem, θ = classifying(variant)
    loss, θ̄ = gradient(problem, θ)
    v = normalize(randn(Xoshiro(2), length(θ)))
    found = derive(derivation(problem, "gradient", "zygote"), θ)
    @test first(found) ≈ loss
    @test last(found) ≈ θ̄ atol = 1e-14
    @test last(derive(derivation(problem, "jvp", "forwarddiff"), θ, v)) ≈ dot(θ̄, v) atol = 1e-14
    if "--thorough" in ARGS
        @test last(derive(derivation(problem, "gradient", "forwarddiff"), θ)) ≈ θ̄ atol = 1e-14
        found = derive(derivation(problem, "hvp", "zygote"), θ, v)
        @test last(found) ≈ directional(θ -> last(gradient(problem, θ)), θ, v) rtol = 1e-8
    end
    @test_throws "rule of its own" derivation(first(classifying(variant; method = "adjoint")), "hvp", "zygote")
end

@testset "a call leaves nothing behind, $variant, $method" for variant in CLASSIFIERS, method in CLASSIFIER_WAYS
    problem, θ = classifying(variant; method)
    first_answer = gradient(problem, θ)
    gradient(problem, θ .+ 1)
    @test gradient(problem, θ) == first_answer
end

@testset "work" begin
    counts = (parameters = 28, rotations = 28, cnots = 8, layers = 3, qubits = 4, samples = 3)
    @test work(classifying("digits")...) === counts
    @test work(classifying("reuploading")...) === (; counts..., parameters = 36, rotations = 36, encodings = 24)
end

@testset "single precision, $variant" for variant in COMPILED
    problem, θ = classifying(variant; T = Float32)
    loss, θ̄ = gradient(problem, θ)
    @test loss isa Float32 && θ̄ isa Vector{Float32} && value(problem, θ) isa Float32
    @test all(p -> p isa Vector{Float32}, outputs(problem, θ))
    data = map(x -> eltype(x) === Float32 ? Float64.(x) : x, classified(; T = Float32))
    @test relative_error(θ̄, last(gradient(first(classifying(variant; data)), Float64.(θ)))) < 1e-5
end

@testset "unknown names and sizes" begin
    @test_throws "there are: reverse, adjoint, parameter_shift" classifying("digits"; method = "forward")
    @test_throws "there are: digits, reuploading" classifying("moons")
    @test_throws "not 16" classifying("digits"; data = (; classified()..., images = ones(8, SAMPLES)))
    @test_throws "2 labels" classifying("digits"; data = (; classified()..., labels = ones(2)))
end
