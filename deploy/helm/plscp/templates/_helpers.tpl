{{- define "plscp.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "plscp.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "plscp.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "plscp.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "plscp.selectorLabels" -}}
app.kubernetes.io/name: {{ include "plscp.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* What the pods of the server have and those of the tests do not: selectors use it. */}}
{{- define "plscp.serverLabels" -}}
{{ include "plscp.selectorLabels" . }}
app.kubernetes.io/component: server
{{- end }}

{{- define "plscp.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "plscp.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: plscp
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "plscp.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "plscp.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "plscp.image" -}}
{{- $image := .Values.image -}}
{{- with (.Values.global.imageRegistry | default $image.registry) }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .Chart.AppVersion }}{{ end -}}
{{- end }}

{{- define "plscp.pullSecrets" -}}
{{- range concat .Values.global.imagePullSecrets .Values.image.pullSecrets | uniq }}
- name: {{ . | quote }}
{{- end }}
{{- end }}

{{- define "plscp.claim" -}}
{{- .Values.persistence.existingClaim | default (printf "%s-data" (include "plscp.fullname" .)) -}}
{{- end }}

{{- /* Seconds of an ISO 8601 duration without years and months, as the settings have them. */}}
{{- define "plscp.seconds" -}}
{{- $total := 0.0 -}}
{{- $date := regexReplaceAll "T.*$" . "" -}}
{{- $time := regexReplaceAll "^[^T]*T?" . "" -}}
{{- range $part := list (list $date "W" 604800) (list $date "D" 86400) (list $time "H" 3600) (list $time "M" 60) (list $time "S" 1) -}}
{{- $found := regexFind (printf "[0-9.]+%s" (index $part 1)) (index $part 0) -}}
{{- if $found }}{{- $total = addf $total (mulf (trimSuffix (index $part 1) $found | float64) (index $part 2)) -}}{{- end -}}
{{- end -}}
{{- $total -}}
{{- end }}

{{- /* From SIGTERM until the process has ended: delay, grace, the answer to a request in hand, and 15 s to close the store. */}}
{{- define "plscp.gracePeriod" -}}
{{- $dicom := (include "plscp.settings" . | fromJson).dicom -}}
{{- $drain := 0.0 -}}
{{- range list $dicom.drain_delay ($dicom.drain_grace | default "PT30S") ($dicom.answer_deadline | default "PT10S") -}}
{{- $drain = addf $drain (include "plscp.seconds" . | float64) -}}
{{- end -}}
{{- $needed := addf $drain 15 | ceil | int -}}
{{- $given := .Values.terminationGracePeriodSeconds | default $needed | int -}}
{{- if lt $given $needed -}}
{{- fail (printf "terminationGracePeriodSeconds: %d is less than the drain takes: at least %d with drain_delay, drain_grace and answer_deadline of settings.dicom" $given $needed) -}}
{{- end -}}
{{- $given -}}
{{- end }}

{{- define "plscp.probesPort" -}}
{{- (include "plscp.settings" . | fromJson).http.probes | splitList ":" | last -}}
{{- end }}
