# Products with the kernel K = Σ_σ exp(−|x−y|²/2σ) of a maximum mean discrepancy over 0 … 2ⁿ−1, never formed as a matrix.

"K on integers: a function of |x − y| alone, so `column[k + 1]` is K at distance k, as far as it is not lost in rounding."
struct IntegerKernel{T}
    column::Vector{T}
end

function IntegerKernel{T}(sigmas::AbstractVector, states::Int) where {T}
    # Beyond this distance every term is below eps(T)·e⁻⁴.
    reach = ceil(Int, sqrt(2 * maximum(sigmas) * (4 - log(eps(T)))))
    distances = 0:min(reach, states - 1)
    return IntegerKernel{T}([sum(σ -> exp(-k^2 / 2Float64(σ)), sigmas) for k in distances])
end

"""
K on Hamming distance, |x − y|² = number of differing bits: for each σ a product over the bits of [1 e; e 1] with
e = exp(−1/2σ), the entries of `factors`.
"""
struct HammingKernel{T}
    factors::Vector{T}
    scratch::Vector{T}
end

HammingKernel{T}(sigmas::AbstractVector, states::Int) where {T} =
    HammingKernel{T}([exp(-1 / 2Float64(σ)) for σ in sigmas], Vector{T}(undef, states))

const KERNELS = (integer = IntegerKernel, hamming = HammingKernel)

"`product!(y, kernel, x)`: y = K x for vectors of length 2ⁿ."
function product!(y::Vector{T}, kernel::IntegerKernel{T}, x::Vector{T}) where {T}
    column = kernel.column
    y .= column[1] .* x
    # A piece of y stays in cache while all distances are added to it.
    for piece in Iterators.partition(eachindex(y), 4096), k in 1:(length(column) - 1)
        add_scaled!(y, column[k + 1], x, -k, max(first(piece), 1 + k):last(piece))
        add_scaled!(y, column[k + 1], x, k, first(piece):min(last(piece), length(x) - k))
    end
    return y
end

"y[i] += w x[i + shift] for i in `range`."
function add_scaled!(y, w, x, shift, range)
    @inbounds @simd for i in range
        y[i] += w * x[i + shift]
    end
    return y
end

function product!(y::Vector{T}, kernel::HammingKernel{T}, x::Vector{T}) where {T}
    fill!(y, zero(T))
    for e in kernel.factors
        copyto!(kernel.scratch, x)
        stride = 1
        while stride < length(x)
            butterfly!(kernel.scratch, e, stride)
            stride *= 2
        end
        y .+= kernel.scratch
    end
    return y
end

"Applies [1 e; e 1] to the bit of weight `stride`."
function butterfly!(v, e, stride)
    @inbounds for start in 0:(2stride):(length(v) - 1)
        @simd for i in (start + 1):(start + stride)
            a, b = v[i], v[i + stride]
            v[i] = a + e * b
            v[i + stride] = e * a + b
        end
    end
    return v
end

"K x, for numbers of any kind."
product(kernel, x::AbstractVector) = linear(x -> product!(similar(x), kernel, x), x)

function ChainRulesCore.rrule(::typeof(product), kernel, x::AbstractVector)
    product_pullback(Δ) = NoTangent(), NoTangent(), product(kernel, unthunk(Δ))  # K is symmetric
    return product(kernel, x), product_pullback
end
