# Eigenpairs of a Hamiltonian, a matrix or `Halves`: the lowest ones, and their derivatives.

using KrylovKit: CG, KrylovKit, eigsolve, linsolve
using LinearAlgebra: Symmetric, dot, eigen, mul!, norm

"H v"
function apply(H::Halves, v::AbstractVector)
    V = reshape(v, size(H.edge))
    w = H.edge .* V
    matmul!(w, H.low, V, true)
    return vec(matmul!(w, V, H.high, true))
end

apply(H::Matrix, v::AbstractVector) = matmul(H, v)

"The cotangent of H in the form wᵀ H v."
cotangent(::Matrix, w, v) = w * v'

function cotangent(H::Halves, w, v)
    W, V = reshape(w, size(H.edge)), reshape(v, size(H.edge))
    return Tangent{typeof(H)}(; low = matmul(W, V'), high = matmul(V', W), edge = W .* V)
end

# Eigenpairs. Every function takes a start of the Krylov space and a bound on ‖H‖, whether it needs them or not.

const KRYLOV_BASIS = 16
"Levels nearer to each other than this many eps·‖H‖ are one level to the arithmetic: degenerate."
const RESOLUTION = 8

"The `m` lowest energies, their vectors as columns of a matrix, and how often H was applied."
function lowest_levels(H::Matrix{<:AbstractFloat}, start, scale, m)
    E, V = eigen(Symmetric(H))
    return E[1:m], V[:, 1:m], 0
end

