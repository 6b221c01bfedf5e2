{{- /* Made from manifests/components/second-scheduler by `make chart`: change that, or chart/rules.yaml. */ -}}
{{- define "kubesteer-scheduler.config.yaml" -}}
# As scheduler-config/1.37/second-scheduler.yaml, with a lease in kubesteer's own namespace. The weight belongs to the
# minor: kubesteer's scores are at least half of what a node can get.
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection:
  {{- if gt (int .Values.scheduler.replicas) 1 }}
  leaderElect: true
  resourceName: kubesteer-scheduler
  resourceNamespace: {{ .Release.Namespace }}
  {{- else }}
  leaderElect: false
  {{- end }}
enableProfiling: false
profiles:
  - schedulerName: {{ .Values.scheduler.name }}
extenders:
  - urlPrefix: {{ eq .Values.certificates "none" | ternary "http" "https" }}://kubesteer-extender.{{ .Release.Namespace }}.svc:8888
    filterVerb: filter
    prioritizeVerb: prioritize
    weight: {{ include "kubesteer.weight" . }}
    {{- if ne .Values.certificates "none" }}
    enableHTTPS: true
    tlsConfig:
      caFile: /etc/kubesteer/tls/ca.crt
      certFile: /etc/kubesteer/tls/tls.crt
      keyFile: /etc/kubesteer/tls/tls.key
    {{- else }}
    enableHTTPS: false
    {{- end }}
    httpTimeout: 1s
    nodeCacheCapable: true
    ignorable: true
{{- end }}
