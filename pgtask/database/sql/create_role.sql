-- Makes a role that nobody can log in as: rights are given to it, and logins made its members.
CREATE ROLE {role} NOLOGIN;
