{{- /* One value as TOML. JSON's strings and numbers are TOML's; DEL alone must be escaped. */}}
{{- define "plscp.tomlValue" -}}
{{- if kindIs "slice" . -}}
[{{ range $i, $each := . }}{{ if $i }}, {{ end }}{{ include "plscp.tomlValue" $each }}{{ end }}]
{{- else if kindIs "map" . -}}
{ {{ $first := true }}{{ range $key, $each := . }}{{ if not $first }}, {{ end }}{{ $first = false }}{{ include "plscp.tomlKey" $key }} = {{ include "plscp.tomlValue" $each }}{{ end }} }
{{- else -}}
{{- toJson . | replace "\u007f" "\\u007f" -}}
{{- end -}}
{{- end }}

{{- define "plscp.tomlKey" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ include "plscp.tomlValue" . }}{{ end -}}
{{- end }}

{{- define "plscp.toml" -}}
{{- regexReplaceAll "\n{3,}" (include "plscp.tomlTable" (list "" .) | trim) "\n\n" -}}
{{- end }}

{{- /* A table and those below it; takes a list of the table's name and the table. */}}
{{- define "plscp.tomlTable" -}}
{{- $name := index . 0 -}}
{{- $table := index . 1 -}}
{{- if $name }}
[{{ $name }}]
{{- end }}
{{- range $key, $value := $table }}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ include "plscp.tomlKey" $key }} = {{ include "plscp.tomlValue" $value }}
{{- end }}
{{- end }}
{{- range $key, $value := $table }}
{{- if kindIs "map" $value }}
{{ include "plscp.tomlTable" (list (printf "%s%s" (ternary (printf "%s." $name) "" (ne $name "")) (include "plscp.tomlKey" $key)) $value) }}
{{- end }}
{{- end }}
{{- end }}
