{{/* kubesteer's image. */}}
{{- define "kubesteer.image" -}}
{{ .Values.image.repository }}{{ include "kubesteer.version" (list .Values.image .Chart.AppVersion) }}
{{- end }}

{{/* What follows an image's name, its digest before its tag: (list image tag). */}}
{{- define "kubesteer.version" -}}
{{- with index . 0 }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default (index $ 1) }}{{ end }}{{ end }}
{{- end }}

{{/* The second scheduler's image: of the cluster's own version, less what a distribution adds to it. */}}
{{- define "kubesteer.schedulerImage" -}}
{{- $own := regexFind "^v[0-9]+[.][0-9]+[.][0-9]+" .Capabilities.KubeVersion.Version -}}
{{ .Values.scheduler.image.repository }}{{ include "kubesteer.version" (list .Values.scheduler.image $own) }}
{{- end }}

{{/* The second scheduler's minor: by its tag, else the cluster's. */}}
{{- define "kubesteer.schedulerMinor" -}}
{{- $own := printf "v1.%s" (regexFind "^[0-9]+" .Capabilities.KubeVersion.Minor) -}}
{{- regexReplaceAll "^v?1[.]([0-9]+).*$" (.Values.scheduler.image.tag | default $own) "${1}" -}}
{{- end }}

{{/* As much as all Score plugins of the minor together, so that kubesteer's is at least half of what a node can get. */}}
{{- define "kubesteer.weight" -}}
{{- $minor := include "kubesteer.schedulerMinor" . | int -}}
{{- if not (kindIs "invalid" .Values.scheduler.weight) }}{{ .Values.scheduler.weight }}
{{- else if ge $minor 37 }}15
{{- else if ge $minor 35 }}14
{{- else }}12
{{- end }}
{{- end }}

{{/* Where rewards are: etcd, or memory. */}}
{{- define "kubesteer.store" -}}
{{ if or .Values.etcd.enabled .Values.etcd.endpoints }}etcd{{ else }}memory{{ end }}
{{- end }}

{{/* etcd's members, as its --initial-cluster takes them. */}}
{{- define "kubesteer.etcdMembers" -}}
{{- range $number := until (int .Values.etcd.members) -}}
{{- if $number }},{{ end -}}
kubesteer-etcd-{{ $number }}=https://kubesteer-etcd-{{ $number }}.kubesteer-etcd-members.{{ $.Release.Namespace }}.svc:2380
{{- end }}
{{- end }}

{{/* A YAML text by the name of its template, with values merged over it: (list $ name values). */}}
{{- define "kubesteer.merged" -}}
{{- $text := include (index . 1) (index . 0) -}}
{{- with index . 2 }}
{{- toYaml (mustMergeOverwrite (fromYaml $text) (deepCopy .)) }}
{{- else }}
{{- $text }}
{{- end }}
{{- end }}

{{/* Which nodes pods may be on: (list $ values trusted). */}}
{{- define "kubesteer.nodes" -}}
{{- $own := index . 1 -}}
{{- $selector := dict "kubernetes.io/os" "linux" -}}
{{- $tolerations := $own.tolerations | default list -}}
{{- if index . 2 -}}
{{- $_ := set $selector "node-restriction.kubernetes.io/kubesteer" "trusted" -}}
{{- $taint := dict "key" "node-role.kubernetes.io/control-plane" "operator" "Exists" "effect" "NoSchedule" -}}
{{- $tolerations = append $tolerations $taint -}}
{{- end -}}
nodeSelector:
  {{- toYaml (merge $selector (deepCopy $own.nodeSelector)) | nindent 2 }}
{{- with $tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Ports of the pods themselves, as their settings have them; Services keep theirs. */}}
{{- define "kubesteer.verbsPort" -}}{{ dig "listen" "port" 8888 .Values.extender.settings | int }}{{- end }}
{{- define "kubesteer.opsPort" -}}{{ dig "ops" "port" 8889 .Values.extender.settings | int }}{{- end }}
{{- define "kubesteer.agentOpsPort" -}}{{ dig "ops" "port" 8890 .Values.agent.settings | int }}{{- end }}
{{- define "kubesteer.keeperOpsPort" -}}{{ dig "ops" "port" 8891 .Values.keeper.settings | int }}{{- end }}

{{/* What pods read only when they start, in short, so that a change of it replaces them: (list $ name values). */}}
{{- define "kubesteer.checksum" -}}
{{- print (include "kubesteer.merged" .) (index . 0).Values.etcd.endpoints | sha256sum -}}
{{- end }}
