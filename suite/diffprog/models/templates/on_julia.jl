# The model in Julia. `params` and `data` are NamedTuples of arrays in the shapes that task.py drew; a number is a number.
# An index means the same as in Python, counted from 1: params.W[i+1, j+1] is params["W"][i, j]. What integers *mean* is
# not changed: labels count from 0 here too.

"(wines, kinds)"
function logits(params, data)
    H = tanh.(data.X * params.W .+ params.b')
    return H * params.V .+ params.c'
end

"""
One real number: the mean cross entropy, and a penalty on the weights.

Written for Zygote: no array is changed. A number written here should not be wider than the data: 1//2 or 2, not 0.5.
"""
function loss(params, data)
    Z = logits(params, data)
    top = maximum(Z; dims = 2)
    log_sums = top .+ log.(sum(exp.(Z .- top); dims = 2))
    right = Z[CartesianIndex.(axes(Z, 1), data.y .+ 1)]
    penalty = data.decay / 2 * (sum(abs2, params.W) + sum(abs2, params.V))
    return sum(log_sums) / length(right) - sum(right) / length(right) + penalty
end

"What else is compared between the backends; may be left out."
function outputs(params, data)
    Z = logits(params, data)
    odds = exp.(Z .- maximum(Z; dims = 2))
    return (probabilities = odds ./ sum(odds; dims = 2),)
end
