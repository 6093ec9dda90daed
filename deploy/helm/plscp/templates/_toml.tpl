{{- /* One value as TOML. JSON's strings and numbers are TOML's, but for characters that TOML or YAML has only escaped. */}}
{{- define "plscp.tomlValue" -}}
{{- if kindIs "slice" . -}}
[{{ range $i, $each := . }}{{ if $i }}, {{ end }}{{ include "plscp.tomlValue" $each }}{{ end }}]
{{- else if kindIs "map" . -}}
{ {{ $first := true }}{{ range $key, $each := . }}{{ if not $first }}, {{ end }}{{ $first = false }}{{ include "plscp.tomlKey" $key }} = {{ include "plscp.tomlValue" $each }}{{ end }} }
{{- else -}}
{{- $text := toJson . -}}
{{- if regexMatch "[\\x{7f}-\\x{9f}\\x{fffe}\\x{ffff}]" $text -}}
{{- range concat (untilStep 127 160 1) (list 65534 65535) -}}
{{- $text = replace (printf "%c" .) (printf "\\u%04x" .) $text -}}
{{- end -}}
{{- end -}}
{{- $text -}}
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
