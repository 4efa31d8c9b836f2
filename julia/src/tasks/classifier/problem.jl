# The problem: a circuit with its samples and their labels, and its value.

"A circuit, samples, and the registers of an evaluation."
struct ClassifierProblem{T,M,S} <: Problem{T}
    method::M
    samples::S
    "Those that the loss does not see."
    held::S
    "y and 1 − y (2 × B)."
    weights::Matrix{T}
    "Gates in time order, rotations and entanglers in turn."
    parts::Vector{Vector{Gate{T}}}
    "Holds the same blocks: parameters dispatched to it are seen in `parts`."
    circuit::ChainBlock{2}
    ψ::Batch{T}
    λ::Batch{T}
    "The probability of every sample's label."
    likely::Vector{T}
end

"""
    classifier_problem(method, config, data)

`config`: `variant` ("digits" or "reuploading"), `qubits` n and `depth` d. `data`: `images` (2ⁿ × B) or `points` (2 × B),
`labels` (B,), 0 or 1; `held_images` or `held_points`; `cnots` (2 × m; control and target, from zero).
"""
function classifier_problem(method::AbstractString, @nospecialize(config::NamedTuple), @nospecialize(data::NamedTuple))
    Samples = choose("variant of classifier", config.variant, CLASSIFIER_VARIANTS)
    samples, held = Samples === Images ? (data.images, data.held_images) : (data.points, data.held_points)
    qubits, method = Int(config.qubits), choose("method of classifier", method, CIRCUIT_METHODS)
    rows = Samples === Images ? 2^qubits : 2
    all(x -> size(x, 1) == rows, (samples, held)) ||
        throw(DimensionMismatch("$qubits qubits, but samples of $(size(samples, 1)) and $(size(held, 1)) numbers, not $rows"))
    return classifier_problem(method, Samples(samples), Samples(held), data.labels, qubits, Int(config.depth), data.cnots)
end

function classifier_problem(method, samples::S, held::S, labels::Vector{T}, qubits, depth, cnots) where {T,S}
    length(labels) == length(samples) ||
        throw(DimensionMismatch("$(length(samples)) samples, but $(length(labels)) labels"))
    parts = layers(T, qubits, depth, cnots, S <: Points)
    ψ = Batch{T}(zeros(Complex{T}, 2^qubits, length(labels)), length(labels))
    circuit = ChainBlock(qubits, [ChainBlock(qubits, part) for part in parts])
    return ClassifierProblem(method, samples, held, label_weights(labels), parts, circuit, ψ, copy(ψ), similar(labels))
end

nparameters(problem::ClassifierProblem) = Yao.nparameters(problem.circuit)

# Value

"Takes samples through the circuit with the angles that it holds."
function run!(ψ::BatchedArrayReg, circuit::ChainBlock, samples)
    first_states!(state(ψ), samples)
    for (k, part) in enumerate(subblocks(circuit))
        isodd(k) && upload!(state(ψ), samples)
        apply!(ψ, part)
    end
    return ψ
end

"Leaves the states in `ψ` and the labels' probabilities in `likely`, which it returns."
function run!(problem::ClassifierProblem)
    run!(problem.ψ, problem.circuit, problem.samples)
    P = chances(state(problem.ψ))
    problem.likely .= vec(sum(problem.weights .* P; dims = 1))
    return problem.likely
end

function evaluate!(problem::ClassifierProblem, θ)
    dispatch!(problem.circuit, θ)
    return mean_surprise(run!(problem))
end

"−mean ln ℓ"
mean_surprise(likely) = -sum(log.(likely)) / length(likely)

value(problem::ClassifierProblem, θ) = evaluate!(problem, parameters(problem, θ))

# Outputs and work

"`probabilities` p (B,) and `held_out` p of the samples that are held out."
function outputs(problem::ClassifierProblem{T}, θ) where {T}
    evaluate!(problem, parameters(problem, θ))
    probabilities = chances(state(problem.ψ))[1, :]
    count = length(problem.held)
    unseen = Batch{T}(zeros(Complex{T}, size(state(problem.ψ), 1), count), count)
    run!(unseen, problem.circuit, problem.held)
    return (; probabilities, held_out = chances(state(unseen))[1, :])
end

function work(problem::ClassifierProblem, θ)
    count, samples = length(parameters(problem, θ)), size(state(problem.ψ), 2)
    counts = (; parameters = count, circuit_work(problem.circuit)..., samples)
    problem.samples isa Images && return counts
    return (; counts..., encodings = 2 * counts.qubits * counts.layers)
end

made_with(problem::ClassifierProblem) = circuit_made_with(problem.method)

own_engine(::ClassifierProblem) = YaoEngine()

function classifier_workload()
    images, points, cnots = fill(0.5, 4, 2), [0.1 0.2; 0.3 0.4], [0 1; 1 0]
    data = (; images, held_images = images, points, held_points = points, labels = [0.0, 1.0], cnots)
    for variant in string.(keys(CLASSIFIER_VARIANTS)), method in string.(keys(CIRCUIT_METHODS))
        exercise(build("classifier", method, (; variant, qubits = 2, depth = 1), data))
    end
end
