#!/usr/bin/env python3
"""Writes the chart's dashboards from the short lists below: scripts/chart-dashboards.py [--check]

Each panel is a title, a unit, and queries with their legends. `$of` stands for the release that the dashboard's variables choose.
"""

import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "helm/bytefacts/dashboards"
OF = 'namespace="$namespace",app_kubernetes_io_instance="$release"'

EXTRACTION = [
    ("Facts and audits", [
        ("Age of the current run", "s", [("time() - max(bytefacts_current_run_timestamp_seconds{$of})", "run")]),
        ("Age of the last audit", "s", [("time() - max(bytefacts_audit_last_report_timestamp_seconds{$of})", "ended"),
                                        ("time() - max(bytefacts_audit_last_success_timestamp_seconds{$of})", "complete, without findings")]),
        ("Verdicts of the last audit", "short", [("max by (verdict) (bytefacts_audit_verdicts{$of})", "{{verdict}}")]),
        ("Requests to the store", "ops", [("sum by (outcome) (rate(bytefacts_store_requests_total{$of}[$__rate_interval]))", "{{outcome}}")]),
    ]),
    ("Runs", [
        ("Bins not yet landed", "short", [("sum(bytefacts_bins_waiting{$of})", "waiting")]),
        ("Bins landed", "ops", [("sum(rate(bytefacts_bins_landed_total{$of}[$__rate_interval]))", "landed")]),
        ("Progress of runs", "percentunit", [("bytefacts_run_bins_landed{$of} / bytefacts_run_bins{$of}", "{{run}}")]),
        ("Seconds of a bin", "s", [
            (f"histogram_quantile({quantile}, sum by (le) (rate(bytefacts_bin_seconds_bucket{{$of}}[$__rate_interval])))", legend)
            for quantile, legend in [("0.5", "half"), ("0.95", "19 of 20")]]),
        ("Jobs", "short", [("sum by (outcome) (increase(bytefacts_jobs_total{$of}[$__rate_interval]))", "{{outcome}}"),
                           ("sum(bytefacts_jobs_queued{$of})", "queued"), ("sum(bytefacts_jobs_running{$of})", "running")]),
    ]),
    ("Work", [
        ("Files", "ops", [("sum by (pod) (rate(bytefacts_files_total{$of}[$__rate_interval]))", "{{pod}}")]),
        ("Instructions", "ops", [("sum(rate(bytefacts_instructions_total{$of}[$__rate_interval]))", "analysed")]),
        ("Where the seconds go", "short", [
            ("sum(rate(bytefacts_compile_cpu_seconds_total{$of}[$__rate_interval]))", "compiling"),
            ("sum(rate(bytefacts_analysis_seconds_total{$of}[$__rate_interval]))", "analysis")]),
        ("Source and Parquet", "Bps", [("sum(rate(bytefacts_source_bytes_total{$of}[$__rate_interval]))", "source"),
                                       ("sum(rate(bytefacts_landed_bytes_total{$of}[$__rate_interval]))", "Parquet")]),
    ]),
    ("Executors", [
        ("Executors", "short", [("max(bytefacts_executors{$of})", "heard of"), ("sum(bytefacts_scheduler_connected{$of})", "connected"),
                                 ("sum(increase(bytefacts_executors_lost_total{$of}[$__rate_interval]))", "lost")]),
        ("Places", "short", [("sum(bytefacts_tasks_running{$of})", "taken"), ("sum(bytefacts_task_places{$of})", "there")]),
        ("Memory budget", "bytes", [("sum by (pod) (bytefacts_memory_reserved_bytes{$of})", "{{pod}}"),
                                    ("max(bytefacts_memory_budget_bytes{$of})", "budget")]),
        ("Files waiting for memory", "short", [("sum by (pod) (bytefacts_files_waiting_for_memory{$of})", "{{pod}}")]),
    ]),
    ("Errors and workers", [
        ("Error rows by stage", "short", [("sum by (stage) (increase(bytefacts_errors_total{$of}[$__rate_interval]))", "{{stage}}")]),
        ("Workers replaced", "short", [("sum by (cause) (increase(bytefacts_worker_restarts_total{$of}[$__rate_interval]))", "{{cause}}")]),
        ("Workers started", "ops", [("sum(rate(bytefacts_worker_starts_total{$of}[$__rate_interval]))", "started")]),
    ]),
    ("Cache", [
        ("Lookups by the tier that answered", "ops",
         [("sum by (tier) (rate(bytefacts_cache_lookups_total{$of}[$__rate_interval]))", "{{tier}}")]),
        ("Units from the cache", "percentunit", [
            ("sum(rate(bytefacts_unit_cache_hits_total{$of}[$__rate_interval])) / "
             "(sum(rate(bytefacts_unit_cache_hits_total{$of}[$__rate_interval])) + sum(rate(bytefacts_unit_cache_misses_total{$of}[$__rate_interval])))",
             "hits")]),
        ("On disk", "bytes", [("sum by (pod) (bytefacts_cache_disk_bytes{$of})", "{{pod}}")]),
        ("Shared cache", "ops", [("sum(rate(bytefacts_cache_shared_puts_total{$of}[$__rate_interval]))", "put"),
                                 ("sum(rate(bytefacts_cache_shared_skipped_total{$of}[$__rate_interval]))", "skipped"),
                                 ("sum(rate(bytefacts_cache_shared_errors_total{$of}[$__rate_interval]))", "errors")]),
    ]),
]

