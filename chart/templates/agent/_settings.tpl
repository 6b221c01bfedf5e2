{{- /* Made from manifests/base/agent by `make chart`: change that, or chart/rules.yaml. */ -}}
{{- define "kubesteer-agent.settings.yaml" -}}
# Settings of the agent; docs/agent-settings.md has all of them.
store:
  {{- if eq (include "kubesteer.store" .) "etcd" }}
  endpoints: [kubesteer-etcd.{{ .Release.Namespace }}.svc:2379]
  ca_file: /etc/kubesteer/etcd/ca.crt
  cert_file: /etc/kubesteer/etcd/tls.crt
  key_file: /etc/kubesteer/etcd/tls.key
  {{- else }}
  kind: memory
  {{- end }}
kubelet:
  # Over the node's own loopback. Its certificate does not name that address, and often nobody signed it.
  url: https://127.0.0.1:10250
  insecure: true
{{- end }}
