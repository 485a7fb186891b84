-- Which Parquet files is the run made of, for tools that read them by themselves? Below the root of the facts.
SELECT count(DISTINCT key) AS data_files, sum(files) AS source_files, bool_and(key LIKE '%.parquet') AS are_parquet
FROM bytefacts.files
