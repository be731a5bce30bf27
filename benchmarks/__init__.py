"""What is measured, against whom, and how."""
