-- Which constants look like keys of well-known services?
SELECT repo, path, line_number, left(text, 8) AS begins
FROM py_bc_constants
WHERE const_type = 'str' AND regexp_like(text, '^(ghp_[A-Za-z0-9]{36}|AKIA[0-9A-Z]{16}|xox[bp]-[0-9A-Za-z-]+|-----BEGIN [A-Z ]*PRIVATE KEY-----)')
ORDER BY repo, path, line_number
