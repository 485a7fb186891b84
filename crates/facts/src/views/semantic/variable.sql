CASE
    WHEN p.opname = 'STORE_FAST_LOAD_FAST' THEN split_part(p.argval_str, '''', 4)
    WHEN p.opname = 'LOAD_FAST_LOAD_FAST' THEN split_part(p.argval_str, '''', CASE WHEN slot = p.stack_depth_after - 1 THEN 4 ELSE 2 END)
    WHEN p.opname IN ('LOAD_FAST', 'LOAD_FAST_CHECK', 'LOAD_DEREF', 'LOAD_FROM_DICT_OR_DEREF', 'LOAD_GLOBAL', 'LOAD_FROM_DICT_OR_GLOBALS',
      'LOAD_NAME') THEN p.argval_str
  END
