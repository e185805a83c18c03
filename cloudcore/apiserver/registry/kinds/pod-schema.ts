import type { Schema } from '../../crd/schema.ts'
import {
  anything,
  conditions,
  fields,
  flag,
  integer,
  intOrString,
  list,
  listBy,
  localObjectReference,
  mapOf,
  objectSchema,
  oneOf,
  optionalText,
  quantity,
  text,
  time,
  withDefault,
} from './schema-words.ts'

const keySelector = fields({ name: text, key: text, optional: flag })

const env = listBy(
  ['name'],
  fields(
    {
      name: text,
      value: optionalText,
      valueFrom: fields({
        fieldRef: fields({ apiVersion: text, fieldPath: text }),
        resourceFieldRef: anything,
        configMapKeyRef: keySelector,
        secretKeyRef: keySelector,
      }),
    },
    ['name'],
  ),
)

const probe = fields({
  exec: fields({ command: list(text) }),
  httpGet: fields({
    path: text,
    port: intOrString,
    host: text,
    scheme: text,
    httpHeaders: list(fields({ name: text, value: text })),
  }),
  tcpSocket: fields({ port: intOrString, host: text }),
  grpc: anything,
  initialDelaySeconds: integer,
  timeoutSeconds: integer,
  periodSeconds: integer,
  successThreshold: integer,
  failureThreshold: integer,
  terminationGracePeriodSeconds: integer,
})

const resources = withDefault(fields({ limits: mapOf(quantity), requests: mapOf(quantity), claims: anything }), {})

const mount = fields(
  {
    name: text,
    mountPath: text,
    subPath: text,
    subPathExpr: text,
    readOnly: flag,
    recursiveReadOnly: text,
    mountPropagation: text,
  },
  ['name', 'mountPath'],
)

const port = fields(
  {
    name: text,
    containerPort: integer,
    protocol: withDefault(oneOf('TCP', 'UDP', 'SCTP'), 'TCP'),
    hostPort: integer,
    hostIP: text,
  },
  ['containerPort'],
)

const containerFields = {
  name: text,
  image: text,
  command: list(text),
  args: list(text),
  workingDir: text,
  ports: listBy(['containerPort', 'protocol'], port),
  envFrom: list(anything),
  env,
  resources,
  resizePolicy: list(anything),
  restartPolicy: text,
  volumeMounts: listBy(['mountPath'], mount),
  volumeDevices: listBy(['devicePath'], fields({ name: text, devicePath: text })),
  livenessProbe: probe,
  readinessProbe: probe,
  startupProbe: probe,
  lifecycle: anything,
  terminationMessagePath: withDefault(text, '/dev/termination-log'),
  terminationMessagePolicy: withDefault(oneOf('File', 'FallbackToLogsOnError'), 'File'),
  imagePullPolicy: oneOf('Always', 'IfNotPresent', 'Never'),
  securityContext: anything,
  stdin: flag,
  stdinOnce: flag,
  tty: flag,
}
const container = fields(containerFields, ['name'])

const volume = fields(
  {
    name: text,
    hostPath: fields({ path: text, type: text }),
    emptyDir: fields({ medium: text, sizeLimit: quantity }),
    configMap: fields({ name: text, items: list(anything), defaultMode: withDefault(integer, 420), optional: flag }),
    secret: fields({ secretName: text, items: list(anything), defaultMode: withDefault(integer, 420), optional: flag }),
    downwardAPI: anything,
    projected: anything,
    persistentVolumeClaim: fields({ claimName: text, readOnly: flag }),
    image: anything,
    csi: anything,
    ephemeral: anything,
    nfs: anything,
    iscsi: anything,
  },
  ['name'],
)

const toleration = fields({ key: text, operator: text, value: text, effect: text, tolerationSeconds: integer })

/** A pod's spec, also as the template of a Deployment has it. */
export const podSpec: Schema = fields({
  volumes: listBy(['name'], volume),
  initContainers: listBy(['name'], container),
  containers: listBy(['name'], container),
  ephemeralContainers: listBy(['name'], fields({ ...containerFields, targetContainerName: text }, ['name'])),
  restartPolicy: withDefault(oneOf('Always', 'OnFailure', 'Never'), 'Always'),
  terminationGracePeriodSeconds: withDefault(integer, 30),
  activeDeadlineSeconds: integer,
  dnsPolicy: withDefault(text, 'ClusterFirst'),
  nodeSelector: { ...mapOf(text), 'x-kubernetes-map-type': 'atomic' },
  serviceAccountName: text,
  serviceAccount: text,
  automountServiceAccountToken: flag,
  nodeName: text,
  hostNetwork: flag,
  hostPID: flag,
  hostIPC: flag,
  hostUsers: flag,
  shareProcessNamespace: flag,
  securityContext: withDefault(anything, {}),
  imagePullSecrets: listBy(['name'], localObjectReference),
  hostname: text,
  subdomain: text,
  affinity: anything,
  schedulerName: withDefault(text, 'default-scheduler'),
  tolerations: list(toleration),
  hostAliases: listBy(['ip'], fields({ ip: text, hostnames: list(text) })),
  priorityClassName: text,
  priority: integer,
  dnsConfig: anything,
  readinessGates: list(fields({ conditionType: text })),
  runtimeClassName: text,
  enableServiceLinks: withDefault(flag, true),
  preemptionPolicy: text,
  overhead: mapOf(quantity),
  topologySpreadConstraints: list(anything),
  setHostnameAsFQDN: flag,
  os: fields({ name: text }),
  schedulingGates: list(fields({ name: text })),
  resourceClaims: anything,
  resources: anything,
})

const containerState = fields({
  waiting: fields({ reason: text, message: text }),
  running: fields({ startedAt: time }),
  terminated: fields({
    exitCode: integer,
    signal: integer,
    reason: text,
    message: text,
    startedAt: time,
    finishedAt: time,
    containerID: text,
  }),
})

const containerStatus = list(
  fields({
    name: text,
    state: withDefault(containerState, {}),
    lastState: withDefault(containerState, {}),
    ready: flag,
    restartCount: integer,
    image: text,
    imageID: text,
    containerID: text,
    started: flag,
    allocatedResources: mapOf(quantity),
    resources: anything,
    volumeMounts: anything,
    user: anything,
    allocatedResourcesStatus: anything,
  }),
)

const status: Schema = fields({
  phase: oneOf('Pending', 'Running', 'Succeeded', 'Failed', 'Unknown'),
  conditions: conditions('lastProbeTime', 'lastTransitionTime'),
  message: text,
  reason: text,
  nominatedNodeName: text,
  hostIP: text,
  hostIPs: list(fields({ ip: text })),
  podIP: text,
  podIPs: listBy(['ip'], fields({ ip: text })),
  startTime: time,
  initContainerStatuses: containerStatus,
  containerStatuses: containerStatus,
  ephemeralContainerStatuses: containerStatus,
  qosClass: text,
  resize: text,
  resourceClaimStatuses: anything,
})

export const podSchema = objectSchema('Pod is a collection of containers that can run on a node.', {
  spec: podSpec,
  status,
})
