"""Tasks whose inputs are a few numbers per time step, one file each."""
