{{/* Names. */}}
{{- define "bytefacts.fullname" -}}
{{- if contains "bytefacts" .Release.Name -}}
{{- .Release.Name | trunc 32 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-bytefacts" .Release.Name | trunc 32 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "bytefacts.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "bytefacts.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{/* Labels by which pods of a component are found; they never change. Takes {root, component}. */}}
{{- define "bytefacts.selector" -}}
app.kubernetes.io/name: bytefacts
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of everything. */}}
{{- define "bytefacts.labels" -}}
{{ include "bytefacts.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: bytefacts
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "bytefacts.image" -}}
{{- $image := .Values.image -}}
{{- with $image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest -}}@{{ $image.digest }}{{- else -}}:{{ $image.tag | default .Chart.AppVersion }}{{- end -}}
{{- end }}

{{/* Lays the map `over` over the map `under`, in place. Helm's own merges keep what is true where a false is laid over it. */}}
{{- define "bytefacts.overlay" -}}
{{- $under := .under -}}
{{- range $key, $value := .over -}}
{{- if and (kindIs "map" $value) (kindIs "map" (get $under $key)) -}}
{{- include "bytefacts.overlay" (dict "under" (get $under $key) "over" $value) -}}
{{- else -}}
{{- $_ := set $under $key $value -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* A map without what is null, as YAML. */}}
{{- define "bytefacts.withoutNulls" -}}
{{- $kept := dict -}}
{{- range $key, $value := . -}}
{{- if not (kindIs "invalid" $value) -}}{{- $_ := set $kept $key $value -}}{{- end -}}
{{- end -}}
{{- toYaml $kept -}}
{{- end }}

{{/* What a role's pods have: `pod` with the role's own laid over it; lists that are called extra… are joined. */}}
{{- define "bytefacts.podValues" -}}
{{- $pod := deepCopy (.root.Values.pod | default dict) -}}
{{- $own := deepCopy (.values.pod | default dict) -}}
{{- range $list := list "extraEnv" "extraEnvFrom" "extraVolumes" "extraVolumeMounts" "extraContainers" "extraInitContainers" -}}
{{- $_ := set $own $list (concat (get $pod $list | default list) (get $own $list | default list)) -}}
{{- end -}}
{{- include "bytefacts.overlay" (dict "under" $pod "over" $own) -}}
{{- toYaml $pod -}}
{{- end }}

{{/* Bytes of a quantity such as 8Gi. */}}
{{- define "bytefacts.bytes" -}}
{{- $text := toString . -}}
{{- $number := regexFind "^[0-9.]+" $text | float64 -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $unit := regexFind "[A-Za-z]*$" $text -}}
{{- if not (hasKey $units $unit) -}}{{- fail (printf "%s is no size: write it as 8Gi" $text) -}}{{- end -}}
{{- mulf $number (get $units $unit) | int64 -}}
{{- end }}

{{/* Where daemons listen. */}}
{{- define "bytefacts.anyAddress" -}}
{{- if has .Values.ipFamily (list "IPv6" "dual") -}}[::]{{- else -}}0.0.0.0{{- end -}}
{{- end }}

{{/* How Services choose families. */}}
{{- define "bytefacts.families" -}}
{{- if eq .Values.ipFamily "dual" }}
ipFamilyPolicy: PreferDualStack
{{- else if ne .Values.ipFamily "auto" }}
ipFamilyPolicy: SingleStack
ipFamilies: [{{ .Values.ipFamily }}]
{{- end }}
{{- end }}

{{- define "bytefacts.schedulerHost" -}}{{ include "bytefacts.fullname" . }}-scheduler.{{ .Release.Namespace }}.svc{{- end }}
{{- define "bytefacts.schedulerUrl" -}}df://{{ include "bytefacts.schedulerHost" . }}:{{ .Values.scheduler.port }}{{- end }}

