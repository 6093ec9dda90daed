{{- /*
The settings of the server as JSON: what follows from other values, and over it what stands under `settings`.
*/}}
{{- define "plscp.settings" -}}
{{- $values := .Values -}}
{{- $secrets := "/etc/plscp/secrets" -}}
{{- $given := deepCopy $values.settings -}}
{{- $dicom := dict "host" "0.0.0.0" "port" 11112 "ae_title" "PLSCP" "drain_delay" "PT5S" -}}
{{- if $values.dicomTls.existingSecret -}}
{{-   $tls := dict "port" 2762 "certificate" (printf "%s/dicom-tls/%s" $secrets $values.dicomTls.certificateKey) "private_key" (printf "%s/dicom-tls/%s" $secrets $values.dicomTls.privateKeyKey) -}}
{{-   if $values.dicomTls.clientCa.enabled -}}
{{-     $_ := set $tls "client_ca" (printf "%s/dicom-client-ca/%s" $secrets $values.dicomTls.clientCa.key) -}}
{{-   end -}}
{{-   $_ := set $dicom "tls" $tls -}}
{{- else if ($given.dicom).tls -}}
{{-   $_ := set $dicom "tls" (dict "port" 2762) -}}
{{- end -}}
{{- $feeds := dict -}}
{{- if hasKey ($given.feeds | default dict) "hl7" -}}
{{-   $hl7 := dict "host" "0.0.0.0" "port" 2575 -}}
{{-   if $values.hl7Tls.existingSecret -}}
{{-     $tls := dict "port" 2576 "certificate" (printf "%s/hl7-tls/%s" $secrets $values.hl7Tls.certificateKey) "private_key" (printf "%s/hl7-tls/%s" $secrets $values.hl7Tls.privateKeyKey) -}}
{{-     if $values.hl7Tls.clientCa.enabled -}}
{{-       $_ := set $tls "client_ca" (printf "%s/hl7-client-ca/%s" $secrets $values.hl7Tls.clientCa.key) -}}
{{-     end -}}
{{-     $_ := set $hl7 "tls" $tls -}}
{{-   end -}}
{{-   $_ := set $feeds "hl7" $hl7 -}}
{{- end -}}
{{- $http := dict "port" 8080 "probes" "0.0.0.0:8081" "host" (ternary "0.0.0.0" "127.0.0.1" $values.service.http.enabled) -}}
{{- if $values.httpTokens.existingSecret -}}
{{-   range $name, $key := dict "token_file" $values.httpTokens.operateKey "read_token_file" $values.httpTokens.readKey "feed_token_file" $values.httpTokens.feedKey -}}
{{-     if $key -}}{{- $_ := set $http $name (printf "%s/http-tokens/%s" $secrets $key) -}}{{- end -}}
{{-   end -}}
{{- end -}}
{{- if $values.httpTls.existingSecret -}}
{{-   $_ := set $http "tls" (dict "certificate" (printf "%s/http-tls/%s" $secrets $values.httpTls.certificateKey) "private_key" (printf "%s/http-tls/%s" $secrets $values.httpTls.privateKeyKey)) -}}
{{- end -}}
{{- $derived := dict "dicom" $dicom "http" $http "store" (dict "url" "sqlite:////var/lib/plscp/plscp.db") -}}
{{- if $feeds -}}{{- $_ := set $derived "feeds" $feeds -}}{{- end -}}
{{- $user := $values.kafka.user -}}
{{- $kafka := dict -}}
{{- if $values.kafka.clusterCa.existingSecret -}}
{{-   $_ := set $kafka "ssl_cafile" (printf "%s/kafka-ca/%s" $secrets $values.kafka.clusterCa.key) -}}
{{-   $_ := set $kafka "security_protocol" "SSL" -}}
{{- end -}}
{{- if and $user.existingSecret (eq $user.type "tls") -}}
{{-   $_ := set $kafka "security_protocol" "SSL" -}}
{{-   $_ := set $kafka "ssl_certfile" (printf "%s/kafka-user/%s" $secrets $user.certificateKey) -}}
{{-   $_ := set $kafka "ssl_keyfile" (printf "%s/kafka-user/%s" $secrets $user.privateKeyKey) -}}
{{- else if $user.existingSecret -}}
{{-   $_ := set $kafka "security_protocol" (ternary "SASL_SSL" "SASL_PLAINTEXT" (hasKey $kafka "ssl_cafile")) -}}
{{-   $_ := set $kafka "sasl_mechanism" "SCRAM-SHA-512" -}}
{{-   $_ := set $kafka "sasl_plain_username" ($user.name | default $user.existingSecret) -}}
{{-   $_ := set $kafka "sasl_plain_password_file" (printf "%s/kafka-user/%s" $secrets $user.passwordKey) -}}
{{- end -}}
{{- if $kafka -}}{{- $_ := set $derived "kafka" $kafka -}}{{- end -}}
{{- if $values.registry.existingSecret -}}
{{-   $_ := set $derived "registry" (dict "file" (printf "%s/registry/%s" $secrets $values.registry.key)) -}}
{{- end -}}
{{- $devices := dict -}}
{{- if $values.devicePasscodes.existingSecret -}}
{{-   range $title, $device := $given.devices -}}
{{-     if $device.username -}}
{{-       $_ := set $devices $title (dict "passcode_file" (printf "%s/device-passcodes/%s" $secrets $title)) -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- if $values.tests.enabled -}}
{{-   $_ := set $devices $values.tests.aeTitle (dict "sop_classes" list) -}}
{{- end -}}
{{- if $devices -}}{{- $_ := set $derived "devices" $devices -}}{{- end -}}
{{- merge $given $derived | toJson -}}
{{- end }}

