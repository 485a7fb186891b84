{{/* The spec of an extraction's Job. Takes {root, role, values, pod, arguments}. */}}
{{- define "bytefacts.extractionSpec" -}}
backoffLimit: {{ .values.backoffLimit }}
{{- with .values.activeDeadlineSeconds }}
activeDeadlineSeconds: {{ . }}
{{- end }}
{{- if not (kindIs "invalid" .values.ttlSecondsAfterFinished) }}
ttlSecondsAfterFinished: {{ .values.ttlSecondsAfterFinished }}
{{- end }}
{{ include "bytefacts.podFailurePolicy" . }}
template:
  metadata:
    {{- include "bytefacts.podMetadata" .role | nindent 4 }}
  spec:
    restartPolicy: Never
    {{- include "bytefacts.podSpec" .role | nindent 4 }}
    {{- with .pod.extraInitContainers }}
    initContainers:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    containers:
      - name: extract
        command:
          {{- toYaml (concat (list "bytefacts" "extract") .arguments) | nindent 10 }}
        {{- include "bytefacts.container" .role | nindent 8 }}
      {{- with .pod.extraContainers }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    volumes:
      {{- include "bytefacts.volumes" .role | nindent 6 }}
{{- end }}
