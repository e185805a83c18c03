import { didYouMean, listed, shown } from '../../../api/suggest.ts'
import type { Finding } from '../../../api/yaml/findings.ts'

/** What a value of a manifest has to be. `any` is for fields of core/v1 that a gateway does not act upon. */
type Shape =
  | 'any'
  | 'text'
  | 'int'
  | 'bool'
  | 'portOrName'
  | 'quantity'
  | { readonly oneOf: readonly string[] }
  | { readonly list: Shape }
  | { readonly map: Shape }
  | { readonly fields: Readonly<Record<string, Shape>>; readonly needs?: readonly string[] }

const ignored = (...names: readonly string[]): Readonly<Record<string, Shape>> =>
  Object.fromEntries(names.map((name) => [name, 'any' as const]))
const list = (of: Shape): Shape => ({ list: of })
const fields = (of: Readonly<Record<string, Shape>>, ...needs: readonly string[]): Shape => ({ fields: of, needs })
const texts = list('text')

const action = {
  exec: fields({ command: texts }),
  httpGet: fields(
    {
      path: 'text',
      port: 'portOrName',
      host: 'text',
      scheme: { oneOf: ['HTTP', 'HTTPS'] },
      httpHeaders: list(fields({ name: 'text', value: 'text' }, 'name', 'value')),
    },
    'port',
  ),
  tcpSocket: fields({ port: 'portOrName', host: 'text' }, 'port'),
  grpc: fields({ port: 'int', service: 'text' }, 'port'),
} as const
const hook = fields({ ...action, sleep: fields({ seconds: 'int' }, 'seconds') })
const probe = fields({
  ...action,
  ...{ initialDelaySeconds: 'int', periodSeconds: 'int', timeoutSeconds: 'int', successThreshold: 'int' },
  ...{ failureThreshold: 'int', terminationGracePeriodSeconds: 'int' },
})
const profile = fields(
  { type: { oneOf: ['RuntimeDefault', 'Unconfined', 'Localhost'] }, localhostProfile: 'text' },
  'type',
)
const fieldRef = fields({ fieldPath: 'text', apiVersion: 'text' }, 'fieldPath')
const resourceFieldRef = fields({ resource: 'text', containerName: 'text', divisor: 'quantity' }, 'resource')

const container = {
  name: 'text',
  image: 'text',
  imagePullPolicy: { oneOf: ['Always', 'IfNotPresent', 'Never'] },
  command: texts,
  args: texts,
  workingDir: 'text',
  env: list(fields({ name: 'text', value: 'text', valueFrom: fields({ fieldRef, resourceFieldRef }) }, 'name')),
  ports: list(
    fields(
      {
        ...{ name: 'text', containerPort: 'int', hostPort: 'int', hostIP: 'text' },
        protocol: { oneOf: ['TCP', 'UDP', 'SCTP'] },
      },
      'containerPort',
    ),
  ),
  volumeMounts: list(
    fields(
      {
        ...{ name: 'text', mountPath: 'text', subPath: 'text', subPathExpr: 'text', readOnly: 'bool' },
        ...ignored('mountPropagation', 'recursiveReadOnly'),
      },
      'name',
      'mountPath',
    ),
  ),
  resources: fields({ limits: { map: 'quantity' }, requests: { map: 'quantity' }, ...ignored('claims') }),
  securityContext: fields({
    ...{ runAsUser: 'int', runAsGroup: 'int', runAsNonRoot: 'bool', privileged: 'bool' },
    ...{ readOnlyRootFilesystem: 'bool', allowPrivilegeEscalation: 'bool' },
    capabilities: fields({ add: texts, drop: texts }),
    seccompProfile: profile,
    ...ignored('procMount', 'seLinuxOptions', 'windowsOptions', 'appArmorProfile'),
  }),
  ...{ livenessProbe: probe, readinessProbe: probe, startupProbe: probe },
  lifecycle: fields({ postStart: hook, preStop: hook, ...ignored('stopSignal') }),
  ...{ tty: 'bool', stdin: 'bool', stdinOnce: 'bool', terminationMessagePath: 'text' },
  terminationMessagePolicy: { oneOf: ['File', 'FallbackToLogsOnError'] },
  ...ignored('resizePolicy', 'volumeDevices'),
} as const satisfies Readonly<Record<string, Shape>>

const downwardAPI = fields({
  defaultMode: 'int',
  items: list(fields({ path: 'text', mode: 'int', fieldRef, resourceFieldRef }, 'path')),
})

const volume = fields(
  {
    name: 'text',
    emptyDir: fields({ medium: 'text', sizeLimit: 'quantity' }),
    hostPath: fields({ path: 'text', type: 'text' }, 'path'),
    downwardAPI,
    projected: fields({ defaultMode: 'int', sources: list(fields({ downwardAPI })) }),
  },
  'name',
)

