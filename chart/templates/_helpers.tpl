{{/* kubesteer's image. */}}
{{- define "kubesteer.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* The second scheduler's image: of the cluster's own version, less what a distribution adds to it. */}}
{{- define "kubesteer.schedulerImage" -}}
{{- $own := regexFind "^v[0-9]+[.][0-9]+[.][0-9]+" .Capabilities.KubeVersion.Version -}}
{{ .Values.scheduler.image.repository }}:{{ .Values.scheduler.image.tag | default $own }}
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

{{/* A YAML text by the name of its template, with values merged over it: (list $ name values). */}}
{{- define "kubesteer.merged" -}}
{{- $text := include (index . 1) (index . 0) -}}
{{- with index . 2 }}
{{- toYaml (mustMergeOverwrite (fromYaml $text) (deepCopy .)) }}
{{- else }}
{{- $text }}
{{- end }}
{{- end }}
