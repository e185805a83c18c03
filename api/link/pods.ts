import type { ObjectKey } from '../resources.ts'

/**
 * Pods, ConfigMaps and Secrets as the link carries them: the fields of core/v1 that a gateway acts upon, named and meant
 * as Kubernetes has them. The cloud core sends the rest along; what is not named here is kept and ignored.
 */
export interface LinkPod {
  readonly uid: string
  readonly generation: number
  readonly metadata: PodMeta
  readonly spec: PodSpec
}

export interface LinkConfigMap {
  readonly uid: string
  readonly generation: number
  readonly data?: Readonly<Record<string, string>>
  /** Base64. */
  readonly binaryData?: Readonly<Record<string, string>>
}

/** Encrypted in the gateway's store; never in a log, an argument or an error. */
export interface LinkSecret {
  readonly uid: string
  readonly generation: number
  readonly type?: string
  /** Base64. */
  readonly data?: Readonly<Record<string, string>>
}

export interface PodMeta {
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
  readonly creationTimestamp?: string
  /** Who made it. */
  readonly ownerReferences?: readonly { readonly kind: string; readonly name: string; readonly controller?: boolean }[]
  /** The pod is to end; the object itself goes when the gateway has said that nothing of it runs any more. */
  readonly deletionTimestamp?: string
  readonly deletionGracePeriodSeconds?: number
}

export interface PodSpec {
  readonly containers: readonly PodContainer[]
  readonly initContainers?: readonly PodContainer[]
  readonly restartPolicy?: 'Always' | 'OnFailure' | 'Never'
  readonly terminationGracePeriodSeconds?: number
  readonly activeDeadlineSeconds?: number
  readonly runtimeClassName?: string
  readonly nodeName?: string
  readonly hostname?: string
  readonly hostNetwork?: boolean
  readonly hostPID?: boolean
  readonly hostIPC?: boolean
  readonly serviceAccountName?: string
  readonly securityContext?: PodSecurity
  readonly imagePullSecrets?: readonly { readonly name: string }[]
  readonly volumes?: readonly PodVolume[]
  /** Of its priority class, as the API server has set it. */
  readonly priority?: number
  readonly nodeSelector?: Readonly<Record<string, string>>
  /** Added to a pod that runs, to look into it: `kubectl debug`. */
  readonly ephemeralContainers?: readonly EphemeralContainer[]
  readonly hostAliases?: readonly { readonly ip: string; readonly hostnames?: readonly string[] }[]
}

export interface PodContainer {
  readonly name: string
  readonly image: string
  readonly imagePullPolicy?: 'Always' | 'IfNotPresent' | 'Never'
  readonly command?: readonly string[]
  readonly args?: readonly string[]
  readonly workingDir?: string
  readonly env?: readonly PodEnv[]
  readonly envFrom?: readonly {
    readonly prefix?: string
    readonly configMapRef?: { readonly name: string; readonly optional?: boolean }
    readonly secretRef?: { readonly name: string; readonly optional?: boolean }
  }[]
  readonly ports?: readonly {
    readonly name?: string
    readonly containerPort: number
    readonly hostPort?: number
    readonly hostIP?: string
    readonly protocol?: string
  }[]
  readonly volumeMounts?: readonly {
    readonly name: string
    readonly mountPath: string
    readonly subPath?: string
    /** As `subPath`, with `$(NAME)` of the container's variables put in. */
    readonly subPathExpr?: string
    readonly readOnly?: boolean
  }[]
  /** `sluice.dev/serial`, `sluice.dev/radio` and `sluice.dev/device` are asked for by annotation; see docs/pods.md. */
  readonly resources?: {
    readonly limits?: Readonly<Record<string, string | number>>
    readonly requests?: Readonly<Record<string, string | number>>
  }
  readonly securityContext?: ContainerSecurity
  readonly livenessProbe?: PodProbe
  readonly readinessProbe?: PodProbe
  readonly startupProbe?: PodProbe
  readonly lifecycle?: { readonly postStart?: ProbeAction; readonly preStop?: ProbeAction }
  /** Of an init container: `Always` makes it a sidecar. */
  readonly restartPolicy?: 'Always'
  readonly tty?: boolean
  readonly stdin?: boolean
  readonly stdinOnce?: boolean
  readonly terminationMessagePath?: string
  readonly terminationMessagePolicy?: 'File' | 'FallbackToLogsOnError'
}

/** Added to a pod that runs; never begun again. */
export interface EphemeralContainer extends PodContainer {
  /** Whose processes it is to see. */
  readonly targetContainerName?: string
}

export interface PodEnv {
  readonly name: string
  readonly value?: string
  readonly valueFrom?: {
    readonly configMapKeyRef?: { readonly name: string; readonly key: string; readonly optional?: boolean }
    readonly secretKeyRef?: { readonly name: string; readonly key: string; readonly optional?: boolean }
    readonly fieldRef?: { readonly fieldPath: string }
    readonly resourceFieldRef?: {
      readonly resource: string
      readonly containerName?: string
      readonly divisor?: string
    }
  }
}

export interface ProbeAction {
  readonly exec?: { readonly command?: readonly string[] }
  readonly httpGet?: {
    readonly path?: string
    readonly port: number | string
    readonly host?: string
    readonly scheme?: 'HTTP' | 'HTTPS'
    readonly httpHeaders?: readonly { readonly name: string; readonly value: string }[]
  }
  readonly tcpSocket?: { readonly port: number | string; readonly host?: string }
  readonly grpc?: { readonly port: number; readonly service?: string }
  readonly sleep?: { readonly seconds: number }
}

