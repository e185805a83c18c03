import type { Clock } from '../../api/clock.ts'
import type { FirmwareStatusItem } from '../../api/link/firmware.ts'
import type { BatchBody, DesireFrame, HeardItem, HelloFrame, LinkObjectKind } from '../../api/link/messages.ts'
import type { NoticeItem } from '../../api/link/notices.ts'
import type { PodStatusItem } from '../../api/link/pods.ts'
import type { SightedItem } from '../../api/link/sighted.ts'
import type { StaticPod } from '../../api/link/static-pods.ts'
import type { DialRefusedFrame } from '../../api/link/streams.ts'
import type { GatewayStatus, ObjectKey } from '../../api/resources.ts'
import type { Admission } from '../roaming/terms.ts'
import type { ToldValue } from '../roaming/told-value.ts'
import type { Fleet } from '../twins/fleet.ts'
import type { BatchOrigin } from '../twins/twin-engine.ts'
import type { ObjectSource } from './inventory.ts'
import type { Session } from './session.ts'
import type { HubStore } from './store.ts'

/** What all sessions of a hub share. */
export interface SessionContext {
  readonly clock: Clock
  readonly store: HubStore
  readonly fleet: Fleet
  /** Everything gateways are to hold; the fleet and what others add. */
  readonly objects: ObjectSource
  readonly heartbeatMs: number
  readonly window: { readonly batches: number; readonly bytes: number }
  readonly ingest: (body: BatchBody, origin: BatchOrigin) => void
  readonly onObjectAck: (
    gateway: string,
    kind: LinkObjectKind,
    key: ObjectKey,
    refusal: { code: string; message: string } | undefined,
  ) => void
  readonly onHello: (session: Session, hello: HelloFrame) => void
  /** Throws when this gateway may not be one of this hub's. */
  readonly needWelcome?: (gateway: string, hello: HelloFrame) => void
  /** The lease of a tethered gateway that asks for one. */
  readonly lease?: (gateway: string) => { readonly term: number; readonly spanMs: number } | undefined
  readonly onStatus: (gateway: string, status: GatewayStatus) => void
  readonly onSighted?: (gateway: string, items: readonly SightedItem[]) => void
  readonly onEvents?: (gateway: string, items: readonly NoticeItem[]) => void
  /** What of a gateway's rows about a device counts, by the term they were taken in. Default: all of its own. */
  readonly admits?: (uid: string, gateway: string, term: number) => Admission
  /** Values of the term in force arrived. */
  readonly onCovered?: (uid: string, term: number, values: readonly ToldValue[]) => void
  /** What the frames of a gateway that just said hello have to wait for. */
  readonly holdBack?: (gateway: string) => Promise<void> | undefined
  readonly onHeard?: (gateway: string, items: readonly HeardItem[]) => void
  readonly onPods?: (gateway: string, items: readonly PodStatusItem[], statics?: readonly StaticPod[]) => void
  readonly onFirmware?: (gateway: string, items: readonly FirmwareStatusItem[]) => void
  readonly onDialRefused?: (gateway: string, refusal: DialRefusedFrame) => void
  readonly desire: (gateway: string, frame: DesireFrame) => Promise<{ ok: boolean; code?: string; message?: string }>
  /** Something refused or lost that somebody should know. */
  readonly audit: (gateway: string, code: string, message: string) => void
}
