{{- /* Of one program: {{ include "weir.image" (dict "root" . "program" "agent") }} */ -}}
{{- define "weir.image" -}}
{{- printf "%s%s:%s" .root.Values.image.registry (get .root.Values.image .program) (.root.Values.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
