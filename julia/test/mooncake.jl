# The rules of the extension, one by one. To differentiate a whole loss with them Mooncake compiles for minutes: the suite's own
# tests do. The module is asked for by name, since not every environment has it.
const MOONCAKE = Base.require(Main, :Mooncake)
const BY_MOONCAKE = Base.get_extension(DiffProgTasks, :ByMooncake)

set!(x::Array, y) = copyto!(x, y)
set!(x::Tuple, y) = foreach(set!, x, y)

function mooncake_cotangent(ȳ, f, arguments...)
    duals = map(MOONCAKE.zero_fcodual, arguments)
    y, back = MOONCAKE.rrule!!(MOONCAKE.zero_fcodual(f), duals...)
    set!(y.dx, ȳ)
    back(MOONCAKE.NoRData())
    return map(dual -> dual.dx, duals)
end

# What is around the one call is not differentiated: forward mode over reverse mode, by hand.
function mooncake_second(ȳ, f, arguments, tangents; ȳ̇ = MOONCAKE.zero_tangent(ȳ))
    Dual = MOONCAKE.Dual
    duals = map(Dual, arguments, tangents)
    made = MOONCAKE.frule!!(MOONCAKE.zero_dual(BY_MOONCAKE.with_pullback), MOONCAKE.zero_dual(f), duals...)
    x̄ = map(x -> map(zero, BY_MOONCAKE.arrays(x)), BY_MOONCAKE.pick(f, arguments))
    sums = Dual(x̄, map(arrays -> map(zero, arrays), x̄))
    MOONCAKE.frule!!(
        MOONCAKE.zero_dual(BY_MOONCAKE.pull!), sums, MOONCAKE.zero_dual(f), MOONCAKE.zero_dual(made.primal[2]),
        MOONCAKE.Dual(ȳ, ȳ̇),
    )
    return sums.tangent
end

# Of an array, or of a tuple of arrays: its entries, random ones in its place, a step away from it.
flat(x::Array) = vec(x)
flat(x::Tuple) = reduce(vcat, map(flat, x))
random(rng, x::Array) = randn(rng, size(x))
random(rng, x::Tuple) = map(x -> random(rng, x), x)
moved(x::Array, t, ẋ) = x .+ t .* ẋ
moved(x::Tuple, t, ẋ) = map((x, ẋ) -> moved(x, t, ẋ), x, ẋ)

