-- Which files have other facts than the night before, and why?
SELECT repo, path, change, drift
FROM changes('night-1', 'night-2')
ORDER BY repo, path