{{/* The Secret with the certificates of a side of the cluster, `member` or `client`; empty without certificates. Takes {root, side}. */}}
{{- define "bytefacts.tlsSecret" -}}
{{- $tls := .root.Values.clusterTls -}}
{{- if and .root.Values.scheduler.enabled (ne $tls.mode "none") -}}
{{- if eq $tls.mode "secret" -}}
{{- ternary ($tls.clientSecretName | default $tls.secretName) $tls.secretName (eq .side "client") -}}
{{- else -}}
{{- include "bytefacts.fullname" .root }}-{{ ternary "client" "cluster" (eq .side "client") }}-tls
{{- end -}}
{{- end -}}
{{- end }}

{{/* The settings as one document, as YAML: what follows from values, and `config` over it. */}}
{{- define "bytefacts.settings" -}}
{{- $values := .Values -}}
{{- $any := include "bytefacts.anyAddress" . -}}
{{- $corpora := $values.corpora | default list -}}
{{- with $values.corpus }}{{ $corpora = append $corpora . }}{{ end -}}
{{- $facts := list -}}
{{- with $values.facts }}{{ $facts = append $facts . }}{{ end -}}
{{- range $values.extractions -}}
{{- $corpora = append $corpora .corpus -}}
{{- with .facts }}{{ $facts = append $facts . }}{{ end -}}
{{- end -}}
{{- if $values.tests.enabled -}}
{{- with $values.tests.corpus }}{{ $corpora = append $corpora . }}{{ end -}}
{{- with $values.tests.facts }}{{ $facts = append $facts . }}{{ end -}}
{{- end -}}
{{- $cache := dict "folder" "/cache/units" "disk_bytes" (include "bytefacts.cacheBytes" . | int64) -}}
{{- with $values.sharedCache.uri }}{{ $_ := set $cache "shared" . }}{{ end -}}
{{- if and $values.sharedCache.uri $values.sharedCache.secretName -}}
{{- $_ := set $cache "shared_secret" (printf "/etc/bytefacts/shared-cache/%s" $values.sharedCache.secretKey) -}}
{{- end -}}
{{- $document := dict "access" (dict "corpus" (uniq $corpora) "facts" (uniq $facts)) "cache" $cache -}}
{{- if $values.scheduler.enabled -}}
{{- $insecure := eq $values.clusterTls.mode "none" -}}
{{- $_ := set $document "scheduler" (dict
      "listen" (printf "%s:%d" $any (int $values.scheduler.port))
      "probes" (printf "%s:%d" $any (int $values.scheduler.probesPort))
      "min_executors" $values.scheduler.minExecutors
      "drain_seconds" $values.scheduler.drainSeconds
      "insecure" $insecure) -}}
{{- $_ := set $document "executor" (dict
      "scheduler" (printf "%s-scheduler-early.%s.svc:%d" (include "bytefacts.fullname" .) .Release.Namespace (int $values.scheduler.port))
      "listen" (printf "%s:%d" $any (int $values.executor.port))
      "probes" (printf "%s:%d" $any (int $values.executor.probesPort))
      "cores" $values.executor.cores
      "drain_seconds" $values.executor.drainSeconds
      "interpreter_seconds" 3600
      "work_dir" "/tmp"
      "insecure" $insecure) -}}
{{- if not $insecure -}}
{{- $_ := set $document "cluster_tls" (dict "authority" "/etc/bytefacts/tls/ca.crt" "certificate" "/etc/bytefacts/tls/tls.crt" "key" "/etc/bytefacts/tls/tls.key") -}}
{{- end -}}
{{- end -}}
{{- if $values.sql.enabled -}}
{{- $serve := dict
      "listen" (printf "%s:%d" $any (int $values.sql.port))
      "probes" (printf "%s:%d" $any (int $values.sql.probesPort))
      "insecure" $values.sql.insecure
      "query_memory_bytes" (int64 $values.sql.queryMemoryBytes)
      "running" $values.sql.running -}}
{{- if $values.sql.users.secretName }}{{ $_ := set $serve "users" (printf "/etc/bytefacts/users/%s" $values.sql.users.key) }}{{ end -}}
{{- if $values.sql.tls.secretName -}}
{{- $_ := set $serve "tls_cert" "/etc/bytefacts/sql-tls/tls.crt" -}}
{{- $_ := set $serve "tls_key" "/etc/bytefacts/sql-tls/tls.key" -}}
{{- end -}}
{{- if and $values.scheduler.enabled $values.sql.useCluster }}{{ $_ := set $serve "cluster" (include "bytefacts.schedulerUrl" .) }}{{ end -}}
{{- $_ := set $document "serve" $serve -}}
{{- end -}}
{{- include "bytefacts.overlay" (dict "under" $document "over" (deepCopy ($values.config | default dict))) -}}
{{- toYaml $document -}}
{{- end }}

