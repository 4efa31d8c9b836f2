using Yao: AD, Yao, expect, kron, state, zero_state

const RING = [0 1 2 3; 1 2 3 0]
const RING_CNOTS = [0 2 1 3; 1 3 2 0]
spins(q) = [1 - 2 * ((x >> q) & 1) for x in 0:15]
ring_sum() = sum(spins(i) .* spins(j) for (i, j) in eachcol(RING))

function circuit_energies(variant; T = Float64, method = "reverse", depth = 2)
    diagonal = T.(variant == "maxcut" ? (4 .- ring_sum()) ./ 2 : ring_sum())
    data = (; bonds = RING, cnots = RING_CNOTS, diagonal, couplings = ones(T, 4))
    problem = build("vqe", method, (; variant, qubits = 4, depth), data)
    return problem, 2T(π) .* rand(Xoshiro(0), T, nparameters(problem))
end

const VARIANTS = ("tfim", "heisenberg", "maxcut")
const WAYS = ("reverse", "adjoint", "parameter_shift")

# The textbook: 16 × 16 matrices.
pauli(P, q) = foldl(kron, [k == q ? P : [1 0; 0 1] for k in 3:-1:0])
const PX, PY, PZ = [0 1; 1 0], [0 -im; im 0], [1 0; 0 -1]

function dense_terms(variant)
    both(P) = sum(pauli(P, i) * pauli(P, j) for (i, j) in eachcol(RING))
    variant == "tfim" && return both(PZ) - sum(pauli(PX, q) for q in 0:3)
    variant == "maxcut" && return (both(PZ) - 4I) / 2
    return both(PX) + both(PY) + both(PZ)
end

@testset "the textbook's energy, $variant" for variant in ("tfim", "maxcut")
    problem, θ = circuit_energies(variant)
    D = sum(pauli(PZ, i) * pauli(PZ, j) for (i, j) in eachcol(RING))
    variant == "maxcut" && (D = (4I - D) / 2)
    ψ = fill(0.25 + 0im, 16)
    for (γ, β) in zip(θ[1:2], θ[3:4])
        ψ = exp(-im * β * Matrix(sum(pauli(PX, q) for q in 0:3))) * exp(-im * γ * Matrix(D)) * ψ
    end
    @test value(problem, θ) ≈ real(ψ' * dense_terms(variant) * ψ) atol = 1e-13
    @test outputs(problem, θ).distribution ≈ abs2.(ψ) atol = 1e-14
end

@testset "two Hamiltonians, ours and Yao's blocks, $variant" for variant in VARIANTS
    problem, _ = circuit_energies(variant)
    x = randn(Xoshiro(1), ComplexF64, 16)
    @test DiffProgTasks.apply_terms!(similar(x), problem.hamiltonian, x) ≈ dense_terms(variant) * x
    @test Matrix(Yao.mat(problem.terms)) ≈ dense_terms(variant)
end

@testset "methods agree, and with expect', $variant" for variant in VARIANTS
    gradients = map(WAYS) do method
        problem, θ = circuit_energies(variant; method)
        loss, θ̄ = gradient(problem, θ)
        @test loss ≈ value(problem, θ) atol = 1e-14
        θ̄
    end
    @test maximum(abs, gradients[1] - gradients[2]) < 1e-13
    @test maximum(abs, gradients[1] - gradients[3]) < 1e-13
    problem, θ = circuit_energies(variant)
    value(problem, θ)  # the circuit has its angles
    first = zero_state(4)
    DiffProgTasks.first_state!(problem.hamiltonian, vec(state(first)))
    _, slopes = Yao.expect'(problem.terms, first => problem.circuit)
    @test DiffProgTasks.add_parts(problem.sharing, Float64.(slopes)) ≈ gradients[1]
end

@testset "finite differences, $variant, $method" for variant in VARIANTS, method in WAYS
    problem, θ = circuit_energies(variant; method)
    @test agrees_with_differences(problem, θ; rtol = 1e-8)
end

@testset "engines, $variant" for variant in VARIANTS
    problem, θ = circuit_energies(variant)
    loss, θ̄ = gradient(problem, θ)
    v = normalize(randn(Xoshiro(2), length(θ)))
    for engine in ("zygote", "forwarddiff")
        found = derive(derivation(problem, "gradient", engine), θ)
        @test first(found) ≈ loss atol = 1e-13
        @test last(found) ≈ θ̄ atol = 1e-13
    end
    @test last(derive(derivation(problem, "jvp", "forwarddiff"), θ, v)) ≈ dot(θ̄, v) atol = 1e-12
    found = derive(derivation(problem, "hvp", "zygote"), θ, v)
    @test last(found) ≈ directional(θ -> last(gradient(problem, θ)), θ, v) rtol = 1e-8
    @test_throws "rule of its own" derivation(first(circuit_energies(variant; method = "adjoint")), "hvp", "zygote")
end

@testset "a call leaves nothing behind, $variant, $method" for variant in VARIANTS, method in WAYS
    problem, θ = circuit_energies(variant; method)
    first_answer = gradient(problem, θ)
    gradient(problem, θ .+ 1)
    @test gradient(problem, θ) == first_answer
end

@testset "work" begin
    shared = (parameters = 4, rotations = 8, entanglers = 8, layers = 2, qubits = 4, bonds = 4)
    @test work(circuit_energies("tfim")...) === work(circuit_energies("maxcut")...) === shared
    own = (parameters = 28, rotations = 28, entanglers = 8, layers = 3, qubits = 4, bonds = 4)
    @test work(circuit_energies("heisenberg")...) === own
end

@testset "single precision, $variant, $method" for variant in VARIANTS, method in WAYS
    problem, θ = circuit_energies(variant; T = Float32, method)
    loss, θ̄ = gradient(problem, θ)
    @test loss isa Float32 && θ̄ isa Vector{Float32} && value(problem, θ) isa Float32
    @test outputs(problem, θ).distribution isa Vector{Float32}
    wide, _ = circuit_energies(variant; method)
    @test relative_error(θ̄, last(gradient(wide, Float64.(θ)))) < 1e-5
end

@testset "unknown names and sizes" begin
    @test_throws "there are: reverse, adjoint, parameter_shift" circuit_energies("tfim"; method = "forward")
    @test_throws "there are: tfim, heisenberg, maxcut" circuit_energies("ising")
    short = (; bonds = RING, diagonal = ones(8))
    @test_throws DimensionMismatch build("vqe", "reverse", (variant = "tfim", qubits = 4, depth = 1), short)
end
