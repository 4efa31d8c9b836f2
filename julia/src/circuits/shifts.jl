# What becomes of a circuit when one of its angles is shifted.

"""
    by_shifts(slope, evaluate, gates, θ) -> Vector

`slope(above, below)` for each of the rotations among `gates`, in time order, where these are `evaluate()` with its angle
shifted by ±π/2; the others hold `θ`, and so do all of them in the end.
"""
function by_shifts(slope, evaluate, gates, θ::AbstractVector{T}) where {T}
    slopes = similar(θ)
    k = 0
    for gate in gates
        gate isa CNOT && continue
        k += 1
        setiparams!(content(gate), θ[k] + T(π / 2))
        above = evaluate()
        setiparams!(content(gate), θ[k] - T(π / 2))
        slopes[k] = slope(above, evaluate())
        setiparams!(content(gate), θ[k])
    end
    return slopes
end
