# The gradient by each of the methods.

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
