{{- define "par.selector" -}}
app.kubernetes.io/name: par
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "par.labels" -}}
{{ include "par.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
{{- define "par.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}
{{- define "par.scaleDown" -}}
stabilizationWindowSeconds: 600
policies:
  - {type: Pods, value: 1, periodSeconds: 300}
{{- end }}