# One after the other, those that are found lifted to where nothing else is: a Krylov space holds one vector of a
# degenerate level, the one that the start has a share of, so that each level has a start of its own.
function lowest_levels(H::Halves{T}, start, scale, m) where {T<:AbstractFloat}
    E, V, applications = zeros(T, m), zeros(T, length(start), m), 0
    for k in 1:m
        found = view(V, :, 1:(k - 1))
        deflated(v) = mul!(apply(H, v), found, found' * v, 3scale, true)
        E[k], V[:, k], count = lowest_level(deflated, circshift(start, k - 1), 4scale)
        applications += count
    end
    return E, V, applications
end

"Energy, vector and number of applications; NaN where Lanczos does not converge. KrylovKit restarts it thickly."
function lowest_level(f, start::Vector{T}, scale) where {T}
    method = KrylovKit.Lanczos(;
        krylovdim = min(KRYLOV_BASIS, length(start)), maxiter = 500, tol = eps(T) * scale / 2, verbosity = 0
    )
    E, V, info = eigsolve(f, start, 1, :SR, method)
    definite = info.converged > 0 ? one(T) : T(NaN)
    return E[1] * definite, V[1] .* (definite / norm(V[1])), info.numops
end

"1, or NaN where two energies coincide to rounding: what is made of one of them has no derivative there."
unless_degenerate(E::AbstractVector{T}, scale) where {T} =
    minimum(diff(E)) > RESOLUTION * eps(T) * scale ? one(T) : T(NaN)
unless_degenerate(E::AbstractVector{<:Dual}, scale) = unless_degenerate(primal.(E), scale)
@non_differentiable unless_degenerate(::Any, ::Any)

"""
    energies(H, start, scale, m) -> Vector

The `m` lowest ones; dE = vᵀ dH v.
"""
energies(H, start, scale, m) = first(lowest_levels(H, start, scale, m))

function ChainRulesCore.rrule(::typeof(energies), H, start, scale, m)
    E, V, _ = lowest_levels(H, start, scale, m)
    function energies_pullback(Δ)
        Ē = unthunk(Δ)
        H̄ = sum(cotangent(H, Ē[k] .* V[:, k], V[:, k]) for k in 1:m)
        return NoTangent(), H̄, NoTangent(), NoTangent(), NoTangent()
    end
    return E, energies_pullback
end

"""
    ground_state(H, start, scale) -> Vector

The lowest eigenvector; (H − E₀) dv₀ = −(1 − v₀v₀ᵀ) dH v₀. NaN where it is degenerate, as far as the method can tell.
"""
ground_state(H, start, scale) = first(solved_ground_state(H, start, scale))

function ChainRulesCore.rrule(::typeof(ground_state), H, start, scale)
    v₀, resolvent = solved_ground_state(H, start, scale)
    ground_state_pullback(v̄₀) =
        (NoTangent(), cotangent(H, .-resolvent(unthunk(v̄₀)), v₀), NoTangent(), NoTangent())
    return v₀, ground_state_pullback
end

"The ground state v₀, and b ↦ (H − E₀)⁻¹ b in the complement of v₀."
function solved_ground_state(H::Matrix{<:AbstractFloat}, start, scale)
    E, V = eigen(Symmetric(H))
    excited = view(V, :, 2:size(V, 2))
    resolvent(b) = excited * ((excited' * b) ./ (view(E, 2:length(E)) .- E[1]))
    return V[:, 1] .* unless_degenerate(E[1:2], scale), resolvent
end

# By conjugate gradients: −E₀ v₀v₀ᵀ, positive, makes the system definite.
function solved_ground_state(H::Halves{<:AbstractFloat}, start, scale)
    E₀, v₀, _ = lowest_level(v -> apply(H, v), start, scale)
    project(x) = x .- dot(v₀, x) .* v₀
    return v₀, b -> solve(x -> project(apply(H, project(x))), project(b), -E₀, scale)
end

"""
Solves (a + f) x = b by conjugate gradients. NaN where half of the digits are not met, or x is so large that as much of f
is lost in rounding: where the system is singular.
"""
function solve(f, b::Vector{T}, a, scale) where {T}
    size = norm(b)
    size > 0 || return b .* one(T)  # also NaN
    method = CG(; maxiter = 1000, tol = 4 * eps(T) * scale * size, verbosity = 0)
    x, info = linsolve(f, b, zero(b), method, a, one(T))
    return max(info.normres, eps(T) * scale * norm(x)) <= sqrt(eps(T)) * size ? x : x .* T(NaN)
end

# Of an H that carries derivatives. With the resolvent G = (H − E)⁻¹ in the complement of v, a level moves by Ė = vᵀḢv and
# v̇ = −GḢv, and what G makes of b, x, by ẋ = G(ḃ − v̇(vᵀb) − (Ḣ − Ė)x) − v(v̇ᵀx). All of it holds for dual numbers again,
# so for derivatives of any order, and none of it takes the levels above apart.

values_in(D::Type{<:Dual}, H::Halves) = Halves((values_in(D, getfield(H, name)) for name in fieldnames(Halves))...)
tangents_in(D::Type{<:Dual}, H::Halves) =
    map(Halves, (tangents_in(D, getfield(H, name)) for name in fieldnames(Halves))...)

const MovingHamiltonian{D} = Union{Matrix{D},Halves{D}}

"From v and b ↦ Gb where H is `values_in(D, H)`: Ė₁ … Ėₙ, v, and b ↦ Gb."
function move_level(H::MovingHamiltonian{D}, v, resolvent) where {D<:Dual}
    Ḣ = tangents_in(D, H)
    pushed = map(Ḣ -> apply(Ḣ, v), Ḣ)
    Ė, v̇ = map(w -> dot(v, w), pushed), map(w -> .-resolvent(w), pushed)
    function moving_resolvent(b)
        b₀, ḃ = values_in(D, b), tangents_in(D, b)
        x = resolvent(b₀)
        ẋ = ntuple(length(Ḣ)) do k
            turned = v̇[k] .* dot(v, b₀) .+ apply(Ḣ[k], x) .- Ė[k] .* x
            resolvent(ḃ === nothing ? .-turned : ḃ[k] .- turned) .- v .* dot(v̇[k], x)
        end
        return as_duals(D, x, ẋ)
    end
    return Ė, as_duals(D, v, v̇), moving_resolvent
end

function solved_ground_state(H::MovingHamiltonian{D}, start, scale) where {D<:Dual}
    _, v₀, resolvent = move_level(H, solved_ground_state(values_in(D, H), start, scale)...)
    return v₀, resolvent
end

function lowest_levels(H::MovingHamiltonian{D}, start, scale, m) where {D<:Dual}
    E, V, _, applications = solved_levels(H, start, scale, m)
    return E, V, applications
end

"As `lowest_levels`, with the resolvents of the levels."
function solved_levels(H::MovingHamiltonian{D}, start, scale, m) where {D<:Dual}
    E, V, resolvents, applications = solved_levels(values_in(D, H), start, scale, m)
    moved = [move_level(H, V[:, k], resolvents[k]) for k in 1:m]
    Ė = ntuple(i -> [first(level)[i] for level in moved], length(first(first(moved))))
    return as_duals(D, E, Ė), reduce(hcat, [level[2] for level in moved]), last.(moved), applications
end

# A level that coincides with this one would be divided by zero; it is left out, and the loss is then NaN if it sees either.
function solved_levels(H::Matrix{T}, start, scale, m) where {T<:AbstractFloat}
    E, V = eigen(Symmetric(H))
    resolvents = map(1:m) do k
        inverse = [abs(e - E[k]) > RESOLUTION * eps(T) * scale ? inv(e - E[k]) : zero(T) for e in E]
        b -> V * (inverse .* (V' * b))
    end
    return E[1:m], V[:, 1:m], resolvents, 0
end

# Levels below this one are known; above them, by conjugate gradients.
function solved_levels(H::Halves{T}, start, scale, m) where {T<:AbstractFloat}
    E, V, applications = lowest_levels(H, start, scale, m)
    resolvents = map(1:m) do k
        known, below = V[:, 1:k], V[:, 1:(k - 1)]
        project(x) = x .- known * (known' * x)
        b -> below * ((below' * b) ./ (E[1:(k - 1)] .- E[k])) .+
            solve(x -> project(apply(H, project(x))), project(b), -E[k], scale)
    end
    return E, V, resolvents, applications
end
