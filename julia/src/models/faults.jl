# What is wrong with a user's model, in words for its author.

"The file is not what it must be: the text says why."
struct Fault <: Exception
    text::String
end

"The loss is this, and not a number of the type of the parameters."
struct NoNumber <: Exception
    loss::Any
end

Base.showerror(io::IO, fault::Fault) = print(io, fault.text)
Base.showerror(io::IO, error::NoNumber) = print(io, "loss returns a $(typeof(error.loss))")

"The methods of a function as their author wrote them."
signatures(f) = join(map(m -> "$(first(split(sprint(show, m), " @"))) in line $(m.line)", methods(f)), ", ")

"""
    described(loss) -> (shape, kind, dtype)

What a loss is that is no good: NumPy's kind and name of its type, a Julia type's own name where NumPy has none.
"""
described(loss::AbstractArray) = (size(loss), described(eltype(loss))...)
described(loss) = ((), described(typeof(loss))...)
described(::Type{T}) where {T} = ("O", string(T))
for (name, T) in pairs(DTYPES)
    kind = T === Bool ? "b" : T <: Integer ? "i" : T <: Complex ? "c" : "f"
    @eval described(::Type{$T}) = ($kind, $(string(name)))
end

"""
    told(error, backtrace, folder, project = folder) -> String

An exception in the words of who wrote the files in `folder`: file and line, the message, and what may mend it. `project` is
where a package that is missing is to be added; nothing: the default environment.
"""
function told(error, backtrace, folder::AbstractString, project = folder)
    place = folder
    while error isa LoadError
        startswith(error.file, folder) && (place = "$(error.file):$(error.line)")
        error = error.error
    end
    error isa Meta.ParseError && return of_syntax(error.msg, place)
    for frame in (backtrace === nothing ? [] : stacktrace(backtrace))
        file, line = whereabouts(frame)
        if line > 0 && startswith(file, folder)
            place = "$file:$line"
            break
        end
    end
    text = first(split(sprint(showerror, error), r"\n\s*(Closest candidates|Stacktrace|Hint:|This error occurs)"))
    return "$place: $(worded(error, String(text), project))"
end

"""
The file and line of a stack frame. In what Zygote has made of a function it is Zygote's own: then that of the function, which its
type still names.
"""
function whereabouts(frame)
    code = frame.linfo
    code = code isa Core.CodeInstance ? code.def : code
    if code isa Core.MethodInstance
        this = first(Base.unwrap_unionall(code.specTypes).parameters)
        if this isa Type && this <: DiffProgTasks.Zygote.Pullback
            method = method_of(first(Base.unwrap_unionall(this).parameters))
            method === nothing || return String(method.file), Int(method.line)
        end
    end
    return String(frame.file), Int(frame.line)
end

method_of(signature) =
    try
        Base.invokelatest(which, signature)
    catch
        nothing
    end

"The place and the reason in the parser's message, which draws the line with an arrow."
function of_syntax(message, place)
    found = match(r"Error @ (?:\S*\])?(?<file>\S+?):(?<line>\d+)", message)
    found === nothing || (place = "$(found[:file]):$(found[:line])")
    reasons = [strip(last(split(line, r"──+|╙"))) for line in split(message, '\n') if occursin(r"──|╙", line)]
    return "$place: syntax error" * (isempty(reasons) ? "" : ": $(first(reasons))")
end

const ANOTHER_ENGINE = "another engine can: --engine forwarddiff, or --engine mooncake"

function worded(error, text, project)
    missing_package = match(r"Package (\S+) (?:\[.*?\] )?(?:not found in current path|is required but does not seem to be installed)", text)
    missing_package === nothing || return no_package(missing_package[1], project)
    return short(text) * hint(error, text)
end

short(text) = first(join(split(text), " "), 600)

no_package(name, ::Nothing) = "the package $name is not installed; julia -e 'using Pkg; Pkg.add(\"$name\")'"

function no_package(name, folder)
    project = joinpath(folder, "Project.toml")
    declared = isfile(project) && haskey(get(TOML.parsefile(project), "deps", Dict()), name)
    mend = declared ? "Pkg.instantiate()" : "Pkg.add(\"$name\")"
    return "the package $name is not installed; julia --project=$(Base.shell_escape(folder)) -e 'using Pkg; $mend'"
end

function hint(error, text)
    occursin("Mutating arrays is not supported", text) &&
        return "; Zygote cannot differentiate what writes into an array; $ANOTHER_ENGINE"
    occursin("try/catch is not supported", text) && return "; $ANOTHER_ENGINE"
    occursin("Can't differentiate", text) && return "; Zygote does not know it; $ANOTHER_ENGINE"
    occursin("Output should be scalar", text) && return "; loss must return one number: sum it, or take its mean"
    occursin("Output is complex", text) && return "; take its real part, or its absolute value"
    error isa MethodError && any(x -> x isa Dual || x isa AbstractArray{<:Dual}, error.args) &&
        return "; ForwardDiff's numbers are no $(Float64): let types follow eltype(θ), in signatures and in new arrays"
    return ""
end
