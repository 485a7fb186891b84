{{/* The alerts: each has a page docs/alerts/NAME.md, and a case in tests/helm/alerts.test.yaml. Takes {root, of: the release's series, in: its namespace's,
     fullname, settings, rules}. */}}
{{- define "bytefacts.alerts" -}}
{{- $values := .root.Values -}}
{{- if $values.audit.enabled }}
{{- $nightly := printf "{%s,preset=%q}" .of $values.audit.preset }}
- alert: BytefactsAuditLate
  # The last night that left nothing out, as the SQL service reads it from the store; before the first, when the CronJob was made.
  {{- $cronjob := printf "{%s,cronjob=%q}" .in (printf "%s-audit" .fullname) }}
  {{- $late := mul (int .rules.auditLateHours) 3600 }}
  {{- if $values.sql.enabled }}
  expr: >-
    time() - max(bytefacts_audit_last_complete_timestamp_seconds{{ $nightly }}) > {{ $late }}
    or (time() - max(kube_cronjob_created{{ $cronjob }}) > {{ $late }} unless on () max(bytefacts_audit_last_complete_timestamp_seconds{{ $nightly }}))
  {{- else }}
  expr: time() - max(kube_cronjob_status_last_successful_time{{ $cronjob }} or kube_cronjob_created{{ $cronjob }}) > {{ $late }}
  {{- end }}
  for: 5m
  severity: warning
  summary: >-
    No audit of {{ .fullname }} has covered its night for {{ .rules.auditLateHours }} hours.
{{- if $values.sql.enabled }}
- alert: BytefactsAuditUnstable
  # Of any preset: what one has found, another does not take back.
  expr: max by (preset, verdict) (bytefacts_audit_verdicts{{ printf "{%s,verdict=~\"bad|fail\"}" .of }}) > 0
  for: 0m
  severity: critical
  summary: >-
    {{ printf "The last audit of preset {{ $labels.preset }} has {{ $value }} verdicts {{ $labels.verdict }}: the same source gave other facts, or none." }}
- alert: BytefactsAuditUnknown
  expr: max(bytefacts_audit_unknown_share{{ $nightly }}) > {{ .rules.unknownShare }}
  for: 0m
  severity: warning
  summary: >-
    {{ printf "The last audit could not tell of {{ $value | humanizePercentage }} of its night." }}
{{- end }}
- alert: BytefactsAuditFailed
  # A failed Job is kept for some nights; its own age says whether it is news.
  expr: >-
    max by (job_name) (kube_job_failed{{ printf "{%s,condition=\"true\",job_name=~%q}" .in (printf "%s-audit-.*" .fullname) }}) > 0
    and on (job_name) time() - max by (job_name) (kube_job_created{{ printf "{%s}" .in }}) < 86400
  for: 1m
  severity: critical
  summary: >-
    {{ printf "Audit {{ $labels.job_name }} has found an instability, or failed." }}
{{- end }}
{{- if $values.scheduler.enabled }}
- alert: BytefactsSchedulerDown
  expr: absent(bytefacts_jobs_running{{ printf "{%s}" .of }})
  for: 10m
  severity: critical
  summary: >-
    The scheduler of {{ .fullname }} tells no metrics.
- alert: BytefactsExecutorsLost
  {{- if eq $values.autoscaling.kind "none" }}
  expr: max(bytefacts_executors{{ printf "{%s}" .of }}) < {{ ternary 2 $values.executor.replicas (kindIs "invalid" $values.executor.replicas) }}
  {{- else }}
  # The autoscaler may take all of them away, but not while bins wait.
  expr: max(bytefacts_executors{{ printf "{%s}" .of }}) == 0 and max(bytefacts_bins_waiting{{ printf "{%s}" .of }}) > 0
  {{- end }}
  for: 15m
  severity: warning
  summary: >-
    {{ .fullname }} has fewer executors than it should have.
- alert: BytefactsExecutorsDying
  expr: sum(increase(bytefacts_executors_lost_total{{ printf "{%s}" .of }}[1h])) >= 3
  for: 0m
  severity: warning
  summary: >-
    Three executors of {{ .fullname }} have gone within an hour without a goodbye.
- alert: BytefactsExecutorDisconnected
  expr: min by (pod) (bytefacts_scheduler_connected{{ printf "{%s}" .of }}) == 0
  for: 10m
  severity: warning
  summary: >-
    {{ printf "Executor {{ $labels.pod }} does not reach its scheduler." }}
- alert: BytefactsBacklogStuck
  expr: >-
    min_over_time(sum(bytefacts_bins_waiting{{ printf "{%s}" .of }})[{{ .rules.stuckMinutes }}m:1m]) > 0
    and (sum(increase(bytefacts_bins_landed_total{{ printf "{%s}" .of }}[{{ .rules.stuckMinutes }}m])) or vector(0)) == 0
    and (sum(increase(bytefacts_bins_audited_total{{ printf "{%s}" .of }}[{{ .rules.stuckMinutes }}m])) or vector(0)) == 0
  for: 5m
  severity: critical
  summary: >-
    Bins of {{ .fullname }} wait, and none was landed or audited for {{ .rules.stuckMinutes }} minutes.
- alert: BytefactsJobsFailing
  expr: sum(increase(bytefacts_jobs_total{{ printf "{%s,outcome=\"failed\"}" .of }}[1h])) >= 3
  for: 0m
  severity: warning
  summary: >-
    Three jobs of {{ .fullname }} have failed within an hour.
