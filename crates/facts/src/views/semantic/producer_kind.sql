CASE
    WHEN p.opname IN ('LOAD_FAST', 'LOAD_FAST_CHECK', 'LOAD_FAST_LOAD_FAST', 'STORE_FAST_LOAD_FAST') THEN 'local'
    WHEN p.opname IN ('LOAD_DEREF', 'LOAD_FROM_DICT_OR_DEREF') THEN 'cell'
    WHEN p.opname IN ('LOAD_GLOBAL', 'LOAD_FROM_DICT_OR_GLOBALS') THEN 'global'
    WHEN p.opname = 'LOAD_NAME' THEN 'name'
    WHEN p.opname IN ('LOAD_ATTR', 'LOAD_SUPER_ATTR') THEN 'attribute'
    WHEN p.opname = 'LOAD_CONST' THEN 'constant'
    WHEN p.opname IN ('CALL', 'CALL_KW', 'CALL_FUNCTION_EX') THEN 'call'
    WHEN p.opname IN ('BINARY_SUBSCR', 'BINARY_SLICE') THEN 'subscript'
    ELSE 'other'
  END
