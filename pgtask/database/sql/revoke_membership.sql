-- Takes a login out of a role; a warning when it was not in it.
REVOKE {role} FROM {login};