/** A Pod as a file of a gateway may describe it. */
const podShape = fields(
  {
    apiVersion: 'text',
    kind: 'text',
    metadata: fields(
      {
        ...{ name: 'text', namespace: 'text', labels: { map: 'text' }, annotations: { map: 'text' } },
        ...ignored('creationTimestamp', 'uid', 'resourceVersion', 'generation', 'managedFields', 'ownerReferences'),
      },
      'name',
    ),
    spec: fields(
      {
        containers: list(fields(container, 'name', 'image')),
        initContainers: list(fields({ ...container, restartPolicy: { oneOf: ['Always'] } }, 'name', 'image')),
        volumes: list(volume),
        restartPolicy: { oneOf: ['Always', 'OnFailure', 'Never'] },
        ...{ terminationGracePeriodSeconds: 'int', activeDeadlineSeconds: 'int', runtimeClassName: 'text' },
        ...{ hostname: 'text', hostNetwork: 'bool', hostPID: 'bool', hostIPC: 'bool', priority: 'int' },
        securityContext: fields({
          ...{ runAsUser: 'int', runAsGroup: 'int', runAsNonRoot: 'bool', fsGroup: 'int' },
          supplementalGroups: list('int'),
          seccompProfile: profile,
          ...ignored('fsGroupChangePolicy', 'seLinuxOptions', 'sysctls', 'windowsOptions', 'appArmorProfile'),
        }),
        nodeSelector: { map: 'text' },
        hostAliases: list(fields({ ip: 'text', hostnames: texts }, 'ip')),
        ...ignored('affinity', 'automountServiceAccountToken', 'dnsConfig', 'dnsPolicy', 'enableServiceLinks'),
        ...ignored('hostUsers', 'nodeName', 'os', 'overhead', 'preemptionPolicy', 'priorityClassName'),
        ...ignored('readinessGates', 'schedulerName', 'setHostnameAsFQDN', 'shareProcessNamespace', 'subdomain'),
        ...ignored('tolerations', 'topologySpreadConstraints'),
      },
      'containers',
    ),
    ...ignored('status'),
  },
  'metadata',
  'spec',
)

/** What of the API a file cannot name, since it is to run without one. */
const OF_THE_API: ReadonlySet<string> = new Set([
  ...['configMap', 'secret', 'configMapRef', 'secretRef', 'configMapKeyRef', 'secretKeyRef', 'envFrom'],
  ...['persistentVolumeClaim', 'imagePullSecrets', 'serviceAccountName', 'serviceAccount', 'serviceAccountToken'],
  ...['ephemeralContainers', 'resourceClaims', 'csi', 'ephemeral', 'nfs', 'iscsi'],
])

/** Everything about a manifest that is not as core/v1 has it. */
export function podFindings(value: unknown): Finding[] {
  const found: Finding[] = []
  check(value, podShape, [], found)
  return found
}

type Path = readonly (string | number)[]

function check(value: unknown, shape: Shape, path: Path, found: Finding[]): void {
  if (shape === 'any' || value === null || value === undefined) return
  if (typeof shape === 'string') {
    const what = BASIC[shape]
    if (!what.is(value)) found.push(wrong(path, `${shown(value)} is not ${what.words}`, `Write ${what.words}.`))
  } else if ('oneOf' in shape) {
    if (typeof value !== 'string' || !shape.oneOf.includes(value)) {
      const hint = didYouMean(String(value), shape.oneOf, 'Choose one of')
      found.push(wrong(path, `${shown(value)} is not one of ${listed(shape.oneOf)}`, hint))
    }
  } else if ('list' in shape) {
    if (!Array.isArray(value)) found.push(wrong(path, `${shown(value)} is not a list`, 'Begin each item with `- `.'))
    else for (const [at, item] of value.entries()) check(item, shape.list, [...path, at], found)
  } else if (typeof value !== 'object' || Array.isArray(value)) {
    found.push(wrong(path, `${shown(value)} is not a map`, 'Write its fields below it, indented.'))
  } else if ('map' in shape) {
    for (const [key, item] of Object.entries(value)) check(item, shape.map, [...path, key], found)
  } else checkFields(value as Readonly<Record<string, unknown>>, shape, path, found)
}

function checkFields(
  value: Readonly<Record<string, unknown>>,
  shape: Extract<Shape, { readonly fields: unknown }>,
  path: Path,
  found: Finding[],
): void {
  for (const [name, item] of Object.entries(value)) {
    const known = Object.hasOwn(shape.fields, name) ? shape.fields[name] : undefined
    if (known !== undefined) check(item, known, [...path, name], found)
    else if (OF_THE_API.has(name)) {
      const hint = 'Write values into the manifest, use files of the gateway (hostPath), or create the pod in the API.'
      found.push(wrong([...path, name], `a pod of a file cannot have '${name}': it runs without the API`, hint, 'key'))
    } else {
      const hint = didYouMean(name, Object.keys(shape.fields), 'There are')
      found.push(wrong([...path, name], `there is no field '${name}'`, hint, 'key'))
    }
  }
  for (const name of shape.needs ?? []) {
    if (value[name] === undefined || value[name] === null || value[name] === '') {
      found.push(wrong(path, `'${name}' is missing`, `Add ${name}.`))
    }
  }
}

const BASIC: Readonly<
  Record<Exclude<Extract<Shape, string>, 'any'>, { readonly is: (value: unknown) => boolean; readonly words: string }>
> = {
  text: { is: (value) => typeof value === 'string', words: 'a text (in quotes where it looks like a number)' },
  int: { is: Number.isSafeInteger, words: 'a whole number' },
  bool: { is: (value) => typeof value === 'boolean', words: 'true or false' },
  portOrName: {
    is: (value) =>
      typeof value === 'string' || (Number.isInteger(value) && Number(value) > 0 && Number(value) < 65_536),
    words: 'a port, by number or name',
  },
  quantity: {
    is: (value) => typeof value === 'number' || (typeof value === 'string' && QUANTITY.test(value)),
    words: 'a quantity, as 500m or 64Mi',
  },
}

const QUANTITY = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?$/

const wrong = (path: Path, message: string, hint: string, at: 'key' | 'value' = 'value'): Finding => ({
  ...{ severity: 'error', code: 'SLUICE_POD_STATIC', message, hint, path, at },
})
