# The problem: a circuit with its Hamiltonian, and its value.

"A circuit, a Hamiltonian, and the registers of an evaluation."
struct VqeProblem{T,M,H,G} <: Problem{T}
    method::M
    hamiltonian::H
    "The same as Yao's block."
    terms::AbstractBlock{2}
    "Holds the same blocks as `gates`: parameters dispatched to the one are seen in the other."
    circuit::ChainBlock{2}
    "In time order."
    gates::Vector{G}
    sharing::Sharing{T}
    bonds::Int
    ψ::Register{T}
    λ::Register{T}
end

"""
    vqe_problem(method, config, data)

`config`: `variant` ("tfim", "heisenberg" or "maxcut"), `qubits` n and `depth`. `data`: `bonds` (2 × m, from zero), and
`diagonal` (2ⁿ,) or, for "heisenberg", `couplings` (m,) and `cnots` (2 × n; control and target, from zero).
"""
function vqe_problem(method::AbstractString, @nospecialize(config::NamedTuple), @nospecialize(data::NamedTuple))
    kind = choose("variant of vqe", config.variant, VQE_VARIANTS)
    qubits = Int(config.qubits)
    H = vqe_hamiltonian(kind, qubits, data)
    return vqe_problem(choose("method of vqe", method, CIRCUIT_METHODS), H, qubits, Int(config.depth), data)
end

function vqe_hamiltonian(kind, qubits, data)
    length(data.diagonal) == 2^qubits ||
        throw(DimensionMismatch("$qubits qubits, but a diagonal of length $(length(data.diagonal))"))
    return kind(data.diagonal)
end

vqe_hamiltonian(::Type{HeisenbergBonds}, qubits, data) =
    HeisenbergBonds([(1 << Int(i), 1 << Int(j)) for (i, j) in eachcol(data.bonds)], data.couplings)

function vqe_problem(method, H, qubits::Int, depth::Int, data)
    circuit, gates, sharing = ansatz(H, qubits, depth, data)
    terms = yao_terms(H, qubits, qubit_pairs(data.bonds))
    registers = ntuple(_ -> zero_state(Complex{eltype(sharing.factors)}, qubits), 2)
    return VqeProblem(method, H, terms, circuit, gates, sharing, size(data.bonds, 2), registers...)
end

nparameters(problem::VqeProblem) = problem.sharing.count

# Value

"Runs the circuit with the angles that it holds; leaves the state in `ψ` and Hψ in `λ`, returns <ψ|Hψ>."
function run!(problem::VqeProblem)
    first_state!(problem.hamiltonian, vec(state(problem.ψ)))
    apply!(problem.ψ, problem.circuit)
    image!(problem.method, problem)
    return real(dot(vec(state(problem.ψ)), vec(state(problem.λ))))
end

function image!(::Reverse, problem::VqeProblem)
    copyto!(state(problem.λ), state(problem.ψ))
    apply!(problem.λ, problem.terms)
    return problem.λ
end

function image!(::Union{Adjoint,ParameterShift}, problem::VqeProblem)
    apply_terms!(vec(state(problem.λ)), problem.hamiltonian, vec(state(problem.ψ)))
    return problem.λ
end

function evaluate!(problem::VqeProblem, θ)
    dispatch!(problem.circuit, angles(problem.sharing, θ))
    return run!(problem)
end

value(problem::VqeProblem, θ) = evaluate!(problem, parameters(problem, θ))

# Outputs and work

"`distribution` p = |ψ|², (2ⁿ,)."
function outputs(problem::VqeProblem, θ)
    evaluate!(problem, parameters(problem, θ))
    return (distribution = vec(abs2.(state(problem.ψ))),)
end

"Counts blocks in the circuit's tree."
function work(problem::VqeProblem, θ)
    blocks = collect_blocks(PutBlock, problem.circuit)
    entanglers = count(block -> length(block.locs) == 2, blocks)
    return (
        parameters = length(parameters(problem, θ)),
        rotations = length(blocks) - entanglers,
        entanglers = entanglers + length(collect_blocks(ControlBlock, problem.circuit)),
        layers = count(part -> Yao.nparameters(part) > 0, subblocks(problem.circuit)),
        qubits = Yao.nqubits(problem.circuit),
        bonds = problem.bonds,
    )
end

made_with(problem::VqeProblem) = circuit_made_with(problem.method)

own_engine(::VqeProblem) = YaoEngine()

function vqe_workload()
    bonds, cnots = [0 1 2 3; 1 2 3 0], [0 2 1 3; 1 3 2 0]
    data = (; bonds, cnots, diagonal = collect(1.0:16.0), couplings = ones(4))
    for variant in string.(keys(VQE_VARIANTS)), method in string.(keys(CIRCUIT_METHODS))
        exercise(build("vqe", method, (; variant, qubits = 4, depth = 1), data))
    end
end
