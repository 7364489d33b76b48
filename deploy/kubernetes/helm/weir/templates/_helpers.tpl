{{- /* Of one program: {{ include "weir.image" (dict "root" . "program" "agent") }} */ -}}
{{- define "weir.image" -}}
{{- printf "%s%s:%s" .root.Values.image.registry (get .root.Values.image .program) (.root.Values.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}

{{- /* The pod that makes certificates: of the Job, and of the CronJob. */ -}}
{{- define "weir.certs" -}}
template:
  metadata:
    labels: {app.kubernetes.io/name: weir, app.kubernetes.io/component: certs}
  spec:
    serviceAccountName: weir-certs
    restartPolicy: OnFailure
    {{- with .Values.image.pullSecrets }}
    imagePullSecrets: {{ toJson . }}
    {{- end }}
    securityContext:
      runAsNonRoot: true
      runAsUser: 65532
      runAsGroup: 65532
      seccompProfile: {type: RuntimeDefault}
    containers:
    - name: certs
      image: {{ include "weir.image" (dict "root" . "program" "controller") }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      command: [/usr/lib/weir/certs.sh]
      env:
      - {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
      - {name: WEIR_CERT_DAYS, value: {{ .Values.tls.days | quote }} }
      resources:
        requests: {cpu: 10m, memory: 16Mi}
        limits: {memory: 64Mi}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
      - {name: work, mountPath: /tmp}
    volumes:
    # Keys are made in memory.
    - name: work
      emptyDir: {medium: Memory, sizeLimit: 4Mi}
{{- end -}}
