# The tensor renormalisation group: Levin, Nave, cond-mat/0611687; in reverse mode: Liao, Liu, Wang, Xiang, arXiv:1903.09650.
#
# A batch of n tensors is D × D × D × D × n with legs up, left, down, right; matrices and factors too carry the batch last.
# Zygote differentiates everything below except `split` (in `trg/truncation.jl`) and `multiply`, which have their own rules.

include("trg/truncation.jl")

# Contracting

"The matrix products of two batches, (p × q × n) and (q × r × n), into C."
function multiply!(C, A, B)
    @views for b in axes(C, 3)
        mul!(C[:, :, b], A[:, :, b], B[:, :, b])
    end
    return C
end

multiply(A, B) = bilinear((A, B) -> multiply!(similar(A, size(A, 1), size(B, 2), size(A, 3)), A, B), A, B)

function ChainRulesCore.rrule(::typeof(multiply), A, B)
    function multiply_pullback(Δ)
        C̄ = unthunk(Δ)
        Ā = @thunk multiply(C̄, PermutedDimsArray(B, (2, 1, 3)))
        B̄ = @thunk multiply(PermutedDimsArray(A, (2, 1, 3)), C̄)
        return NoTangent(), Ā, B̄
    end
    return multiply(A, B), multiply_pullback
end

# One coarse-graining

"`sites` tensors of bond dimension D = `dim` become `half` tensors of dimension χ = `keep`."
struct Coarsening
    sites::Int
    half::Int
    dim::Int
    keep::Int
    "Which plaquettes: columns of the tables."
    columns::UnitRange{Int}
end

"""
The plan for a torus of `side`² sites, or for the lattice of equal tensors where `side` is 1: the one tensor is then that of
both sublattices. A tensor made of four factors through legs of dimension D₋ has matrices of rank D₋² at most, and a spin's
have rank 2: so χ = min(`chi`, D², D₋²) never keeps a value that is exactly zero.
"""
function coarsenings(side::Integer, chi::Integer, iterations::Integer)
    sites, dim, rank, start = side^2, 2, 2, 0
    return map(1:iterations) do _
        half, keep = max(1, sites ÷ 2), min(chi, rank, dim^2)
        step = Coarsening(sites, half, dim, keep, (start + 1):(start + half))
        start += sites > 1 ? half : 0
        sites, dim, rank = half, keep, dim^2
        step
    end
end

# What only moves entries of arrays has names, so that an engine can have one rule for all of it.

"The entries of `A` with its legs in the order `order`, in an array of the size `dims`."
legs(A, order, dims) = reshape(permutedims(A, order), dims)

"The matrices that are split, (ul|dr) on sublattice A and (ld|ur) on B: D² × D² × 2·half."
function matrices(S, (; half, dim)::Coarsening)
    a = S[:, :, :, :, 1:half]
    b = permutedims(S[:, :, :, :, (end - half + 1):end], (2, 3, 1, 4, 5))
    return reshape(cat(a, b; dims = 5), dim^2, dim^2, 2half)
end

"The factors (D² × χ each) at one corner of all plaquettes, as D × D × χ × half."
corner(factors, indices, (; dim, keep, half)::Coarsening) = reshape(factors[:, :, indices], dim, dim, keep, half)

"""
    coarsen(split, multiply, S, step, corners)

The new tensors from `S`, those of sublattice A first. `corners`, four vectors of length half, say which matrix that is split
has its factor at the top left, top right, bottom left and bottom right of each plaquette: A's are first, then B's.
"""
function coarsen(split, multiply, S, step, corners)
    (; half, dim, keep) = step
    left, right = split(matrices(S, step), keep)
    S₁, S₂ = corner(left, corners[4], step), corner(left, corners[2], step)
    S₃, S₄ = corner(right, corners[1], step), corner(right, corners[3], step)
    # T'_uldr = Σ S₂_xwu S₃_yxl S₄_yzd S₁_wzr: over x and over z, then over w and y together.
    P = multiply(
        legs(S₂, (2, 3, 1, 4), (dim * keep, dim, half)),
        legs(S₃, (2, 1, 3, 4), (dim, dim * keep, half)),
    )
    Q = multiply(
        legs(S₄, (1, 3, 2, 4), (dim * keep, dim, half)),
        legs(S₁, (2, 1, 3, 4), (dim, dim * keep, half)),
    )
    P = legs(reshape(P, dim, keep, dim, keep, half), (2, 4, 1, 3, 5), (keep^2, dim^2, half))
    Q = legs(reshape(Q, dim, keep, dim, keep, half), (3, 1, 2, 4, 5), (dim^2, keep^2, half))
    C = multiply(P, Q)
    return reshape(C, keep, keep, keep, keep, half)
end

# Free energy

const EVEN = [iseven(i + j + k + l) for i in 0:1, j in 0:1, k in 0:1, l in 0:1]

"The spins' tensors ½√(λ_i λ_j λ_k λ_l), i+j+k+l even, from the couplings (4 × n) of their bonds up, left, down, right."
function spins(K)
    n = size(K, 2)
    q = sqrt.(2 .* vcat(reshape(cosh.(K), 1, 4, n), reshape(sinh.(K), 1, 4, n)))
    up, left = reshape(q[:, 1, :], 2, 1, 1, 1, n), reshape(q[:, 2, :], 1, 2, 1, 1, n)
    down, right = reshape(q[:, 3, :], 1, 1, 2, 1, n), reshape(q[:, 4, :], 1, 1, 1, 2, n)
    return EVEN .* up .* left .* down .* right ./ 2
