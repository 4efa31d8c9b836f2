"""The page of the price of the bridge to Julia."""
