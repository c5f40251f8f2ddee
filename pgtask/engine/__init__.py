"""What happens: the application object and the roles inside a worker."""
