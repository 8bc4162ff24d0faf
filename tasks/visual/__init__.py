"""Tasks whose trials are movies, one file each."""
