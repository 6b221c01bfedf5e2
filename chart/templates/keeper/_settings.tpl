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
  # The kubelet's probes come to the pod's address. Health is open; for the rest a token's account has to have the rights.
  host: 0.0.0.0
  cert_file: /etc/kubesteer/server/tls.crt
  key_file: /etc/kubesteer/server/tls.key
  auth: kubernetes
{{- end }}
