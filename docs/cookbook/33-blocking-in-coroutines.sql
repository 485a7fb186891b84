-- Which coroutines block their loop? `asyncio.sleep` is none; `sleep` is, where it comes from `time`.
SELECT c.repo, c.path, c.line_number, c.callee
FROM py_bc_calls c
JOIN py_bc_flags_detail f USING (code_unit_id)
LEFT JOIN py_bc_imports i ON i.file_id = c.file_id AND i.bound_as = c.callee AND i.module = 'time' AND i.name = 'sleep'
WHERE (f.is_coroutine OR f.is_async_generator) AND (c.callee = 'time.sleep' OR i.name IS NOT NULL OR c.callee LIKE 'requests.%' OR c.callee LIKE 'subprocess.%')
ORDER BY c.repo, c.path, c.line_number