end

"The tables of a lattice, counted from one, and the plan for it."
struct TrgCase{T}
    "Which parameter is a site's coupling up, left, down, right: 4 × n."
    bonds::Matrix{Int}
    "Corners of the plaquettes of all steps: N × 4."
    corners::Matrix{Int}
    "2⁻ⁿ: of the logarithm of the n-th scale in ln Z per site, and at last of the trace's."
    weights::Vector{T}
    plan::Vector{Coarsening}
end

"The largest entry of each tensor. ln Z does not depend on it, so that it is not differentiated."
scales(S) = maximum(abs ∘ primal, S; dims = (1, 2, 3, 4))
@non_differentiable scales(::Any)

"The mean logarithm of the scales."
mean_log(scale) = sum(log, scale) / length(scale)
@non_differentiable mean_log(::Any)

"The `corners` of one step, as `coarsen` takes them."
function corners_in(case::TrgCase, (; columns, half)::Coarsening)
    corners = case.corners[columns, :]
    return corners[:, 1], corners[:, 2] .+ half, corners[:, 3] .+ half, corners[:, 4]
end
@non_differentiable corners_in(::Any, ::Any)

"ln Z per site."
function log_partition(θ, case::TrgCase{T}, split = split, multiply = multiply) where {T}
    S, value = spins(θ[case.bonds]), zero(T)
    for (step, weight) in zip(case.plan, case.weights)
        scale = scales(S)
        value += weight * mean_log(scale)
        S = coarsen(split, multiply, S ./ scale, step, corners_in(case, step))
    end
    return value + last(case.weights) * log(tr(reshape(S, size(S, 1)^2, :)))
end

# The problem

struct TrgProblem{T,P} <: Problem{T}
    case::TrgCase{T}
    parameters::Int
    "Sites over bonds that share a parameter."
    sites_per_bond::T
    preparation::P
end

const TRG_VARIANTS = (
    classic = side -> (parameters = 1, sites_per_bond = 1 // 2),
    disordered = side -> (parameters = 2side^2, sites_per_bond = side^2),
)
const TRG_METHODS = (reverse = :reverse,)

"""
    trg_problem(method, config, data)

`config`: `variant` ("classic" or "disordered"), `chi` χ, `iterations`, and the `side` of the torus (1 for "classic").
`data`: `weights` (iterations + 1), and the tables `bonds` (4 × n) and `plaquettes` (N × 4), which count from zero.
"""
function trg_problem(method::AbstractString, @nospecialize(config::NamedTuple), @nospecialize(data::NamedTuple))
    choose("method of trg", method, TRG_METHODS)
    shared = choose("variant of trg", config.variant, TRG_VARIANTS)(Int(config.side))
    plan = coarsenings(Int(config.side), Int(config.chi), Int(config.iterations))
    return trg_problem(TrgCase(data.bonds .+ 1, data.plaquettes .+ 1, data.weights, plan), shared...)
end

function trg_problem(case::TrgCase{T}, parameters, sites_per_bond) where {T}
    preparation = prepare_gradient(log_partition, AutoZygote(), ones(T, parameters), Constant(case))
    return TrgProblem(case, parameters, T(sites_per_bond), preparation)
end

nparameters(problem::TrgProblem) = problem.parameters

objective(problem::TrgProblem) = (log_partition, problem.case)

value(problem::TrgProblem, θ) = log_partition(parameters(problem, θ), problem.case)

gradient(problem::TrgProblem, θ) =
    value_and_gradient(log_partition, problem.preparation, AutoZygote(), parameters(problem, θ), Constant(problem.case))

"""
`free_energy` −ln Z per site and its derivative `energy` when all couplings change, both without dimensions; `correlations`
<ss′> of each parameter's bonds (P,); `spectrum`, the singular values of the last step over the largest (χ,).
"""
function outputs(problem::TrgProblem{T}, θ) where {T}
    loss, θ̄ = gradient(problem, θ)
    spectrum = T[]
    function inspected(M, k)
        factors, AB = split_and_keep(M, k)
        spectrum = first(factors).S[1:k]
        return AB
    end
    log_partition(parameters(problem, θ), problem.case, inspected)
    return (
        free_energy = fill(-loss),
        energy = fill(-sum(θ̄)),
        correlations = θ̄ .* problem.sites_per_bond,
        spectrum = spectrum ./ first(spectrum),
    )
end

"Counts the matrices that are split and the multiply-adds of the products that are really made."
function work(problem::TrgProblem, θ)
    iterations, svds, bond_dimension, multiply_adds = 0, 0, 0, 0
    function counted_split(M, k)
        A, B = split(M, k)
        iterations += 1
        svds += size(M, 3)
        bond_dimension = size(A, 2)
        return A, B
    end
    function counted_multiply(A, B)
        multiply_adds += length(A) * size(B, 2)
        return multiply(A, B)
    end
    log_partition(parameters(problem, θ), problem.case, counted_split, counted_multiply)
    return (; parameters = length(θ), iterations, svds, bond_dimension, multiply_adds)
end

made_with(::TrgProblem) = "Zygote"

function trg_workload()
    lattice = (bonds = [0; 0; 0; 0;;], plaquettes = [0 0 0 0], weights = [1.0, 1 / 2, 1 / 4, 1 / 8])
    exercise(build("trg", "reverse", (variant = "classic", chi = 4, iterations = 3, side = 1), lattice))
end
