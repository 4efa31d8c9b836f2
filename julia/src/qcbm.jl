# The quantum circuit Born machine: Liu, Wang, arXiv:1804.04168, on the blocks and registers of Yao, arXiv:1912.10877.
#
# Qubit 0 of the task is the least significant bit of a basis state, which is Yao's qubit 1.

using LinearAlgebra: dot
using Yao:
    AD,
    ArrayReg,
    ChainBlock,
    ControlBlock,
    PutBlock,
    RotationGate,
    Rx,
    Rz,
    XGate,
    ZGate,
    apply!,
    cnot,
    collect_blocks,
    content,
    dispatch!,
    instruct!,
    put,
    setiparams!,
    state,
    subblocks,
    zero_state

# The circuit

const Turn{G,T} = PutBlock{2,1,RotationGate{2,T,G}}
const CNOT = ControlBlock{XGate,1,1}
# Three concrete types, so that loops over gates split the union instead of dispatching.
const Gate{T} = Union{Turn{XGate,T},Turn{ZGate,T},CNOT}
const Register{T} = ArrayReg{2,Complex{T},Matrix{Complex{T}}}

"Rz·Rx·Rz, in time order, on every qubit; not the first Rz of layer 0 and not the last Rz of layer `depth`."
function rotation_layer(::Type{T}, layer, depth, qubits) where {T}
    gates = Gate{T}[]
    for qubit in 1:qubits
        layer > 0 && push!(gates, put(qubits, qubit => Rz(zero(T))))
        push!(gates, put(qubits, qubit => Rx(zero(T))))
        layer < depth && push!(gates, put(qubits, qubit => Rz(zero(T))))
    end
    return gates
end

"Controlled flips in the order of the columns (control, target) of `cnots`, which count qubits from zero."
entangling_layer(::Type{T}, cnots, qubits) where {T} =
    Gate{T}[cnot(qubits, Int(control) + 1, Int(target) + 1) for (control, target) in eachcol(cnots)]

"The gates of the whole circuit, a vector a layer, rotations and entanglers in turn."
function layers(::Type{T}, qubits, depth, cnots) where {T}
    rotations = [rotation_layer(T, layer, depth, qubits) for layer in 0:depth]
    entanglers = [entangling_layer(T, cnots, qubits) for _ in 1:depth]
    return [iseven(k) ? entanglers[k ÷ 2] : rotations[(k + 1) ÷ 2] for k in 1:(2depth + 1)]
end

# The problem

"Yao's own reverse mode: un-applies the circuit to the state and its cotangent, block by block."
struct Reverse end
"The same idea written out on Yao's instructions, with a contraction in place of two gates for each derivative."
struct Adjoint end
"½(p(θ_k + π/2) − p(θ_k − π/2)) for every parameter: 2P circuits."
struct ParameterShift end

const QCBM_METHODS = (reverse = Reverse(), adjoint = Adjoint(), parameter_shift = ParameterShift())
const QCBM_VARIANTS = (gaussian = :gaussian, bars_and_stripes = :bars_and_stripes)

"A circuit, a target distribution, and the buffers of an evaluation."
struct QcbmProblem{T,M,K} <: Problem{T}
    method::M
    kernel::K
    target::Vector{T}
    "Holds the same blocks as `gates`: parameters dispatched to the one are seen in the other."
    circuit::ChainBlock{2}
    "In time order."
    gates::Vector{Gate{T}}
    ψ::Register{T}
    λ::Register{T}
    "p − π"
    q::Vector{T}
    "K(p − π)"
    Kq::Vector{T}
end

"""
    qcbm_problem(method, config, data)

`config`: `variant` ("gaussian" or "bars_and_stripes"), `qubits` n, `depth` d and `kernel` ("integer" or "hamming").
`data`: `target` (2ⁿ,), `cnots` (2 × m; control and target, from zero) and `sigmas`.
"""
function qcbm_problem(method::AbstractString, @nospecialize(config::NamedTuple), @nospecialize(data::NamedTuple))
    choose("variant of qcbm", config.variant, QCBM_VARIANTS)
    return qcbm_problem(
        choose("method of qcbm", method, QCBM_METHODS),
        choose("kernel of qcbm", config.kernel, KERNELS),
        Int(config.qubits),
        Int(config.depth),
        data.target,
        data.cnots,
        data.sigmas,
    )
