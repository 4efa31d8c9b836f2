# Hamiltonian engineering on the transverse-field Ising chain: Fujita et al., arXiv:1705.05372; Xie, Liu, Wang,
# arXiv:2001.04121, for the gradient of a dominant eigenvector.
#
# H = −Σ J_i Z_i Z_{i+1} − Σ h_i X_i on L sites, periodic. Site i is bit i of a basis state, counted from zero, and site 0
# the least significant bit; θ is J, then h. Zygote differentiates the loss; matrices and eigenpairs have their own rules.

include("eigensolver/hamiltonian.jl")
include("eigensolver/eigenpairs.jl")

# The problem

"Sites that a dense H goes up to: 128 MiB there, 16 times as much with every two sites more."
const MOST_DENSE = 12

struct GroundState end
struct Spectrum end
const EIGENSOLVER_VARIANTS = (ground_state = GroundState(), spectrum = Spectrum())

"H as a matrix, and all its eigenpairs."
struct DenseEigen end
"H as an operator, and of its eigenpairs those that are needed."
struct DominantEigen end
const EIGENSOLVER_METHODS = (dense = DenseEigen(), dominant = DominantEigen())

make_hamiltonian(::DominantEigen, θ) = Halves(θ)
make_hamiltonian(::DenseEigen, θ) = chain_matrix(θ[1:(end ÷ 2)], θ[(end ÷ 2 + 1):end])

"A target, where Krylov spaces start, and how many levels the loss is made of."
struct EigensolverCase{T,V,M}
    variant::V
    method::M
    sites::Int
    levels::Int
    start::Vector{T}
    target::Vector{T}
end

bound(θ) = sum(abs ∘ primal, θ)
@non_differentiable bound(::Any)

chain_loss(θ, case::EigensolverCase) = chain_loss(case.variant, make_hamiltonian(case.method, θ), bound(θ), case)

chain_loss(::GroundState, H, scale, case) = 1 - abs(dot(ground_state(H, case.start, scale), case.target))

function chain_loss(::Spectrum, H, scale, case)
    # The level above tells whether the highest one of the loss is degenerate.
    E = energies(H, case.start, scale, case.levels + 1)
    return sum(abs2, E[1:case.levels] .- case.target) * unless_degenerate(E, scale)
end

struct EigensolverProblem{T,C<:EigensolverCase{T},P} <: Problem{T}
    case::C
    preparation::P
end

"""
    eigensolver_problem(method, config, data)

`config`: `variant` ("ground_state" or "spectrum"), `sites` L and `levels` m.
`data`: `start` (2ᴸ,) and `target`, a state (2ᴸ,) or m energies.
"""
function eigensolver_problem(method::AbstractString, @nospecialize(config::NamedTuple), @nospecialize(data::NamedTuple))
    return eigensolver_problem(
        choose("method of eigensolver", method, EIGENSOLVER_METHODS),
        choose("variant of eigensolver", config.variant, EIGENSOLVER_VARIANTS),
        Int(config.sites),
        Int(config.levels),
        data.start,
        data.target,
    )
end

function eigensolver_problem(method, variant, sites::Int, levels::Int, start::Vector{T}, target::Vector{T}) where {T}
    method isa DenseEigen && sites > MOST_DENSE && throw(
        ArgumentError(
            "a dense H of $sites sites has $(replace(string(8 * 4.0^sites / 2^30), r"\.0$" => "")) GiB, " *
            "and dense goes up to $MOST_DENSE sites: use dominant"
        ),
    )
    length(start) == 2^sites || throw(DimensionMismatch("$sites sites, but a start of length $(length(start))"))
    expected = variant isa GroundState ? 2^sites : levels
    length(target) == expected || throw(DimensionMismatch("a target of length $(length(target)), not $expected"))
    case = EigensolverCase(variant, method, sites, levels, start, target)
    θ = ones(T, 2sites)
    return EigensolverProblem(case, prepare_gradient(chain_loss, AutoZygote(), θ, Constant(case)))
end

nparameters(problem::EigensolverProblem) = 2 * problem.case.sites

objective(problem::EigensolverProblem) = (chain_loss, problem.case)

value(problem::EigensolverProblem, θ) = chain_loss(parameters(problem, θ), problem.case)

gradient(problem::EigensolverProblem, θ) =
    value_and_gradient(chain_loss, problem.preparation, AutoZygote(), parameters(problem, θ), Constant(problem.case))

"""
`energies` (m + 1,) and the smallest `gap` among them; for a ground state besides `state` (2ᴸ,), of the target's sign, and
`overlap`; where H is not a matrix, how many `applications` of it were needed.
"""
function outputs(problem::EigensolverProblem, θ)
    case = problem.case
    H = make_hamiltonian(case.method, parameters(problem, θ))
    E, V, applications = lowest_levels(H, case.start, bound(θ), case.levels + 1)
    named = (energies = E, gap = fill(minimum(diff(E))))
    if case.variant isa GroundState
        overlap = dot(view(V, :, 1), case.target)
        named = (; named..., state = V[:, 1] .* sign(overlap), overlap = fill(abs(overlap)))
    end
    return case.method isa DominantEigen ? (; named..., applications = fill(applications)) : named
end

"Counted from H's column of all spins up with unit couplings: −1 a bond on its diagonal, −1 a field below."
function work(problem::EigensolverProblem{T}, θ) where {T}
    case = problem.case
    up = zeros(T, 2^case.sites)
    up[1] = 1
    column(J, h) = apply(make_hamiltonian(case.method, repeat(T[J, h]; inner = case.sites)), up)
    return (
        parameters = length(parameters(problem, θ)),
        matrix_size = length(column(1, 0)),
        bonds = Int(-sum(column(1, 0))),
        fields = Int(-sum(column(0, 1))),
    )
end

made_with(problem::EigensolverProblem) = made_with(problem.case.method)
made_with(::DenseEigen) = "LAPACK, Zygote"
made_with(::DominantEigen) = "KrylovKit, Zygote"

function eigensolver_workload()
    ising = (start = [0.5, 0.4, 0.3, 0.2], target = [0.5, 0.5, 0.5, 0.5])
    for method in ("dense", "dominant")
        exercise(build("eigensolver", method, (variant = "ground_state", sites = 2, levels = 1), ising))
        spectrum = (; ising..., target = [-2.0, -1.0])
        exercise(build("eigensolver", method, (variant = "spectrum", sites = 2, levels = 2), spectrum))
    end
end
