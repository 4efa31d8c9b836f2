# Engines: what differentiates a problem's `objective`, through DifferentiationInterface.

using DifferentiationInterface:
    AutoEnzyme,
    AutoForwardDiff,
    AutoMooncake,
    AutoMooncakeForward,
    SecondOrder,
    hvp,
    prepare_hvp,
    prepare_pushforward,
    value_and_pushforward
using TOML: TOML

"The engine's package is not in the environment; `command` installs it."
struct PackageMissing <: Exception
    name::String
    command::String
end

PackageMissing(name) = PackageMissing(name, "julia -e 'import Pkg; Pkg.add(\"$name\")'")
Base.showerror(io::IO, error::PackageMissing) =
    print(io, "the engine needs the Julia package $(error.name); to install it: $(error.command)")

# Operators and engines

struct Gradient end
struct Jvp end
struct Hvp end
const OPERATORS = (gradient = Gradient(), jvp = Jvp(), hvp = Hvp())

struct ZygoteEngine end
struct ForwardDiffEngine end
struct MooncakeEngine end
struct EnzymeEngine end
struct YaoEngine end
const ENGINES = (
    zygote = ZygoteEngine(),
    forwarddiff = ForwardDiffEngine(),
    mooncake = MooncakeEngine(),
    enzyme = EnzymeEngine(),
    yao = YaoEngine(),
)

"What DifferentiationInterface calls it; an `ArgumentError` where the engine has no such derivative."
backend(::ZygoteEngine, ::Gradient) = AutoZygote()
backend(::ZygoteEngine, ::Jvp) = throw(ArgumentError("Zygote has reverse mode alone: a jvp takes forward mode"))
backend(::ZygoteEngine, ::Hvp) = SecondOrder(AutoForwardDiff(), AutoZygote())
backend(::ForwardDiffEngine, ::Union{Gradient,Jvp}) = AutoForwardDiff()
backend(::ForwardDiffEngine, ::Hvp) = SecondOrder(AutoForwardDiff(), AutoForwardDiff())
backend(::MooncakeEngine, ::Gradient) = AutoMooncake()
backend(::MooncakeEngine, ::Jvp) = AutoMooncakeForward()
backend(::MooncakeEngine, ::Hvp) = SecondOrder(AutoMooncakeForward(), AutoMooncake())
backend(::EnzymeEngine, ::Union{Gradient,Jvp}) = AutoEnzyme()
backend(::EnzymeEngine, ::Hvp) = SecondOrder(AutoEnzyme(), AutoEnzyme())
backend(::YaoEngine, ::Gradient) = throw(ArgumentError("Yao differentiates circuits alone"))
backend(::YaoEngine, ::Union{Jvp,Hvp}) = throw(ArgumentError("Yao has reverse mode alone: gradients of circuits"))

"The engine of `gradient`."
own_engine(::Problem) = ZygoteEngine()

# Engines that few sessions need, and that take their time to load: only a derivation by one of them asks for it. With it
# comes the extension that teaches it the rules of this package.

late(::Any) = nothing
late(::MooncakeEngine) = Base.PkgId(Base.UUID("da2b9cff-9c12-43a0-ae48-6db2b0edb7d6"), "Mooncake")
late(::EnzymeEngine) = Base.PkgId(Base.UUID("7da242da-08ed-463a-9acd-ee780be4f1d9"), "Enzyme")

function load(package::Base.PkgId)
    Base.locate_package(package) === nothing && throw(PackageMissing(package.name))
    return Base.require(package)
end

"The versions of those that are installed."
function late_versions()
    packages = filter(!isnothing, map(late, values(ENGINES)))
    paths = map(package -> (Symbol(package.name), Base.locate_package(package)), packages)
    return (; (name => version_at(path) for (name, path) in paths if path !== nothing)...)
end

version_at(path) = TOML.parsefile(joinpath(dirname(dirname(path)), "Project.toml"))["version"]::String

# Derivations

"The problem's own gradient, by whatever rule its method is."
struct OwnGradient{P<:Problem}
    problem::P
end

"`operator` by `backend` on `f(θ, case)`."
struct Derivation{O,F,B,C,P,Q<:Problem}
    operator::O
    f::F
    backend::B
    case::C
    preparation::P
    problem::Q
end

"A derivation of a package that was loaded while a caller's function was running already, hence `invokelatest`."
struct Late{D<:Derivation}
    derivation::D
end

derivation(problem::Problem, operator::AbstractString, engine::AbstractString) =
    derivation(problem, choose("operator", operator, OPERATORS), choose("engine", engine, ENGINES))

function derivation(problem::Problem, operator, engine)
    operator isa Gradient && engine === own_engine(problem) && return OwnGradient(problem)
    by = backend(engine, operator)
    f, case = objective(problem)
    package = late(engine)
    package === nothing && return prepared(operator, f, by, case, problem)
    load(package)
    return Late(Base.invokelatest(prepared, operator, f, by, case, problem))
end

function prepared(operator::Union{Gradient,Jvp}, f, by, case, problem::Problem{T}) where {T}
    θ = ones(T, nparameters(problem))
    return Derivation(operator, f, by, case, prepare(operator, f, by, θ, Constant(case)), problem)
end

# The engines give an hvp without the loss: it is noted where it is computed.
function prepared(operator::Hvp, f, by, case, problem::Problem{T}) where {T}
    θ, noted = ones(T, nparameters(problem)), Noted(f, Ref(T(NaN)))
    return Derivation(operator, noted, by, case, prepare(operator, noted, by, θ, Constant(case)), problem)
end

prepare(::Gradient, f, by, θ, case) = prepare_gradient(f, by, θ, case)
prepare(::Jvp, f, by, θ, case) = prepare_pushforward(f, by, θ, (one.(θ),), case)
prepare(::Hvp, f, by, θ, case) = prepare_hvp(f, by, θ, (one.(θ),), case)

"A function, and the value that it had last."
struct Noted{F,T}
    f::F
    last::Base.RefValue{T}
end

(noted::Noted)(θ, case) = note!(noted.last, noted.f(θ, case))

function note!(last, value)
    last[] = primal(value)
    return value
end

function ChainRulesCore.rrule(::typeof(note!), last, value)
    note_pullback(Δ) = NoTangent(), NoTangent(), unthunk(Δ)
    return note!(last, value), note_pullback
end

derive(own::OwnGradient, θ) = gradient(own.problem, θ)
derive(late::Late, arguments...) = Base.invokelatest(derive, late.derivation, arguments...)

function derive(d::Derivation{Gradient}, θ)
    θ = parameters(d.problem, θ)
    return value_and_gradient(d.f, d.preparation, d.backend, θ, Constant(d.case))
end

function derive(d::Derivation{Jvp}, θ, v)
    θ, v = parameters(d.problem, θ), parameters(d.problem, v)
    loss, slopes = value_and_pushforward(d.f, d.preparation, d.backend, θ, (v,), Constant(d.case))
    return loss, only(slopes)
end

function derive(d::Derivation{Hvp}, θ, v)
    θ, v = parameters(d.problem, θ), parameters(d.problem, v)
    products = hvp(d.f, d.preparation, d.backend, θ, (v,), Constant(d.case))
    return d.f.last[], only(products)
end