end

function qcbm_problem(method, Kernel, qubits::Int, depth::Int, target::Vector{T}, cnots, sigmas) where {T}
    length(target) == 2^qubits || throw(DimensionMismatch("$qubits qubits, but a target of length $(length(target))"))
    parts = layers(T, qubits, depth, cnots)
    return QcbmProblem(
        method,
        Kernel{T}(sigmas, length(target)),
        target,
        ChainBlock(qubits, [ChainBlock(qubits, part) for part in parts]),
        reduce(vcat, parts),
        zero_state(Complex{T}, qubits),
        zero_state(Complex{T}, qubits),
        similar(target),
        similar(target),
    )
end

nparameters(problem::QcbmProblem) = Yao.nparameters(problem.circuit)

# Value

"Runs the circuit from |0…0> with the parameters that it holds; leaves the state in `ψ` and p − π in `q`."
function run!(problem::QcbmProblem)
    ψ = vec(state(problem.ψ))
    fill!(ψ, 0)
    ψ[1] = 1
    apply!(problem.ψ, problem.circuit)
    problem.q .= abs2.(ψ) .- problem.target
    return problem
end

"The loss (p − π)ᵀK(p − π); leaves `ψ`, `q` and `Kq` behind for a gradient."
function evaluate!(problem::QcbmProblem, θ)
    dispatch!(problem.circuit, θ)
    run!(problem)
    product!(problem.Kq, problem.kernel, problem.q)
    return dot(problem.q, problem.Kq)
end

value(problem::QcbmProblem, θ) = evaluate!(problem, parameters(problem, θ))

# Gradient

function gradient(problem::QcbmProblem, θ)
    θ = parameters(problem, θ)
    loss = evaluate!(problem, θ)
    return loss, derivatives(problem.method, problem, θ)
end

"λ = ∂L/∂Re ψ + i ∂L/∂Im ψ = 4 K(p − π) ∘ ψ: Yao's convention, dL = Re <λ|dψ>."
function cotangent!(problem::QcbmProblem)
    state(problem.λ) .= 4 .* problem.Kq .* state(problem.ψ)
    return problem.λ
end

function derivatives(::Reverse, problem::QcbmProblem{T}, θ) where {T}
    θ̄ = sizehint!(T[], length(θ))
    AD.apply_back!((problem.ψ, cotangent!(problem)), problem.circuit, θ̄)
    return θ̄
end

# A rotation R = exp(−iθσ/2) gives dψ = −(i/2) σψ dθ right after it, so dL/dθ = Re <λ|−(i/2) σψ> = ½ Im <λ|σψ> there.
function derivatives(::Adjoint, problem::QcbmProblem, θ)
    ψ, λ = problem.ψ, cotangent!(problem)
    return sweep_back(problem.gates, ψ, λ, θ)
end

"The derivatives by the angles `θ` of `gates`; un-applies these to `ψ` and to its cotangent `λ`."
function sweep_back(gates, ψ, λ, θ)
    θ̄ = similar(θ)
    k = length(θ)
    for gate in Iterators.reverse(gates)
        if gate isa CNOT
            apply!(ψ, gate)
            apply!(λ, gate)
        else
            θ̄[k] = imag_overlap(content(gate).block, vec(state(λ)), vec(state(ψ)), only(gate.locs)) / 2
            turn!(ψ, gate, -θ[k])
            turn!(λ, gate, -θ[k])
            k -= 1
        end
    end
    return θ̄
end

turn!(register, gate::Turn{XGate}, angle) = instruct!(register, Val(:Rx), gate.locs, angle)
turn!(register, gate::Turn{ZGate}, angle) = instruct!(register, Val(:Rz), gate.locs, angle)

"Im <λ|σψ> for σ = X or Z on one qubit, counted from one."
function imag_overlap(σ, λ::Vector{Complex{T}}, ψ::Vector{Complex{T}}, qubit) where {T}
    stride = 1 << (qubit - 1)
    total = zero(T)
    @inbounds for start in 0:(2stride):(length(ψ) - 1)
        @simd for i in (start + 1):(start + stride)
            total += imag_pair(σ, λ[i], λ[i + stride], ψ[i], ψ[i + stride])
        end
    end
    return total
