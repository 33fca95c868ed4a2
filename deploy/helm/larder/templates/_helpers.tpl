{{- define "larder.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "larder.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "larder.labels" -}}
{{ include "larder.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "larder.secret" -}}
{{- .Values.secrets.existing | default (include "larder.name" .) -}}
{{- end -}}

{{- define "larder.keysSecret" -}}
{{- .Values.secrets.existing | default (printf "%s-keys" (include "larder.name" .)) -}}
{{- end -}}

{{- define "larder.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "larder.name" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* What the migration needs must be there before it: made by hooks. */}}
{{- define "larder.beforeMigrations" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: "-10"
helm.sh/hook-delete-policy: before-hook-creation
{{- end -}}

{{- define "larder.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{/* A value as TOML has it. */}}
{{- define "larder.value" -}}
{{- if kindIs "map" . -}}
{ {{- range $index, $key := keys . | sortAlpha }}{{ if $index }},{{ end }} {{ $key | toJson }} = {{ include "larder.value" (get $ $key) }}{{ end }} }
{{- else if kindIs "slice" . -}}
[{{ range $index, $item := . }}{{ if $index }}, {{ end }}{{ include "larder.value" $item }}{{ end }}]
{{- else if kindIs "float64" . -}}
{{ . | int64 }}
{{- else -}}
{{ . | toJson }}
{{- end -}}
{{- end -}}

{{/* TOML of a set of settings: values first, then its tables. */}}
{{- define "larder.toml" -}}
{{- $prefix := .prefix -}}
{{- range $key, $value := .settings }}
{{- if not (kindIs "map" $value) }}
{{ $key }} = {{ include "larder.value" $value }}
{{- end }}
{{- end }}
{{- range $key, $value := .settings }}
{{- if kindIs "map" $value }}
{{- $path := ternary $key (printf "%s.%s" $prefix $key) (eq $prefix "") }}

[{{ $path }}]
{{- include "larder.toml" (dict "prefix" $path "settings" $value) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* One container: the server's, and the migration's. */}}
{{- define "larder.container" -}}
image: {{ include "larder.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
env:
{{- $secret := include "larder.secret" . }}
{{- $keys := dict "LARDER_DATABASE_URL" "database-url" "LARDER_S3_ACCESS_KEY_ID" "s3-access-key-id" "LARDER_S3_SECRET_ACCESS_KEY" "s3-secret-access-key" }}
{{- range $variable, $key := $keys }}
  - name: {{ $variable }}
    valueFrom:
      secretKeyRef:
        name: {{ $secret }}
        key: {{ $key }}
        optional: true
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . | indent 2 }}
{{- end }}
volumeMounts:
  - name: config
    mountPath: /etc/larder
    readOnly: true
  - name: secrets
    mountPath: /run/secrets/larder
    readOnly: true
  - name: data
    mountPath: /var/lib/larder
  - name: temporary
    mountPath: /tmp
{{- end -}}

{{/* What both pods have in common. */}}
{{- define "larder.pod" -}}
serviceAccountName: {{ include "larder.serviceAccount" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{ toYaml . | indent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
volumes:
  - name: config
    configMap:
      name: {{ include "larder.name" . }}
  - name: secrets
    secret:
      secretName: {{ include "larder.keysSecret" . }}
      defaultMode: 0440
      items:
        - key: seal-key
          path: seal-key
        - key: admin-token
          path: admin-token
  - name: data
    emptyDir:
      sizeLimit: {{ .Values.dataSize }}
  - name: temporary
    emptyDir: {}
{{- end -}}
