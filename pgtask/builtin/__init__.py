"""The built-in tasks, which run when no application is named."""
