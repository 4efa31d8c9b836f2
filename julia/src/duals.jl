# Arrays of ForwardDiff's dual numbers, x + ẋ₁ε₁ + … + ẋₙεₙ, where x and ẋ may be dual numbers again. What is linear or
# bilinear is done for x and for each ẋ on its own: plain arrays go through BLAS, which dual numbers do not.

using ForwardDiff: Dual, ForwardDiff, Partials

"x without the derivatives that it carries."
primal(x::Real) = x
primal(x::Dual) = primal(ForwardDiff.value(x))

"x of the numbers in `A`, as dual numbers `D`; those of another kind are constants."
values_in(::Type{<:Dual{Tag}}, A::AbstractArray{<:Dual{Tag}}) where {Tag} = ForwardDiff.value.(A)
values_in(::Type{<:Dual}, A::AbstractArray) = A

"The arrays ẋ₁ … ẋₙ, or nothing for constants."
tangents_in(::Type{<:Dual{Tag}}, A::AbstractArray{<:Dual{Tag,V,N}}) where {Tag,V,N} =
    ntuple(k -> ForwardDiff.partials.(A, k), Val(N))
tangents_in(::Type{<:Dual}, A::AbstractArray) = nothing

"The array of dual numbers `D` that `values` and `tangents` make."
function as_duals(::Type{Dual{Tag,V,N}}, values::AbstractArray, tangents::NTuple{N,Any}) where {Tag,V,N}
    return map(CartesianIndices(values)) do i
        Dual{Tag,V,N}(convert(V, values[i]), Partials{N,V}(ntuple(k -> convert(V, tangents[k][i]), Val(N))))
    end
end

"f(A), for `f` linear in an array of any plain numbers."
linear(f, A::AbstractArray) = f(A)
linear(f, A::AbstractArray{D}) where {D<:Dual} =
    as_duals(D, linear(f, values_in(D, A)), map(Ȧ -> linear(f, Ȧ), tangents_in(D, A)))

"f(A, B), for `f` bilinear in arrays of any plain numbers."
bilinear(f, A::AbstractArray, B::AbstractArray) = bilinear(promote_type(eltype(A), eltype(B)), f, A, B)
bilinear(::Type, f, A, B) = f(A, B)
function bilinear(::Type{D}, f, A, B) where {Tag,V,N,D<:Dual{Tag,V,N}}
    a, b = values_in(D, A), values_in(D, B)
    ȧ, ḃ = tangents_in(D, A), tangents_in(D, B)
    tangents = ntuple(Val(N)) do k
        ȧ === nothing && return bilinear(f, a, ḃ[k])
        ḃ === nothing && return bilinear(f, ȧ[k], b)
        bilinear(f, ȧ[k], b) .+ bilinear(f, a, ḃ[k])
    end
    return as_duals(D, bilinear(f, a, b), tangents)
end

"AB"
matmul(A, B) = bilinear(*, A, B)

function ChainRulesCore.rrule(::typeof(matmul), A::AbstractMatrix, B::AbstractVecOrMat)
    function matmul_pullback(Δ)
        C̄ = unthunk(Δ)
        return NoTangent(), @thunk(matmul(C̄, B')), @thunk(matmul(A', C̄))
    end
    return matmul(A, B), matmul_pullback
end

"C = AB, or C += AB where `add`."
matmul!(C::AbstractArray, A, B, add::Bool = false) = mul!(C, A, B, true, add)
matmul!(C::AbstractArray{<:Dual}, A, B, add::Bool = false) = add ? C .+= matmul(A, B) : copyto!(C, matmul(A, B))
