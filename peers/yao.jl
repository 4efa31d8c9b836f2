# Yao as its documentation writes a variational eigensolver: `expect'` of a Hamiltonian on a circuit of blocks.

using Yao

function peer_circuit(qubits, gates)
    blocks = map(gates) do (kind, first, second)
        kind == "cnot" && return cnot(qubits, first + 1, second + 1)
        return put(qubits, second + 1 => (kind == "rx" ? Rx(0.0) : Rz(0.0)))
    end
    return chain(qubits, blocks...)
end

peer_terms(qubits, terms) = sum(J * kron(qubits, i + 1 => P, j + 1 => P) for (J, i, j) in terms for P in (X, Y, Z))

struct PeerProblem
    qubits::Int
    circuit::AbstractBlock
    hamiltonian::AbstractBlock
    θ::Vector{Float64}
end

peer_problem(qubits, gates, terms, θ) =
    PeerProblem(qubits, peer_circuit(qubits, gates), peer_terms(qubits, terms), Vector{Float64}(θ))

function peer_value(problem::PeerProblem)
    dispatch!(problem.circuit, problem.θ)
    return real(expect(problem.hamiltonian, zero_state(problem.qubits) => problem.circuit))
end

function peer_gradient(problem::PeerProblem)
    dispatch!(problem.circuit, problem.θ)
    _, slope = expect'(problem.hamiltonian, zero_state(problem.qubits) => problem.circuit)
    return slope
end
