# Splitting a matrix in two by its singular value decomposition, cut off after the k largest values; with first and second
# derivatives that have no poles where kept values are equal.

using LinearAlgebra: Diagonal, I, LAPACKException, QRIteration, SVD, UniformScaling, diag, svd

"Broadening η of 1/d to d/(d² + η) in the rules of the SVD, d = s_j − s_i, where the largest entry of a tensor is 1."
const BROADENING = 1e-12

"The SVD of a square matrix."
function factorise(M)
    try
        return svd(M)
    catch error
        # Divide and conquer (gesdd) fails on one in thousands of these graded matrices; QR iteration (gesvd) does not.
        error isa LAPACKException || rethrow()
        return svd(M; alg = QRIteration())
    end
end

"""
    split(M, k) -> (A, B)

A = U√S and B = V√S of the `k` largest singular values of each of the matrices `M` (m × m × n), so that M ≈ ABᵀ.

The rules hold for losses that do not change under A → AO, B → BO with O orthogonal, as on the two ends of an inner leg.
"""
split(M::AbstractArray{T,3}, k) where {T} = last(split_and_keep(M, k))

function split_and_keep(M::AbstractArray{T,3}, k) where {T}
    m, n = size(M, 1), size(M, 3)
    A, B = similar(M, m, k, n), similar(M, m, k, n)
    factors = map(axes(M, 3)) do b
        F = decompose(M[:, :, b], k)
        A[:, :, b], B[:, :, b] = halves(F, k)
        F
    end
    return factors, (A, B)
end

decompose(M::Matrix, k) = factorise(M)

"U√S and V√S"
function halves(F::SVD, k)
    root = sqrt.(F.S[1:k])'
    return view(F.U, :, 1:k) .* root, view(F.V, :, 1:k) .* root
end

