-- Which decorators are used how often, with and without a call?
SELECT decorator, is_call, count(*) AS uses
FROM py_bc_decorators
GROUP BY decorator, is_call
ORDER BY decorator, is_call