SQL = [
    ("Queries", [
        ("Open", "short", [("sum by (pod) (bytefacts_sql_queries_open{$of})", "{{pod}}")]),
        ("Ended", "ops", [("sum by (outcome) (rate(bytefacts_sql_queries_total{$of}[$__rate_interval]))", "{{outcome}}")]),
        ("Seconds", "s", [
            (f"histogram_quantile({quantile}, sum by (le) (rate(bytefacts_sql_query_seconds_bucket{{$of}}[$__rate_interval])))", legend)
            for quantile, legend in [("0.5", "half"), ("0.95", "19 of 20")]]),
        ("Plans and refusals", "ops", [("sum(rate(bytefacts_sql_plans_total{$of}[$__rate_interval]))", "plans"),
                                       ("sum(rate(bytefacts_sql_statements_refused_total{$of}[$__rate_interval]))", "refused")]),
    ]),
    ("Answers and clients", [
        ("Rows", "ops", [("sum(rate(bytefacts_sql_rows_total{$of}[$__rate_interval]))", "rows")]),
        ("Bytes", "Bps", [("sum(rate(bytefacts_sql_bytes_total{$of}[$__rate_interval]))", "bytes")]),
        ("Connections", "short", [("sum by (pod) (bytefacts_sql_connections{$of})", "{{pod}}")]),
        ("Without a login", "ops", [("sum(rate(bytefacts_sql_unauthenticated_total{$of}[$__rate_interval]))", "calls")]),
    ]),
]


def variable(name, query):
    return {"name": name, "label": name, "type": "query", "datasource": {"type": "prometheus", "uid": "${datasource}"}, "refresh": 2,
            "query": {"query": query, "refId": name}, "definition": query}


def dashboard(uid, title, metric, rows):
    panels, y = [], 0
    for row, members in rows:
        panels.append({"id": len(panels) + 1, "type": "row", "title": row, "collapsed": False, "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}})
        y += 1
        width = 24 // len(members)
        for nth, (name, unit, queries) in enumerate(members):
            panels.append({
                "id": len(panels) + 1, "type": "timeseries", "title": name, "gridPos": {"h": 8, "w": width, "x": nth * width, "y": y},
                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                "targets": [{"refId": chr(ord("A") + number), "expr": query.replace("$of", OF), "legendFormat": legend}
                            for number, (query, legend) in enumerate(queries)],
            })
        y += 8
    return {
        "uid": uid, "title": title, "tags": ["bytefacts"], "schemaVersion": 39, "editable": True, "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s", "timezone": "browser",
        "templating": {"list": [
            {"name": "datasource", "label": "datasource", "type": "datasource", "query": "prometheus"},
            variable("namespace", f"label_values({metric}, namespace)"),
            variable("release", f'label_values({metric}{{namespace="$namespace"}}, app_kubernetes_io_instance)'),
        ]},
        "panels": panels,
    }


def main():
    check, stale = "--check" in sys.argv[1:], []
    for name, content in [
        ("extraction", dashboard("bytefacts-extraction", "bytefacts: extraction", "bytefacts_jobs_running", EXTRACTION)),
        ("sql", dashboard("bytefacts-sql", "bytefacts: SQL", "bytefacts_sql_queries_open", SQL)),
    ]:
        path, text = FOLDER / f"{name}.json", json.dumps(content, indent=1) + "\n"
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(path.name)
    if stale:
        sys.exit(f"{', '.join(stale)}: not what scripts/chart-dashboards.py writes; run it")


main()