"""
The cotangent of one matrix M = USVᵀ (m × m) from those of A and B (m × k): Townsend's rule for the SVD, where it is used.

Pairs of kept values have no pole: that part of dA, dB is a rotation, and the loss does not see it (see the README of the
task). Pairs of one kept and one dropped value have F = 1/(s_j − s_i), broadened. Pairs of dropped ones do not count.
"""
function split_cotangent(F::SVD, Ā, B̄)
    T, k = eltype(Ā), size(Ā, 2)
    s, r = F.S[1:k], sqrt.(F.S[1:k])
    X, Y = F.U' * Ā, F.Vt * B̄
    kept, dropped = 1:k, (k + 1):length(F.S)
    together = (X[kept, :] .+ Y[kept, :]) ./ (2 .* (r .+ r'))
    apart = (X[kept, :] .- Y[kept, :]) .* r' ./ (2 .* (s .+ s'))
    N = zeros(T, length(F.S), k)
    N[kept, :] .= together .+ together' .+ apart .- apart'

    x, y = coupled(s, F.S[dropped], X[dropped, :] .* r', Y[dropped, :] .* r')
    N[dropped, :] .= x
    return (F.U * N) * view(F.Vt, kept, :) .+ view(F.U, :, kept) * (y' * view(F.Vt, dropped, :))
end

function ChainRulesCore.rrule(::typeof(split), M::AbstractArray{T,3}, k) where {T}
    factors, AB = split_and_keep(M, k)
    function split_pullback(Δ)
        Ā, B̄ = unthunk(Δ[1]), unthunk(Δ[2])
        M̄ = similar(M)
        for b in axes(M, 3)
            M̄[:, :, b] .= split_cotangent(factors[b], Ā[:, :, b], B̄[:, :, b])
        end
        return NoTangent(), M̄, NoTangent()
    end
    return AB, split_pullback
end

# Along a path of matrices
#
# U, s and V themselves are not differentiable where values cross. So M = U S Vᵀ + U_⊥ D V_⊥ᵀ, the kept values and the
# dropped ones, where S (k × k) and D are diagonal at the point itself but matrices along the path: no basis turns within
# the kept space or within the dropped one. With E = UᵀdM V, in blocks, and X, Y from `coupled`,
#     dS = E_kk, dD = E_⊥⊥, dU = U_⊥X, dV = V_⊥Y, dU_⊥ = −UXᵀ, dV_⊥ = −VYᵀ.
# The polar form S = QR², R symmetric, then gives A = UQR and B = VR, which are U√S and V√S up to a common rotation; with
# Ω = QᵀdQ, which is antisymmetric,
#     Qᵀ dS = Ω R² + dR R + R dR.
# Second derivatives come from doing this with dual numbers for all of it.

"""
The two spaces of a matrix and what lies between them. `U`, `V` (m × k) are kept, `U⊥`, `V⊥` dropped; `S` = `Q` `P`, with
`P` = `R`². Plain numbers make them diagonal where they can be; dual numbers do not.
"""
struct Blocks{T,K,R,O}
    U::Matrix{T}
    U⊥::Matrix{T}
    V::Matrix{T}
    V⊥::Matrix{T}
    S::K
    D::K
    Q::O
    P::R
    R::R
end

function Blocks(F::SVD, k)
    kept, dropped = 1:k, (k + 1):length(F.S)
    S = Diagonal(F.S[kept])
    return Blocks(
        F.U[:, kept], F.U[:, dropped], F.V[:, kept], F.V[:, dropped], S, Diagonal(F.S[dropped]), I, S, sqrt.(S)
    )
end

Blocks(F::Blocks, k) = F

"What `dM` adds to the entries of `F`."
function changes(F::Blocks, dM)
    left, right = matmul(F.U', dM), matmul(F.U⊥', dM)
    dS, f = matmul(left, F.V), permutedims(matmul(left, F.V⊥))
    e, dD = matmul(right, F.V), matmul(right, F.V⊥)
    X, Y = coupled(F.S, F.D, e, f)
    QᵀdS = turn(F.Q', dS)
    Ω = both_sides(F.P, QᵀdS .- permutedims(QᵀdS))
    dP = QᵀdS .- matmul(Ω, F.P)
    return Blocks(
        matmul(F.U⊥, X),
        .-matmul(F.U, permutedims(X)),
        matmul(F.V⊥, Y),
        .-matmul(F.V, permutedims(Y)),
        dS,
        dD,
        turn(F.Q, Ω),
        dP,
        both_sides(F.R, dP),
    )
end

turn(Q::UniformScaling, A) = A
turn(Q, A) = matmul(Q, A)

"Of numbers that carry derivatives."
function decompose(M::Matrix{D}, k) where {D<:Dual}
    F = Blocks(decompose(values_in(D, M), k), k)
    dF = map(dM -> changes(F, dM), tangents_in(D, M))
    joined(name) = as_duals(D, dense(getfield(F, name), k), map(d -> getfield(d, name), dF))
    return Blocks(map(joined, fieldnames(Blocks))...)
end

dense(A::AbstractMatrix, k) = A
dense(::UniformScaling, k) = I(k)

function halves(F::Blocks, k)
    QR = matmul(F.Q, F.R)
    return matmul(F.U, QR), matmul(F.V, F.R)
end

"""
    coupled(S, D, e, f) -> (X, Y)

The solution of XS − DY = e and YSᵀ − DᵀX = f, for S and D diagonal, given as vectors or matrices, or with dual numbers
whose values are. There, d/(d² + η) takes the place of 1/d, d = s_j − d_i.
"""
function coupled(s::AbstractVector{T}, d::AbstractVector, e, f) where {T}
    gap = s' .- d
    near, far = gap ./ (gap .^ 2 .+ T(BROADENING)), inv.(s' .+ d)
    return ((near .+ far) .* e .+ (near .- far) .* f) ./ 2, ((near .- far) .* e .+ (near .+ far) .* f) ./ 2
end

coupled(S::AbstractMatrix, D::AbstractMatrix, e, f) =
    coupled(promote_type(eltype(S), eltype(D), eltype(e), eltype(f)), S, D, e, f)
coupled(::Type, S, D, e, f) = coupled(diag(S), diag(D), e, f)
function coupled(::Type{T}, S, D, e, f) where {Tag,V,N,T<:Dual{Tag,V,N}}
    s, d = values_in(T, S), values_in(T, D)
    X, Y = coupled(s, d, values_in(T, e), values_in(T, f))
    Ṡ, Ḋ, ė, ḟ = tangents_in(T, S), tangents_in(T, D), tangents_in(T, e), tangents_in(T, f)
    slopes = ntuple(Val(N)) do k
        x, y = at(ė, k), at(ḟ, k)
        if Ṡ !== nothing
            x = minus(x, matmul(X, Ṡ[k]) .- matmul(Ḋ[k], Y))
            y = minus(y, matmul(Y, Ṡ[k]') .- matmul(Ḋ[k]', X))
        end
        coupled(s, d, something(x, zero(X)), something(y, zero(Y)))
    end
    return as_duals(T, X, map(first, slopes)), as_duals(T, Y, map(last, slopes))
end

at(tangents, k) = tangents[k]
at(::Nothing, k) = nothing
minus(a, b) = a .- b
minus(::Nothing, b) = .-b

"The solution Z of PZ + ZP = C, for P diagonal and positive, or with dual numbers whose values are."
both_sides(P::AbstractMatrix, C) = both_sides(promote_type(eltype(P), eltype(C)), P, C)
both_sides(::Type, P, C) = C ./ (diag(P) .+ diag(P)')
function both_sides(::Type{T}, P, C) where {Tag,V,N,T<:Dual{Tag,V,N}}
    p, Z = values_in(T, P), both_sides(values_in(T, P), values_in(T, C))
    Ṗ, Ċ = tangents_in(T, P), tangents_in(T, C)
    slopes = ntuple(Val(N)) do k
        c = at(Ċ, k)
        if Ṗ !== nothing
            c = minus(c, matmul(Ṗ[k], Z) .+ matmul(Z, Ṗ[k]))
        end
        both_sides(p, something(c, zero(Z)))
    end
    return as_duals(T, Z, slopes)
end

"The transpose of `changes`, from the cotangents of A = UQR and B = VR to that of M."
function split_cotangent(F::Blocks, Ā, B̄)
    K, H = matmul(F.Q', matmul(F.U', Ā)), matmul(F.V', B̄)
    R̄ = K .+ H
    P̄ = both_sides(F.R, (R̄ .+ permutedims(R̄)) ./ 2)
    W = matmul(K, F.R) .- matmul(P̄, F.P)
    S̄ = matmul(F.Q, P̄ .+ both_sides(F.P, W .- permutedims(W)))
    # Transposed, the equations of X and Y are the same with Sᵀ for S.
    QR = matmul(F.Q, F.R)
    e, f = coupled(
        permutedims(F.S), F.D, matmul(matmul(F.U⊥', Ā), QR'), matmul(matmul(F.V⊥', B̄), permutedims(F.R))
    )
    return matmul(matmul(F.U, S̄) .+ matmul(F.U⊥, e), F.V') .+ matmul(matmul(F.U, f'), F.V⊥')
end