{{- define "bytefacts.cacheBytes" -}}
{{- $cache := .Values.executor.cache -}}
{{- if kindIs "invalid" $cache.diskBytes -}}
{{- divf (mulf (include "bytefacts.bytes" $cache.size | float64) 3) 4 | int64 -}}
{{- else -}}
{{- int64 $cache.diskBytes -}}
{{- end -}}
{{- end }}

{{/* A digest of those sections of the settings that a role reads, so that others do not restart it. Takes {root, sections}. */}}
{{- define "bytefacts.checksum" -}}
{{- $settings := include "bytefacts.settings" .root | fromYaml -}}
{{- $read := dict -}}
{{- range .sections }}{{ if hasKey $settings . }}{{ $_ := set $read . (get $settings .) }}{{ end }}{{ end -}}
{{- toJson $read | sha256sum -}}
{{- end }}

{{/* Variables: the chart's, then those of `pod`, then the role's own; of one name the last counts, in the first one's place.
     Takes {root, pod, own: a list}. */}}
{{- define "bytefacts.env" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $list := list (dict "name" "BYTEFACTS_CONFIG" "value" "/etc/bytefacts/config/bytefacts.yaml") -}}
{{- $list = append $list (dict "name" "BYTEFACTS_CACHE_DIR" "value" "/cache") -}}
{{- $list = append $list (dict "name" "BYTEFACTS_LOG_FORMAT" "value" $values.logFormat) -}}
{{- with $values.logFilter }}{{ $list = append $list (dict "name" "BYTEFACTS_LOG" "value" .) }}{{ end -}}
{{- $list = append $list (dict "name" "HOME" "value" "/tmp") -}}
{{- $list = append $list (dict "name" "TMPDIR" "value" "/tmp") -}}
{{- if or $values.caBundle.configMapName $values.caBundle.secretName -}}
{{- $list = append $list (dict "name" "SSL_CERT_FILE" "value" (printf "/etc/bytefacts/ca/%s" $values.caBundle.key)) -}}
{{- $list = append $list (dict "name" "SSL_CERT_DIR" "value" "/etc/ssl/certs") -}}
{{- end -}}
{{- with $values.proxy.http }}{{ $list = append $list (dict "name" "HTTP_PROXY" "value" .) }}{{ end -}}
{{- with $values.proxy.https }}{{ $list = append $list (dict "name" "HTTPS_PROXY" "value" .) }}{{ end -}}
{{- if or $values.proxy.http $values.proxy.https -}}
{{- $inside := printf "localhost,127.0.0.1,::1,.svc,.svc.cluster.local,%s-sql,%s-scheduler" (include "bytefacts.fullname" $root) (include "bytefacts.fullname" $root) -}}
{{- $list = append $list (dict "name" "NO_PROXY" "value" (compact (list $inside $values.proxy.except) | join ",")) -}}
{{- end -}}
{{- range $name, $value := $values.store.env }}{{ $list = append $list (dict "name" $name "value" (toString $value)) }}{{ end -}}
{{- $list = concat $list (.own | default list) (.pod.extraEnv | default list) -}}
{{- $last := dict -}}
{{- range $list }}{{ $_ := set $last .name . }}{{ end -}}
{{- $seen := dict -}}
{{- $unique := list -}}
{{- range $list -}}
{{- if not (hasKey $seen .name) }}{{ $unique = append $unique (get $last .name) }}{{ $_ := set $seen .name true }}{{ end -}}
{{- end -}}
{{- toYaml $unique -}}
{{- end }}

