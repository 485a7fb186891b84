CASE
      WHEN k.argval_str IS NULL THEN 0
      WHEN k.argval_str LIKE '%,)' THEN 1
      ELSE length(k.argval_str) - length(replace(k.argval_str, ',', '')) + 1
    END