- alert: BytefactsQuarantine
  # A new executor may have given a file up before it was scraped for the first time: an increase has nothing to begin with then.
  {{- $quarantined := printf "bytefacts_errors_total{%s,stage=\"quarantine\"}" .of }}
  expr: sum(increase({{ $quarantined }}[1h])) > 0 or sum({{ $quarantined }} unless {{ $quarantined }} offset 1h) > 0
  for: 0m
  severity: warning
  summary: >-
    A file was given up, since it has killed what compiled it three times.
- alert: BytefactsErrorShare
  # What cannot be decoded or compiled is a fact about the corpus; reading, the oracle and quarantine are not.
  expr: >-
    sum(increase(bytefacts_errors_total{{ printf "{%s,stage!~\"compile|decode\"}" .of }}[1h]))
    / sum(increase(bytefacts_files_total{{ printf "{%s}" .of }}[1h])) > {{ .rules.errorShare }}
  for: 5m
  severity: warning
  summary: >-
    {{ printf "{{ $value | humanizePercentage }} of the files have an error that is no fact about their source." }}
- alert: BytefactsWorkersKilled
  expr: sum by (pod, cause) (increase(bytefacts_worker_restarts_total{{ printf "{%s,cause=~\"crash|killed|memory_limit\"}" .of }}[1h])) > 20
  for: 0m
  severity: warning
  summary: >-
    {{ printf "Compile workers of {{ $labels.pod }} end by {{ $labels.cause }} again and again." }}
- alert: BytefactsCacheFull
  expr: >-
    min by (pod) (bytefacts_cache_disk_bytes{{ printf "{%s}" .of }} / bytefacts_cache_disk_limit_bytes{{ printf "{%s}" .of }}) > 0.9
    and max by (pod) (increase(bytefacts_cache_evictions_total{{ printf "{%s}" .of }}[6h])) > 0
  for: 1h
  severity: info
  summary: >-
    {{ printf "The cache of {{ $labels.pod }} is full, and drops what may be wanted again." }}
{{- if $values.sharedCache.uri }}
- alert: BytefactsSharedCacheFailing
  # After an error it is left alone for ever longer, so that errors stay few however long it is away. What is not put there for that shows it.
  expr: >-
    sum(increase(bytefacts_cache_shared_errors_total{{ printf "{%s}" .of }}[30m])) > 0
    and sum(increase(bytefacts_cache_shared_skipped_total{{ printf "{%s}" .of }}[30m])) > sum(increase(bytefacts_cache_shared_puts_total{{ printf "{%s}" .of }}[30m]))
  for: 10m
  severity: warning
  summary: >-
    The shared cache of {{ .fullname }} does not answer, so that what others have compiled is compiled again.
- alert: BytefactsSharedCacheDamaged
  # As of files that are given up: what is counted before the first scrape is no increase.
  {{- $damaged := printf "bytefacts_cache_shared_damaged_total{%s}" .of }}
  expr: sum(increase({{ $damaged }}[1h])) > 0 or sum({{ $damaged }} unless {{ $damaged }} offset 1h) > 0
  for: 0m
  severity: warning
  summary: >-
    The shared cache of {{ .fullname }} has entries that are torn, or of somebody without the secret.
{{- end }}
{{- end }}
{{- if $values.sql.enabled }}
- alert: BytefactsSqlDown
  expr: absent(bytefacts_sql_queries_open{{ printf "{%s}" .of }})
  for: 10m
  severity: critical
  summary: >-
    The SQL service of {{ .fullname }} tells no metrics.
- alert: BytefactsSqlUnauthenticated
  expr: sum(rate(bytefacts_sql_unauthenticated_total{{ printf "{%s}" .of }}[10m])) > 1
  for: 10m
  severity: warning
  summary: >-
    Somebody asks the SQL service of {{ .fullname }} without a login that counts, again and again.
- alert: BytefactsSqlSaturated
  expr: max by (pod) (bytefacts_sql_queries_open{{ printf "{%s}" .of }}) > {{ mul 2 (int .settings.serve.running) }}
  for: 15m
  severity: warning
  summary: >-
    {{ printf "Queries wait for their turn at {{ $labels.pod }}." }}
{{- end }}
{{- if or $values.scheduler.enabled $values.sql.enabled }}
- alert: BytefactsStoreFailing
  expr: >-
    sum by (outcome) (rate(bytefacts_store_requests_total{{ printf "{%s,outcome=~\"denied|throttled|refused|server_error|no_answer\"}" .of }}[10m]))
    / on () group_left () sum(rate(bytefacts_store_requests_total{{ printf "{%s}" .of }}[10m])) > 0.05
  for: 10m
  severity: warning
  summary: >-
    {{ printf "{{ $value | humanizePercentage }} of the requests to the object store end with {{ $labels.outcome }}." }}
{{- end }}
{{- if or (and $values.scheduler.enabled (ne $values.clusterTls.mode "none")) (and $values.sql.enabled $values.sql.tls.secretName) }}
- alert: BytefactsCertificateEnding
  expr: min by (use) (bytefacts_certificate_not_after_timestamp_seconds{{ printf "{%s}" .of }}) - time() < 604800
  for: 1h
  severity: critical
  summary: >-
    {{ printf "A certificate for {{ $labels.use }} ends within a week, and was not made anew." }}
{{- end }}
{{- end }}