{{- define "bytefacts.envFrom" -}}
{{- $sources := list -}}
{{- with .root.Values.store.secretName }}{{ $sources = append $sources (dict "secretRef" (dict "name" .)) }}{{ end -}}
{{- $sources = concat $sources (.pod.extraEnvFrom | default list) -}}
{{- with $sources }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end }}

{{/* Where a container has what. Takes {root, pod, tls, cache, sql}. */}}
{{- define "bytefacts.mounts" -}}
- {name: config, mountPath: /etc/bytefacts/config, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- if .cache }}
- {name: cache, mountPath: /cache}
{{- if and .root.Values.sharedCache.uri .root.Values.sharedCache.secretName }}
- {name: shared-cache, mountPath: /etc/bytefacts/shared-cache, readOnly: true}
{{- end }}
{{- end }}
{{- if and .tls (include "bytefacts.tlsSecret" (dict "root" .root "side" .tls)) }}
- {name: tls, mountPath: /etc/bytefacts/tls, readOnly: true}
{{- end }}
{{- if or .root.Values.caBundle.configMapName .root.Values.caBundle.secretName }}
- {name: ca-bundle, mountPath: /etc/bytefacts/ca, readOnly: true}
{{- end }}
{{- if and .sql .root.Values.sql.users.secretName }}
- {name: users, mountPath: /etc/bytefacts/users, readOnly: true}
{{- end }}
{{- if and .sql .root.Values.sql.tls.secretName }}
- {name: sql-tls, mountPath: /etc/bytefacts/sql-tls, readOnly: true}
{{- end }}
{{- with .pod.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The volumes of these mounts. Takes {root, pod, tls, cache: the volume's source as a map, or null where a claim of a template is it, sql, scratch}. */}}
{{- define "bytefacts.volumes" -}}
- name: config
  configMap: {name: {{ include "bytefacts.fullname" .root }}-config}
- name: tmp
  emptyDir: {sizeLimit: {{ .scratch }}}
{{- if kindIs "map" .cache }}
- name: cache
  {{- toYaml .cache | nindent 2 }}
{{- end }}
{{- if and .cache .root.Values.sharedCache.uri .root.Values.sharedCache.secretName }}
- name: shared-cache
  secret: {secretName: {{ .root.Values.sharedCache.secretName }}, defaultMode: 0440}
{{- end }}
{{- with and .tls (include "bytefacts.tlsSecret" (dict "root" .root "side" .tls)) }}
- name: tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with .root.Values.caBundle.configMapName }}
- name: ca-bundle
  configMap: {name: {{ . }}}
{{- else }}
{{- with .root.Values.caBundle.secretName }}
- name: ca-bundle
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- if and .sql .root.Values.sql.users.secretName }}
- name: users
  secret: {secretName: {{ .root.Values.sql.users.secretName }}, defaultMode: 0440}
{{- end }}
{{- if and .sql .root.Values.sql.tls.secretName }}
- name: sql-tls
  secret: {secretName: {{ .root.Values.sql.tls.secretName }}, defaultMode: 0440}
{{- end }}
{{- with .pod.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What the container of every role has beside its command. Takes {root, pod, values, own}. */}}
{{- define "bytefacts.container" -}}
image: {{ include "bytefacts.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- /* So that whoever describes the pod reads why a container has ended. */}}
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  {{- include "bytefacts.withoutNulls" .pod.containerSecurityContext | nindent 2 }}
env:
  {{- include "bytefacts.env" . | nindent 2 }}
{{- include "bytefacts.envFrom" . }}
resources:
  {{- toYaml .values.resources | nindent 2 }}
volumeMounts:
  {{- include "bytefacts.mounts" . | nindent 2 }}
{{- end }}

{{/* Metadata of a pod. Takes {root, component, pod, port: of metrics or 0, checksum}. */}}
{{- define "bytefacts.podMetadata" -}}
labels:
  {{- include "bytefacts.selector" . | nindent 2 }}
  {{- with .pod.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  kubectl.kubernetes.io/default-container: {{ .container | default .component }}
  {{- with .checksum }}
  checksum/config: {{ . }}
  {{- end }}
  {{- if and .port .root.Values.metrics.annotations }}
  prometheus.io/scrape: "true"
  prometheus.io/port: {{ .port | quote }}
  prometheus.io/path: /metrics
  {{- end }}
  {{- with .pod.annotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* What the spec of every pod has beside containers and volumes. Takes {root, component, pod, grace, spread, deployment}. */}}
{{- define "bytefacts.podSpec" -}}
serviceAccountName: {{ include "bytefacts.serviceAccount" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- include "bytefacts.withoutNulls" .pod.securityContext | nindent 2 }}
terminationGracePeriodSeconds: {{ ternary .grace .pod.terminationGracePeriodSeconds (kindIs "invalid" .pod.terminationGracePeriodSeconds) }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $field := list "priorityClassName" "runtimeClassName" "schedulerName" "dnsPolicy" "dnsConfig" "hostAliases" "nodeSelector" "tolerations" "affinity" }}
{{- with get $.pod $field }}
{{ $field }}: {{- if kindIs "string" . }} {{ . | quote }}{{ else }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}
{{- end }}
{{- if not (kindIs "invalid" .pod.hostUsers) }}
hostUsers: {{ .pod.hostUsers }}
{{- end }}
{{- $constraints := .pod.topologySpreadConstraints }}
{{- if kindIs "invalid" $constraints }}
{{- $constraints = list }}
{{- if .spread }}
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
{{- $constraint := dict "maxSkew" 1 "topologyKey" $key "whenUnsatisfiable" "ScheduleAnyway" }}
{{- if $.deployment }}{{ $_ := set $constraint "matchLabelKeys" (list "pod-template-hash") }}{{ end }}
{{- $constraints = append $constraints $constraint }}
{{- end }}
{{- end }}
{{- end }}
{{- with $constraints }}
topologySpreadConstraints:
  {{- range . }}
  {{- $constraint := deepCopy . }}
  {{- if not (hasKey $constraint "labelSelector") }}
  {{- $_ := set $constraint "labelSelector" (dict "matchLabels" (include "bytefacts.selector" $ | fromYaml)) }}
  {{- end }}
  - {{- toYaml $constraint | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Probes of a daemon: alive needs no question; ready is asked. Takes the port's name. */}}
{{- define "bytefacts.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: probes}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: probes}
  periodSeconds: 20
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: probes}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end }}

{{/* How Jobs fail: findings (3) and wrong usage (2) at once, evictions never, all else by backoffLimit. */}}
{{- define "bytefacts.podFailurePolicy" -}}
podFailurePolicy:
  rules:
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
    - action: FailJob
      onExitCodes: {operator: In, values: [2, 3]}
{{- end }}

{{/* Pods of these components, as peers of a NetworkPolicy. Takes {root, components}. */}}
{{- define "bytefacts.peers" -}}
- podSelector:
    matchLabels:
      app.kubernetes.io/name: bytefacts
      app.kubernetes.io/instance: {{ .root.Release.Name }}
    matchExpressions:
      - {key: app.kubernetes.io/component, operator: In, values: {{ toJson .components }}}
{{- end }}
