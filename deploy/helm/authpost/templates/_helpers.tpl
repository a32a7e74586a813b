{{- define "authpost.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "authpost.fullname" -}}
{{- if .Values.fullnameOverride -}}{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "authpost.name" .) .Release.Name -}}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}{{ printf "%s-%s" .Release.Name (include "authpost.name" .) | trunc 50 | trimSuffix "-" }}{{- end -}}
{{- end -}}

{{- define "authpost.selector" -}}
app.kubernetes.io/name: {{ include "authpost.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{- define "authpost.labels" -}}
{{ include "authpost.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "authpost.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "authpost.fullname" .) .Values.serviceAccount.name }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end -}}
{{- end -}}

{{- define "authpost.secret" -}}
{{- if .Values.secrets.existingSecret }}{{ .Values.secrets.existingSecret }}
{{- else if .Values.secrets.values }}{{ include "authpost.fullname" . }}
{{- else }}{{ fail "set secrets.existingSecret, or secrets.values" }}{{ end -}}
{{- end -}}

{{/* The secrets of a role, as variable: key of the Secret. An ingress without sign-in does not need the API key. */}}
{{- define "authpost.secretFiles" -}}
AMQP_URL_FILE: amqp-url
REDIS_URL_FILE: redis-url
{{- if eq .role "ingress" }}
WORKOS_WEBHOOK_SECRET_FILE: webhook-secret
{{- end }}
{{- if or (eq .role "worker") .root.Values.signIn.enabled }}
WORKOS_API_KEY_FILE: workos-api-key
{{- end }}
{{- if eq .role "worker" }}
{{- if .root.Values.worker.relaysFile }}
AUTHPOST_RELAYS_FILE: relays
{{- else }}
SMTP_URL_FILE: smtp-url
{{- end }}
{{- end }}
{{- if and .root.Values.traces.endpoint .root.Values.traces.headers }}
OTEL_EXPORTER_OTLP_HEADERS_FILE: otlp-headers
{{- end }}
{{- end -}}

{{- define "authpost.pod" -}}
{{- $root := .root -}}
{{- $own := index $root.Values .role -}}
{{- $files := include "authpost.secretFiles" . | fromYaml -}}
metadata:
  labels: {{- include "authpost.labels" . | nindent 4 }}
spec:
  serviceAccountName: {{ include "authpost.serviceAccount" $root }}
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: {{ $root.Values.terminationGracePeriodSeconds }}
  securityContext: { runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, seccompProfile: { type: RuntimeDefault } }
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector: { matchLabels: {{ include "authpost.selector" $ | fromYaml | toJson }} }
    {{- end }}
  containers:
    - name: {{ .role }}
      image: "{{ $root.Values.image.repository }}:{{ default $root.Chart.AppVersion $root.Values.image.tag }}"
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: [{{ .role }}]
      env:
        {{- range $variable, $key := $files }}
        - { name: {{ $variable }}, value: "/run/secrets/authpost/{{ $key }}" }
        {{- end }}
        {{- if eq .role "worker" }}
        - { name: MAIL_FROM, value: {{ $root.Values.mailFrom | quote }} }
        {{- end }}
        {{- if and (eq .role "ingress") $root.Values.httpIngress.trustedProxies }}
        - { name: AUTHPOST_TRUSTED_PROXIES, value: {{ join "," $root.Values.httpIngress.trustedProxies | quote }} }
        {{- end }}
        {{- if and (eq .role "ingress") $root.Values.signIn.enabled }}
        - { name: WORKOS_CLIENT_ID, value: {{ $root.Values.signIn.clientId | quote }} }
        - { name: AUTHPOST_SIGNIN_ORIGINS, value: {{ join "," $root.Values.signIn.origins | quote }} }
        {{- with $root.Values.signIn.baseUrl }}
        - { name: WORKOS_SIGNIN_BASE_URL, value: {{ . | quote }} }
        {{- end }}
        {{- end }}
        {{- with $root.Values.traces.endpoint }}
        - { name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }} }
        {{- end }}
        {{- range $variable, $value := merge (dict) $own.env $root.Values.env }}
        - { name: {{ $variable }}, value: {{ $value | toString | quote }} }
        {{- end }}
      ports:
        {{- if eq .role "ingress" }}
        - { name: http, containerPort: 8080 }
        {{- end }}
        - { name: metrics, containerPort: 9090 }
      startupProbe: { httpGet: { path: /livez, port: metrics }, periodSeconds: 1, failureThreshold: 30 }
      livenessProbe: { httpGet: { path: /livez, port: metrics }, periodSeconds: 10, timeoutSeconds: 3, failureThreshold: 3 }
      readinessProbe: { httpGet: { path: /readyz, port: metrics }, periodSeconds: 5, timeoutSeconds: 5, failureThreshold: 2 }
      {{- if and (eq .role "ingress") $own.preStopSeconds }}
      lifecycle: { preStop: { sleep: { seconds: {{ $own.preStopSeconds }} } } }
      {{- end }}
      resources: {{- toYaml $own.resources | nindent 8 }}
      securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: [ALL] } }
      volumeMounts: [{ name: secrets, mountPath: /run/secrets/authpost, readOnly: true }]
  volumes:
    - name: secrets
      secret:
        secretName: {{ include "authpost.secret" $root }}
        defaultMode: 0440
        items:
          {{- range $variable, $key := $files }}
          - { key: {{ $key }}, path: {{ $key }} }
          {{- end }}
  {{- with $root.Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