end

imag_pair(::XGate, λ₀, λ₁, ψ₀, ψ₁) = imag(conj(λ₀) * ψ₁) + imag(conj(λ₁) * ψ₀)
imag_pair(::ZGate, λ₀, λ₁, ψ₀, ψ₁) = imag(conj(λ₀) * ψ₀) - imag(conj(λ₁) * ψ₁)

# dL/dθ_k = 2 K(p − π)·∂p, where ∂p = ½(p⁺ − p⁻); π drops out of the difference.
function derivatives(::ParameterShift, problem::QcbmProblem{T}, θ) where {T}
    θ̄ = similar(θ)
    k = 0
    for gate in problem.gates
        gate isa CNOT && continue
        k += 1
        θ̄[k] = shifted(problem, content(gate), θ[k] + T(π / 2)) - shifted(problem, content(gate), θ[k] - T(π / 2))
        setiparams!(content(gate), θ[k])
    end
    return θ̄
end

"K(p − π)·(p − π) with p from the circuit with one angle replaced; `Kq` stays that of the unshifted circuit."
function shifted(problem::QcbmProblem, rotation, angle)
    setiparams!(rotation, angle)
    run!(problem)
    return dot(problem.Kq, problem.q)
end

# For engines: a loss of any numbers, on Yao's instructions, with a rule for what reverse mode must not look into

"The gates of a circuit, in time order. Its angles are given by who runs it, those in the gates do not count."
struct Circuit{T}
    qubits::Int
    gates::Vector{Gate{T}}
end

"The register after a circuit."
function run(circuit::Circuit, θ::AbstractVector{T}) where {T}
    ψ = zero_state(Complex{T}, circuit.qubits)
    k = 0
    for gate in circuit.gates
        if gate isa CNOT
            apply!(ψ, gate)
        else
            turn!(ψ, gate, θ[k += 1])
        end
    end
    return ψ
end

"""
    probabilities(circuit, θ) -> Vector

p = |ψ|², (2ⁿ,).
"""
probabilities(circuit::Circuit, θ::AbstractVector) = vec(abs2.(state(run(circuit, θ))))

# dL = Σ p̄ dp = Re <λ|dψ> with λ = 2 p̄ ∘ ψ.
function ChainRulesCore.rrule(::typeof(probabilities), circuit::Circuit, θ::AbstractVector)
    ψ = run(circuit, θ)
    function probabilities_pullback(Δ)
        back, λ = copy(ψ), copy(ψ)
        state(λ) .*= 2 .* unthunk(Δ)
        return NoTangent(), NoTangent(), sweep_back(circuit.gates, back, λ, θ)
    end
    return vec(abs2.(state(ψ))), probabilities_pullback
end

struct QcbmCase{T,K}
    circuit::Circuit{T}
    kernel::K
    target::Vector{T}
end

function discrepancy(θ, case::QcbmCase)
    q = probabilities(case.circuit, θ) .- case.target
    return dot(q, product(case.kernel, q))
end

objective(problem::QcbmProblem) = objective(problem.method, problem)
objective(::Reverse, problem::QcbmProblem) =
    (discrepancy, QcbmCase(Circuit(Yao.nqubits(problem.circuit), problem.gates), problem.kernel, problem.target))

# Outputs and work

"`distribution` p, (2ⁿ,)."
function outputs(problem::QcbmProblem, θ)
    evaluate!(problem, parameters(problem, θ))
    return (distribution = vec(abs2.(state(problem.ψ))),)
end

"Counts blocks in the circuit's tree."
function work(problem::QcbmProblem, θ)
    circuit = problem.circuit
    return (
        parameters = length(parameters(problem, θ)),
        rotations = length(collect_blocks(RotationGate, circuit)),
        cnots = length(collect_blocks(ControlBlock, circuit)),
        layers = count(part -> Yao.nparameters(part) > 0, subblocks(circuit)),
        qubits = Yao.nqubits(circuit),
    )
end

made_with(problem::QcbmProblem) = made_with(problem.method)
made_with(::Reverse) = "Yao"
made_with(::Adjoint) = "Yao blocks, own sweep"
made_with(::ParameterShift) = "Yao"
