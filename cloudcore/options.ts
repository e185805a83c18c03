import type { Clock } from '../api/clock.ts'
import type { OidcConfig } from './console-api/oidc/config.ts'

export interface CloudCoreOptions {
  readonly dataDir: string
  /** Where to listen. Default 127.0.0.1. */
  readonly host?: string
  /** Name or address that gateways use; default the host. */
  readonly advertise?: string
  /** Default: the last run's, else 7443, else any free one. */
  readonly hubPort?: number
  readonly apiPort?: number
  /** Where API servers find the kubelet of every gateway. Default: the last run's, else 10250, else any free one. */
  readonly kubeletPort?: number
  /** A cluster to use instead of the embedded API; `in-cluster` for the one this process runs in as a pod. */
  readonly kubeconfig?: string
  readonly mqttUrl?: string
  /** Whose people sign in to the console. */
  readonly oidc?: OidcConfig | undefined
  /** Silence after which a gateway counts as away; default 40 s, as long as a node's lease. */
  readonly graceMs?: number
  /** How often a quiet link is asked whether it lives. Default 15 s; two and a half of them have to fit into the grace. */
  readonly heartbeatMs?: number
  readonly version?: string
  readonly signal?: AbortSignal
}

export type CloudLog = (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void

export interface CloudCoreDeps {
  readonly clock?: Clock
  readonly log?: CloudLog
}
