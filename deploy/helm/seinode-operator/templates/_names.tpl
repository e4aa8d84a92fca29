{{- define "operator.labels" -}}
app.kubernetes.io/name: seinode-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "operator.selector" -}}
app.kubernetes.io/name: seinode-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "operator.account" -}}
{{ .Values.serviceAccount.name | default .Release.Name }}
{{- end }}

{{- define "operator.config" -}}
{{ .Values.existingConfigMap | default (printf "%s-config" .Release.Name) }}
{{- end }}

{{- define "operator.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}
