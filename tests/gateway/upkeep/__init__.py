"""What is done to journals besides serving them: backups, archives, exports, checkpoints, erasures, rotations."""