export interface PodProbe extends ProbeAction {
  readonly initialDelaySeconds?: number
  readonly periodSeconds?: number
  readonly timeoutSeconds?: number
  readonly successThreshold?: number
  readonly failureThreshold?: number
  readonly terminationGracePeriodSeconds?: number
}

export interface PodSecurity {
  readonly runAsUser?: number
  readonly runAsGroup?: number
  readonly runAsNonRoot?: boolean
  readonly fsGroup?: number
  readonly supplementalGroups?: readonly number[]
  readonly seccompProfile?: { readonly type: string }
}

export interface ContainerSecurity {
  readonly runAsUser?: number
  readonly runAsGroup?: number
  readonly runAsNonRoot?: boolean
  readonly privileged?: boolean
  readonly readOnlyRootFilesystem?: boolean
  readonly allowPrivilegeEscalation?: boolean
  readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] }
  readonly seccompProfile?: { readonly type: string }
}

export interface KeyToPath {
  readonly key: string
  readonly path: string
  readonly mode?: number
}

export interface VolumeSource {
  readonly configMap?: {
    readonly name: string
    readonly items?: readonly KeyToPath[]
    readonly defaultMode?: number
    readonly optional?: boolean
  }
  readonly secret?: {
    readonly secretName?: string
    readonly name?: string
    readonly items?: readonly KeyToPath[]
    readonly defaultMode?: number
    readonly optional?: boolean
  }
  readonly downwardAPI?: {
    readonly items?: readonly {
      readonly path: string
      readonly mode?: number
      readonly fieldRef?: { readonly fieldPath: string }
      readonly resourceFieldRef?: {
        readonly resource: string
        readonly containerName?: string
        readonly divisor?: string
      }
    }[]
    readonly defaultMode?: number
  }
}

export interface PodVolume extends VolumeSource {
  readonly name: string
  readonly emptyDir?: { readonly medium?: string; readonly sizeLimit?: string | number }
  readonly hostPath?: { readonly path: string; readonly type?: string }
  readonly persistentVolumeClaim?: { readonly claimName: string; readonly readOnly?: boolean }
  readonly projected?: { readonly defaultMode?: number; readonly sources?: readonly VolumeSource[] }
}

/** core/v1 PodStatus as a gateway tells it; times are RFC 3339. */
export interface PodStatus {
  readonly phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed'
  readonly reason?: string
  readonly message?: string
  readonly startTime?: string
  readonly podIP?: string
  readonly podIPs?: readonly { readonly ip: string }[]
  readonly qosClass?: 'Guaranteed' | 'Burstable' | 'BestEffort'
  readonly conditions: readonly PodCondition[]
  readonly initContainerStatuses?: readonly ContainerStatus[]
  readonly containerStatuses?: readonly ContainerStatus[]
  readonly ephemeralContainerStatuses?: readonly ContainerStatus[]
}

export interface PodCondition {
  readonly type: 'PodScheduled' | 'PodReadyToStartContainers' | 'Initialized' | 'ContainersReady' | 'Ready'
  readonly status: 'True' | 'False'
  readonly reason?: string
  readonly message?: string
  readonly lastTransitionTime: string
}

export interface TerminatedState {
  readonly exitCode: number
  readonly signal?: number
  /** `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`, `DeadlineExceeded`. */
  readonly reason: string
  readonly message?: string
  readonly startedAt?: string
  readonly finishedAt?: string
  readonly containerID?: string
}

export interface ContainerState {
  readonly waiting?: { readonly reason: string; readonly message?: string }
  readonly running?: { readonly startedAt: string }
  readonly terminated?: TerminatedState
}

export interface ContainerStatus {
  readonly name: string
  readonly state: ContainerState
  readonly lastState: ContainerState
  readonly ready: boolean
  readonly started: boolean
  readonly restartCount: number
  readonly image: string
  readonly imageID: string
  readonly containerID?: string
}

/**
 * What a gateway says of its pods: all after each welcome, then those that changed. `gone` says that nothing of the pod
 * runs any more and nothing will: the cloud core may delete the object (and only then), by uid.
 */
export interface PodStatusItem {
  readonly key: ObjectKey
  readonly uid: string
  readonly gone: boolean
  readonly status: PodStatus
}

/** Items of one frame at most. */
export const MAX_POD_STATUS_ITEMS = 100

/** Whether something from outside is an item; the status inside is checked for its outline and its size. */
export function isPodStatusItem(value: unknown): value is PodStatusItem {
  if (typeof value !== 'object' || value === null) return false
  const { key, uid, gone, status } = value as Record<string, unknown>
  if (typeof key !== 'string' || key.length > 320 || !/^[^/]+\/[^/]+$/.test(key)) return false
  if (typeof uid !== 'string' || uid === '' || uid.length > 128 || typeof gone !== 'boolean') return false
  if (typeof status !== 'object' || status === null) return false
  const { phase, conditions, containerStatuses = [], initContainerStatuses = [] } = status as Record<string, unknown>
  const { ephemeralContainerStatuses = [] } = status as Record<string, unknown>
  return (
    ['Pending', 'Running', 'Succeeded', 'Failed'].includes(String(phase)) &&
    [conditions, containerStatuses, initContainerStatuses, ephemeralContainerStatuses].every(
      (list) => Array.isArray(list) && list.length <= 64,
    )
  )
}
