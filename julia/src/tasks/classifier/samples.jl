# How samples get into the circuit: as the states that it starts from, or as rotations of their own before each layer.

"Amplitudes, a column a sample (2ⁿ × B)."
struct Images{T}
    amplitudes::Matrix{T}
end

"Angles in radians, a column a sample (2 × B): Rx(x₁) and then Rz(x₂) on every qubit."
struct Points{T}
    angles::Matrix{T}
end

const CLASSIFIER_VARIANTS = (digits = Images, reuploading = Points)

Base.length(samples::Images) = size(samples.amplitudes, 2)
Base.length(samples::Points) = size(samples.angles, 2)

"The states before the first layer: the images, or |0…0>."
first_states!(ψ::Matrix, samples::Images) = ψ .= samples.amplitudes
function first_states!(ψ::Matrix, ::Points)
    fill!(ψ, 0)
    ψ[1, :] .= 1
    return ψ
end

"Encodes every sample in its own column; `withdraw!` undoes it."
upload!(ψ::Matrix, ::Images) = ψ
withdraw!(ψ::Matrix, ::Images) = ψ
upload!(ψ::Matrix, samples::Points) = turn_columns!(upload_gate, ψ, samples.angles)
withdraw!(ψ::Matrix, samples::Points) = turn_columns!(withdraw_gate, ψ, samples.angles)

"Rz(x₂) Rx(x₁), its elements column by column."
function upload_gate(x₁, x₂)
    (s, c), φ = sincos(x₁ / 2), cis(x₂ / 2)
    return c * conj(φ), -im * s * φ, -im * s * conj(φ), c * φ
end

function withdraw_gate(x₁, x₂)
    (s, c), φ = sincos(x₁ / 2), cis(x₂ / 2)
    return c * φ, im * s * φ, im * s * conj(φ), c * conj(φ)
end

function turn_columns!(gate, ψ::Matrix, angles::Matrix)
    for column in axes(ψ, 2)
        u₁₁, u₂₁, u₁₂, u₂₂ = gate(angles[1, column], angles[2, column])
        stride = 1
        while stride < size(ψ, 1)
            @inbounds for start in 0:(2stride):(size(ψ, 1) - 1), i in (start + 1):(start + stride)
                zero, one = ψ[i, column], ψ[i + stride, column]
                ψ[i, column] = u₁₁ * zero + u₁₂ * one
                ψ[i + stride, column] = u₂₁ * zero + u₂₂ * one
            end
            stride *= 2
        end
    end
    return ψ
end

# The last qubit is what tells the label: 1 where it is 0.

"p and 1 − p of every column of `ψ`, each a sum of squares: (2 × B)."
chances(ψ::Matrix) = dropdims(sum(abs2, reshape(ψ, :, 2, size(ψ, 2)); dims = 1); dims = 1)

"y and 1 − y: (2 × B). With them a label's probability ℓ is the sum over a column of `weights .* chances`."
label_weights(labels::Vector) = permutedims([labels 1 .- labels])

"λ (2ⁿ × B) from the cotangent of `chances`, in Yao's convention: dL = Re <λ|dψ>."
function from_chances!(λ::Matrix, ψ::Matrix, P̄::AbstractMatrix)
    halves, size_ = reshape(ψ, :, 2, size(ψ, 2)), (1, 2, size(ψ, 2))
    reshape(λ, size(halves)) .= 2 .* reshape(P̄, size_) .* halves
    return λ
end