{{- /*
What a change of which needs a restart: all but the settings that a running server takes over.
*/}}
{{- define "plscp.restartSettings" -}}
{{- $settings := include "plscp.settings" . | fromJson -}}
{{- range .Files.Get "files/at-once.json" | fromJsonArray -}}
{{-   $path := splitList "." . -}}
{{-   $table := $settings -}}
{{-   range initial $path -}}{{- $table = get $table . | default dict -}}{{- end -}}
{{-   $_ := unset $table (last $path) -}}
{{- end -}}
{{- range $name, $table := deepCopy $settings -}}
{{-   if not $table -}}{{- $_ := unset $settings $name -}}{{- end -}}
{{- end -}}
{{- $settings | toJson -}}
{{- end }}

{{- /* Settings that would start a server which cannot work are refused before anything is installed. */}}
{{- define "plscp.validate" -}}
{{- $values := .Values -}}
{{- $settings := include "plscp.settings" . | fromJson -}}
{{- if and $settings.kafka (not $settings.kafka.bootstrap_servers) -}}
{{- fail "settings.kafka.bootstrap_servers: missing, although kafka.user or kafka.clusterCa is given" -}}
{{- end -}}
{{- with $settings.dicom.tls -}}
{{- if not (and .certificate .private_key) -}}
{{- fail "dicomTls.existingSecret: missing: settings.dicom.tls has no certificate and private_key" -}}
{{- end -}}
{{- else -}}
{{- if not $values.service.dicom.plain -}}
{{- fail "service.dicom.plain: false needs TLS: dicomTls.existingSecret is missing" -}}
{{- end -}}
{{- end -}}
{{- with ($settings.feeds | default dict).hl7 -}}
{{- if not .senders -}}
{{- fail "settings.feeds.hl7.senders: missing: who may send HL7 may change every patient" -}}
{{- end -}}
{{- if and .tls (not (and .tls.certificate .tls.private_key)) -}}
{{- fail "hl7Tls.existingSecret: missing: settings.feeds.hl7.tls has no certificate and private_key" -}}
{{- end -}}
{{- if not (or $values.service.hl7.plain .tls) -}}
{{- fail "service.hl7.plain: false needs TLS: hl7Tls.existingSecret is missing" -}}
{{- end -}}
{{- else -}}
{{- if $values.hl7Tls.existingSecret -}}
{{- fail "hl7Tls.existingSecret: given, but there is no settings.feeds.hl7" -}}
{{- end -}}
{{- end -}}
{{- with $settings.http -}}
{{- $authenticated := or .token_file .read_token_file .operate_token_file .feed_token_file -}}
{{- if and $values.service.http.enabled (not $authenticated) (ne (.authentication | default "token") "none") -}}
{{- fail "httpTokens.existingSecret: missing: service.http.enabled offers the API to the cluster (settings.http.authentication \"none\" does without tokens)" -}}
{{- end -}}
{{- end -}}
{{- if not (hasPrefix "sqlite:////var/lib/plscp/" $settings.store.url) -}}
{{- fail (printf "settings.store.url: %s is not on the volume, sqlite:////var/lib/plscp/..." $settings.store.url) -}}
{{- end -}}
{{- end }}
