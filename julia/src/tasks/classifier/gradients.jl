# The gradient by each of the methods.

function gradient(problem::ClassifierProblem, θ)
    θ = parameters(problem, θ)
    loss = evaluate!(problem, θ)
    return loss, derivatives(problem.method, problem, θ)
end

"λ of L = −mean ln ℓ, in Yao's convention: dL = Re <λ|dψ>."
function cotangent!(problem::ClassifierProblem)
    P̄ = -problem.weights ./ (problem.likely' .* length(problem.likely))
    from_chances!(state(problem.λ), state(problem.ψ), P̄)
    return problem.λ
end

function derivatives(::Reverse, problem::ClassifierProblem{T}, θ) where {T}
    ψ, λ = problem.ψ, cotangent!(problem)
    θ̄ = sizehint!(T[], length(θ))
    for (k, part) in Iterators.reverse(enumerate(subblocks(problem.circuit)))
        AD.apply_back!((ψ, λ), part, θ̄)
        isodd(k) && foreach(register -> withdraw!(state(register), problem.samples), (ψ, λ))
    end
    return θ̄
end

derivatives(::Adjoint, problem::ClassifierProblem, θ) =
    sweep_back(problem.parts, problem.samples, problem.ψ, cotangent!(problem), θ)

"The derivatives by the angles `θ` of all `parts`; un-applies these and the encodings to `ψ` and to its cotangent `λ`."
function sweep_back(parts, samples, ψ, λ, θ)
    θ̄ = similar(θ)
    stop = length(θ)
    for (k, gates) in Iterators.reverse(enumerate(parts))
        angles = (stop - count(gate -> !(gate isa CNOT), gates) + 1):stop
        θ̄[angles] = sweep_back(gates, ψ, λ, θ[angles])
        isodd(k) && foreach(register -> withdraw!(state(register), samples), (ψ, λ))
        stop = first(angles) - 1
    end
    return θ̄
end

# dℓ/dθ_k = ½(ℓ⁺ − ℓ⁻) of every sample, and dL = −mean dℓ/ℓ.
function derivatives(::ParameterShift, problem::ClassifierProblem, θ)
    likely = copy(problem.likely)
    slope(above, below) = -sum((above .- below) ./ (2 .* likely)) / length(likely)
    return by_shifts(slope, () -> copy(run!(problem)), Iterators.flatten(problem.parts), θ)
end
