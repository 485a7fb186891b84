-- What does not compile, and what does CPython warn of?
SELECT repo, path, severity, stage, error_type, line1
FROM bytecode_errors
ORDER BY severity, repo, path, line1
