{{- /* The Secrets that are mounted below /etc/plscp/secrets, as JSON: name of the folder, Secret, keys (none: all of them). */}}
{{- define "plscp.secrets" -}}
{{- $values := .Values -}}
{{- $mounted := list -}}
{{- range $name, $tls := dict "dicom" $values.dicomTls "hl7" $values.hl7Tls -}}
{{- if $tls.existingSecret -}}
{{- $mounted = append $mounted (dict "name" (printf "%s-tls" $name) "secret" $tls.existingSecret "keys" (list $tls.certificateKey $tls.privateKeyKey)) -}}
{{- if $tls.clientCa.enabled -}}
{{- $mounted = append $mounted (dict "name" (printf "%s-client-ca" $name) "secret" ($tls.clientCa.existingSecret | default $tls.existingSecret) "keys" (list $tls.clientCa.key)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with $values.httpTokens -}}
{{- if .existingSecret -}}
{{- $mounted = append $mounted (dict "name" "http-tokens" "secret" .existingSecret "keys" (compact (list .operateKey .readKey .feedKey) | uniq)) -}}
{{- end -}}
{{- end -}}
{{- with $values.httpTls -}}
{{- if .existingSecret -}}
{{- $mounted = append $mounted (dict "name" "http-tls" "secret" .existingSecret "keys" (list .certificateKey .privateKeyKey)) -}}
{{- end -}}
{{- end -}}
{{- with $values.kafka.user -}}
{{- if .existingSecret -}}
{{- $mounted = append $mounted (dict "name" "kafka-user" "secret" .existingSecret "keys" (ternary (list .certificateKey .privateKeyKey) (list .passwordKey) (eq .type "tls"))) -}}
{{- end -}}
{{- end -}}
{{- with $values.kafka.clusterCa -}}
{{- if .existingSecret -}}
{{- $mounted = append $mounted (dict "name" "kafka-ca" "secret" .existingSecret "keys" (list .key)) -}}
{{- end -}}
{{- end -}}
{{- with $values.devicePasscodes.existingSecret -}}
{{- $mounted = append $mounted (dict "name" "device-passcodes" "secret" . "keys" list) -}}
{{- end -}}
{{- with $values.registry -}}
{{- if .existingSecret -}}
{{- $mounted = append $mounted (dict "name" "registry" "secret" .existingSecret "keys" (list .key)) -}}
{{- end -}}
{{- end -}}
{{- toJson $mounted -}}
{{- end }}

{{- /* The pod of the server, the same whatever keeps it running. */}}
{{- define "plscp.podTemplate" -}}
{{- $settings := include "plscp.settings" . | fromJson -}}
{{- $secrets := include "plscp.secrets" . | fromJsonArray -}}
metadata:
  labels:
    # Without the chart's version: a new chart alone restarts nothing.
    {{- include "plscp.serverLabels" . | nindent 4 }}
    app.kubernetes.io/part-of: plscp
    {{- with .Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # Only settings that need a restart are in it: others apply when the mounted file changes.
    checksum/restart-settings: {{ include "plscp.restartSettings" . | sha256sum }}
    kubectl.kubernetes.io/default-container: plscp
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "plscp.serviceAccountName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "plscp.gracePeriod" . }}
  {{- with include "plscp.pullSecrets" . | trim }}
  imagePullSecrets:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with .Values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- with .Values.schedulerName }}
  schedulerName: {{ . | quote }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range . }}
    - {{ merge (deepCopy .) (dict "labelSelector" (dict "matchLabels" (include "plscp.serverLabels" $ | fromYaml))) | toYaml | nindent 6 | trim }}
    {{- end }}
  {{- end }}
  containers:
    - name: plscp
      image: {{ include "plscp.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve, --config, /etc/plscp/plscp.toml]
      env:
        # For the commands that people run in the pod.
        - name: PLSCP_CONFIG
          value: /etc/plscp/plscp.toml
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .Values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - name: dicom
          containerPort: {{ $settings.dicom.port }}
          {{- if .Values.hostPort.enabled }}
          hostPort: {{ $settings.dicom.port }}
          {{- end }}
          protocol: TCP
        {{- with $settings.dicom.tls }}
        - name: dicom-tls
          containerPort: {{ .port }}
          {{- if $.Values.hostPort.enabled }}
          hostPort: {{ .port }}
          {{- end }}
          protocol: TCP
        {{- end }}
        {{- with ($settings.feeds | default dict).hl7 }}
        - name: hl7
          containerPort: {{ .port }}
          protocol: TCP
        {{- with .tls }}
        - name: hl7-tls
          containerPort: {{ .port }}
          protocol: TCP
        {{- end }}
        {{- end }}
        {{- if .Values.service.http.enabled }}
        - name: http
          containerPort: {{ $settings.http.port }}
          protocol: TCP
        {{- end }}
        - name: probes
          containerPort: {{ include "plscp.probesPort" . }}
          protocol: TCP
      # Never the DICOM port: a probe there is an association that fails.
      startupProbe:
        httpGet: {path: /livez, port: probes}
        {{- toYaml .Values.startupProbe | nindent 8 }}
      readinessProbe:
        httpGet: {path: /readyz, port: probes}
        {{- toYaml .Values.readinessProbe | nindent 8 }}
      livenessProbe:
        httpGet: {path: /livez, port: probes}
        {{- toYaml .Values.livenessProbe | nindent 8 }}
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.securityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        # Whole folders, without subPath: only these follow a change.
        - name: settings
          mountPath: /etc/plscp
          readOnly: true
        {{- range $secrets }}
        - name: {{ .name }}
          mountPath: /etc/plscp/secrets/{{ .name }}
          readOnly: true
        {{- end }}
        {{- if eq .Values.store.mode "sqlite" }}
        - name: data
          mountPath: /var/lib/plscp
        {{- end }}
        - name: tmp
          mountPath: /tmp
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: settings
      configMap:
        name: {{ include "plscp.fullname" . }}
    {{- range $secrets }}
    - name: {{ .name }}
      secret:
        secretName: {{ .secret | quote }}
        defaultMode: 0440
        {{- with .keys }}
        items:
          {{- range . }}
          - key: {{ . | quote }}
            path: {{ . | quote }}
          {{- end }}
        {{- end }}
    {{- end }}
    {{- if eq .Values.store.mode "sqlite" }}
    - name: data
      {{- if .Values.persistence.enabled }}
      persistentVolumeClaim:
        claimName: {{ include "plscp.claim" . | quote }}
      {{- else }}
      emptyDir: {}
      {{- end }}
    {{- end }}
    - name: tmp
      emptyDir:
        medium: Memory
        sizeLimit: 64Mi
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
