"""The stages of pre-training, one file each."""
