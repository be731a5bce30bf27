"""The door: where connections come in, and what keeps whatever clients do from hurting anybody else."""
