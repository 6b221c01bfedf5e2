{{- /* Made from manifests/base/keeper by `make chart`: change that, or chart/rules.yaml. */ -}}
{{- define "kubesteer-keeper.settings.yaml" -}}
# Settings of the keeper; docs/certificates.md has all of them.
{{- if ne .Release.Namespace "kubesteer" }}
cluster:
  namespace: {{ .Release.Namespace }}
{{- end }}
{{- if eq .Values.certificates "self-signed" }}
certificates:
  make: true
{{- end }}
etcd:
  {{- if .Values.nodeCertificates }}
  per_node: true
  {{- end }}
  endpoints: [kubesteer-etcd.{{ .Release.Namespace }}.svc:2379]
ops:
  host: 0.0.0.0
{{- end }}
