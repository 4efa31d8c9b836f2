using PrecompileTools: @compile_workload, @setup_workload

"Calls every function of a problem once."
function exercise(problem::Problem{T}) where {T}
    θ = fill(T(0.1), nparameters(problem))
    return value(problem, θ), gradient(problem, θ), outputs(problem, θ), work(problem, θ), made_with(problem)
end

# Every variant, method and precision once on a tiny problem, so that first calls do not compile.
@setup_workload begin
    flow = (dim = 2, hidden = 3, steps = 2, time = 1.0)
    qcbm = (qubits = 2, depth = 1)
    trg = (variant = "classic", chi = 4, iterations = 3, side = 1)
    @compile_workload begin
        for T in (Float64, Float32)
            batch = (data = T[0.1 0.2 0.3; 0.4 0.5 0.6], log_jacobian = zeros(T, 3), inverse_coupling = T[1 0; 0 1])
            for variant in string.(keys(FLOW_VARIANTS)), method in ("discrete", "checkpointed", "backsolve")
                exercise(build("flow", method, (; flow..., variant), batch))
            end
            ising = (start = T[0.5, 0.4, 0.3, 0.2], target = T[0.5, 0.5, 0.5, 0.5])
            for method in ("dense", "dominant")
                chain = (variant = "ground_state", sites = 2, levels = 1)
                exercise(build("eigensolver", method, chain, ising))
                spectrum = (variant = "spectrum", sites = 2, levels = 2)
                exercise(build("eigensolver", method, spectrum, (; ising..., target = T[-2, -1])))
            end
            machine = (target = T[0.1, 0.2, 0.3, 0.4], cnots = [0; 1;;], sigmas = T[0.25, 4])
            for (variant, kernel) in (("gaussian", "integer"), ("bars_and_stripes", "hamming"))
                for method in ("reverse", "adjoint", "parameter_shift")
                    exercise(build("qcbm", method, (; qcbm..., variant, kernel), machine))
                end
            end
            lattice = (bonds = [0; 0; 0; 0;;], plaquettes = [0 0 0 0], weights = T[1, 1 / 2, 1 / 4, 1 / 8])
            exercise(build("trg", "reverse", trg, lattice))
        end
        θ = [0.1, 0.2]
        GC.@preserve θ wrap("float64", UInt(pointer(θ)), 2)
    end
end
