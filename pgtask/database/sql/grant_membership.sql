-- Makes a login a member of a role; it has the rights from its next statement on.
GRANT {role} TO {login};
