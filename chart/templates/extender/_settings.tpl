{{- /* Made from manifests/base/extender by `make chart`: change that, or chart/rules.yaml. */ -}}
{{- define "kubesteer-extender.settings.yaml" -}}
# Settings of the extender; docs/settings.md has all of them.
listen:
  host: 0.0.0.0
  drain_s: 10
  grace_s: 10
ops:
  # The kubelet's probes come to the pod's address. Health is open; for the rest a token's account has to have the rights
  # of the ClusterRole kubesteer-ops-reader.
  host: 0.0.0.0
  {{- if ne .Values.certificates "none" }}
  tls: true
  auth: kubernetes
  {{- end }}
{{- if ne .Values.certificates "none" }}
tls:
  cert_file: /etc/kubesteer/server/tls.crt
  key_file: /etc/kubesteer/server/tls.key
  client_ca_file: /etc/kubesteer/server/ca.crt
{{- end }}
cluster:
  source: kubernetes
rewards:
  source: {{ include "kubesteer.store" . }}
{{- if eq (include "kubesteer.store" .) "etcd" }}
  endpoints: [kubesteer-etcd.{{ .Release.Namespace }}.svc:2379]
  ca_file: /etc/kubesteer/etcd/ca.crt
  cert_file: /etc/kubesteer/etcd/tls.crt
  key_file: /etc/kubesteer/etcd/tls.key
{{- end }}
log:
  format: json
{{- end }}
