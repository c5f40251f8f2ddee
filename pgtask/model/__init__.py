"""What a job is: pure types and rules. Imports nothing but the standard library and itself."""
