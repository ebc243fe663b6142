{{- define "sdxl-operator.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "sdxl-operator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sdxl-operator.labels" -}}
{{ include "sdxl-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "sdxl-operator.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "sdxl-operator.name" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "sdxl-operator.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{/* The image of a profile that names none, by its backend. */}}
{{- define "sdxl-operator.runtimeImage" -}}
{{- $suffix := get (dict "CPU" "cpu" "Simulated" "cpu" "CUDA" "cuda" "NPU" "npu") .backend -}}
{{- with .root -}}
{{- printf "%s:%s-%s" .Values.runtime.image.repository (.Values.runtime.image.tag | default .Chart.AppVersion) $suffix -}}
{{- end -}}
{{- end -}}

{{/* A setting as text: a number of any size without an exponent. */}}
{{- define "sdxl-operator.plain" -}}
{{- if kindIs "float64" . }}{{ printf "%.15g" . }}{{ else }}{{ . }}{{ end -}}
{{- end -}}

{{/* One AcceleratorProfile, as the operator applies it. */}}
{{- define "sdxl-operator.profile" -}}
{{- $image := .spec.image | default (include "sdxl-operator.runtimeImage" (dict "root" .root "backend" .spec.backend)) -}}
{{- $policy := .spec.imagePullPolicy | default .root.Values.runtime.image.pullPolicy -}}
apiVersion: sdxl.dev/v1alpha1
kind: AcceleratorProfile
metadata:
  name: {{ .name }}
spec:
  {{- mergeOverwrite (deepCopy .spec) (dict "image" $image "imagePullPolicy" $policy) | toYaml | nindent 2 }}
{{- end -}}

{{/* What the operator does in the namespaces it serves. */}}
{{- define "sdxl-operator.rules" -}}
# What people write. The operator only reads it,
- apiGroups: [sdxl.dev]
  resources: [sdxlservices]
  verbs: [get, list, watch]
# and makes and removes models and banks.
- apiGroups: [sdxl.dev]
  resources: [sdxlmodels, sdxltunebanks]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [sdxl.dev]
  resources: [sdxlservices/status, sdxlmodels/status, sdxltunebanks/status]
  verbs: [patch]
# Children carry blockOwnerDeletion, which some clusters allow only to who may update the owner's finalizers.
- apiGroups: [sdxl.dev]
  resources: [sdxlservices/finalizers, sdxlmodels/finalizers, sdxltunebanks/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [configmaps, persistentvolumeclaims, services]
  verbs: [get, list, watch, create, patch, delete]
# The key by which a service's replicas sign; it is made once, and no Secret is ever read.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [apps]
  resources: [controllerrevisions, deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# What the scheduler and the kubelet say about pods and claims, for status.
- apiGroups: [""]
  resources: [pods, events]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
