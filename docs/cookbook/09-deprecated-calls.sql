-- Who still calls what is deprecated?
SELECT repo, path, line_number, callee
FROM py_bc_calls
WHERE callee IN ('tempfile.mktemp', 'asyncio.get_event_loop', 'datetime.datetime.utcnow', 'logging.warn', 'inspect.getargspec')
ORDER BY repo, path, line_number