@testset "Mooncake's rule of $f, argument $k" for (f, k, arguments) in (
    (DiffProgTasks.energies, 1, (Matrix(Symmetric(randn(Xoshiro(1), 6, 6))), ones(6), 6.0, 2)),
    (DiffProgTasks.ground_state, 1, (Matrix(Symmetric(randn(Xoshiro(1), 6, 6))), ones(6), 6.0)),
    (DiffProgTasks.chain_matrix, 1, (randn(Xoshiro(2), 3), randn(Xoshiro(3), 3))),
    (DiffProgTasks.multiply, 1, (randn(Xoshiro(2), 2, 3, 2), randn(Xoshiro(3), 3, 4, 2))),
    (DiffProgTasks.multiply, 2, (randn(Xoshiro(2), 2, 3, 2), randn(Xoshiro(3), 3, 4, 2))),
    (DiffProgTasks.payoff, 2, (GAME.discriminator, rand(Xoshiro(4), 4), randn(Xoshiro(5), 17))),
    (DiffProgTasks.payoff, 3, (GAME.discriminator, rand(Xoshiro(4), 4), randn(Xoshiro(5), 17))),
    (DiffProgTasks.matmul, 1, (randn(Xoshiro(2), 2, 3), randn(Xoshiro(3), 3, 4))),
    (DiffProgTasks.matmul, 2, (randn(Xoshiro(2), 2, 3), randn(Xoshiro(3), 3))),
    (DiffProgTasks.combine, 1, (randn(Xoshiro(2), 2, 3), (0.3,), (randn(Xoshiro(3), 2, 3),))),
    (DiffProgTasks.combine, 3, (randn(Xoshiro(2), 4), (0.3, -0.7), (randn(Xoshiro(3), 4), randn(Xoshiro(4), 4)))),
    (BY_MOONCAKE.activated, 2, (DiffProgTasks.Logistic(), randn(Xoshiro(2), 3, 2), randn(Xoshiro(3), 3), ones(3))),
    (BY_MOONCAKE.activated, 3, (DiffProgTasks.HyperbolicTangent(), randn(Xoshiro(2), 3, 2), ones(3), ones(3))),
    (BY_MOONCAKE.activated, 4, (DiffProgTasks.HyperbolicTangent(), randn(Xoshiro(2), 3, 2), ones(3), ones(3))),
    (DiffProgTasks.probabilities, 2, (last(DiffProgTasks.objective(MACHINE)).circuit, randn(Xoshiro(4), nparameters(MACHINE)))),
    (DiffProgTasks.product, 2, (MACHINE.kernel, randn(Xoshiro(5), 4))),
    (DiffProgTasks.label_chances, 2, (last(DiffProgTasks.objective(first(classifying("reuploading")))).circuit, randn(Xoshiro(4), 36))),
)
    x, rng = arguments[k], Xoshiro(6)
    ẋ = random(rng, x)
    f in (DiffProgTasks.energies, DiffProgTasks.ground_state) && (ẋ = ẋ + ẋ')
    at(t) = Base.setindex(arguments, moved(x, t, ẋ), k)
    tangents = Base.setindex(map(MOONCAKE.zero_tangent, arguments), ẋ, k)
    found = MOONCAKE.frule!!(MOONCAKE.zero_dual(f), map(MOONCAKE.Dual, arguments, tangents)...)
    @test flat(found.primal) ≈ flat(f(arguments...))
    # LAPACK chooses the sign of an eigenvector anew for each matrix.
    turn(t) = f === DiffProgTasks.ground_state ? sign(dot(f(at(t)...), found.primal)) : 1
    @test flat(found.tangent) ≈ directional(t -> turn(t) .* flat(f(at(t)...)), 0.0, 1.0) rtol = 1e-8
    ȳ = random(rng, found.primal)
    cotangent(t) = flat(mooncake_cotangent(ȳ, f, at(t)...)[k])
    @test dot(cotangent(0.0), flat(ẋ)) ≈ dot(flat(ȳ), flat(found.tangent)) rtol = 1e-12
    slopes = mooncake_second(ȳ, f, arguments, tangents)[findfirst(==(k), BY_MOONCAKE.varying(f))]
    @test flat(slopes) ≈ directional(t -> turn(t) .* cotangent(t), 0.0, 1.0) rtol = 1e-7 atol = 1e-8
end

@testset "Mooncake's rule of split" begin
    rng, k, split = Xoshiro(7), 2, DiffProgTasks.split
    M, Ṁ, W = (randn(rng, 5, 5, 3) for _ in 1:3)
    each(multiply, X, Y) = stack(multiply(X[:, :, b], Y[:, :, b]) for b in axes(X, 3))
    # The loss ⟨W, ABᵀ⟩, which does not see a common rotation of A and B.
    loss(M) = dot(W, each((A, B) -> A * B', split(M, k)...))
    cotangents((A, B)) = (each(*, W, B), each((W, A) -> W' * A, W, A))
    slope = directional(loss, M, Ṁ)
    ȳ = cotangents(split(M, k))
    found = MOONCAKE.frule!!(MOONCAKE.zero_dual(split), MOONCAKE.Dual(M, Ṁ), MOONCAKE.zero_dual(k))
    @test sum(dot.(found.tangent, ȳ)) ≈ slope rtol = 1e-9
    M̄(M) = first(mooncake_cotangent(cotangents(split(M, k)), split, M, k))
    @test dot(M̄(M), Ṁ) ≈ slope rtol = 1e-9
    slopes = mooncake_second(ȳ, split, (M, k), (Ṁ, MOONCAKE.zero_tangent(k)); ȳ̇ = cotangents(found.tangent))
    @test only(only(slopes)) ≈ directional(M̄, M, Ṁ) rtol = 1e-7
end

@testset "Mooncake's rule of $move, which only moves entries" for (move, size, how) in (
    (DiffProgTasks.legs, (2, 3, 4), ((2, 3, 1), (12, 2))),
    (DiffProgTasks.matrices, (2, 2, 2, 2, 2), (DiffProgTasks.Coarsening(1, 1, 2, 2, 1:1),)),
    (DiffProgTasks.corner, (4, 3, 5), ([4, 1, 4], DiffProgTasks.Coarsening(3, 3, 2, 3, 1:3))),
)
    rng = Xoshiro(8)
    x, ẋ = randn(rng, size...), randn(rng, size...)
    found = MOONCAKE.frule!!(MOONCAKE.zero_dual(move), MOONCAKE.Dual(x, ẋ), map(MOONCAKE.zero_dual, how)...)
    @test (found.primal, found.tangent) == (move(x, how...), move(ẋ, how...))
    ȳ = randn(rng, Base.size(found.primal))
    @test dot(first(mooncake_cotangent(ȳ, move, x, how...)), ẋ) ≈ dot(ȳ, found.tangent) rtol = 1e-13
end
