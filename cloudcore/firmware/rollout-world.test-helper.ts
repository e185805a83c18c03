import { createHash, generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import type { UpdateState } from '../../api/link/firmware.ts'
import {
  API_VERSION,
  type FirmwareRelease,
  type FirmwareReleaseSpec,
  type FirmwareRollout,
  type FirmwareRolloutSpec,
  type FirmwareRolloutStatus,
} from '../../api/resources.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { makeImage, parseImage, parseVersion } from '../../firmware/tools/image.ts'
import { publicKeyOf } from '../../firmware/tools/keys.ts'
import { signerOf } from '../../firmware/tools/sign.ts'
import type { EventNote } from '../gateways/event-recorder.ts'
import { FirmwareController } from './controller.ts'
import { ImageFolder } from './image-folder.ts'
import { FirmwareOrders } from './orders.ts'

export const NAMESPACE = 'plant'
const BOARD = 'host'
const HASH = '0102030405060708'

/** Signed images of both slots, kept in a folder, and the release that names them. */
export class TestRelease {
  readonly folder = mkdtempSync(join(tmpdir(), 'sluice-rollout-'))
  readonly images = new ImageFolder(this.folder)
  object!: FirmwareRelease
  files: Uint8Array[] = []

  async make(change: Partial<FirmwareReleaseSpec> = {}): Promise<FirmwareRelease> {
    const key = generateKeyPairSync('ed25519').privateKey
    const described: FirmwareReleaseSpec['images'] = []
    for (const [slot, slotAddress] of [
      ['A', 0x8000],
      ['B', 0x9000],
    ] as const) {
      const bytes = await makeImage(
        {
          payload: Buffer.alloc(256, slotAddress / 16),
          version: parseVersion('2.0.0'),
          securityCounter: 1,
          board: BOARD,
          slotAddress,
          modelHash: Buffer.from(HASH, 'hex'),
        },
        signerOf(key, { production: true }),
      )
      const sha256 = createHash('sha256').update(bytes).digest('hex')
      await this.images.put(sha256, bytes)
      this.files.push(bytes)
      const digest = Buffer.from(parseImage(bytes).digest).toString('hex')
      described.push({ slot, slotAddress, sha256, digest, sizeBytes: bytes.length })
    }
    const spec: FirmwareReleaseSpec = {
      ...{ model: 'meter', modelHash: HASH, board: BOARD, version: '2.0.0', securityCounter: 1 },
      publicKey: Buffer.from(publicKeyOf(key).raw).toString('hex'),
      images: described,
      ...change,
    }
    const metadata = { name: 'two', namespace: NAMESPACE, uid: 'release' }
    this.object = { apiVersion: API_VERSION, kind: 'FirmwareRelease', metadata, spec }
    return this.object
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** A board behind a gateway, and how far its gateway is with an order. */
export interface Board {
  readonly name: string
  readonly gateway: string
  runs: 'old' | 'new'
  /** What comes of the new image here. */
  fate: 'well' | 'notWell' | 'refused'
  /** Its old image is gone. */
  stuck: boolean
  attempt: string
  state: UpdateState | undefined
}

const NEXT: Readonly<Partial<Record<UpdateState, UpdateState>>> = {
  waiting: 'asking',
  asking: 'fetching',
  fetching: 'sending',
  sending: 'trying',
  trying: 'checking',
}

/** An API server, gateways and boards around one controller that may be restarted at any time. */
export class World {
  readonly clock = new VirtualClock()
  readonly boards: ReadonlyMap<string, Board>
  readonly notes: EventNote[] = []
  readonly needs: string[] = []
  readonly troubles: string[] = []
  rollouts = new Map<string, FirmwareRollout>()
  releaseStatus: string | undefined
  apiAway = false
  orders!: FirmwareOrders
  controller!: FirmwareController
  readonly #release: TestRelease
  #stop = new AbortController()

  constructor(release: TestRelease, count: number, gateways = 2) {
    this.#release = release
    this.boards = new Map(
      Array.from({ length: count }, (_, index): [string, Board] => {
        const name = `d${String(index).padStart(3, '0')}`
        const gateway = `gw-${index % gateways}`
        const still = { runs: 'old', fate: 'well', stuck: false, attempt: '', state: undefined } as const
        return [name, { name, gateway, ...still }]
      }),
    )
  }

  readonly find = (key: string): { uid: string; gateway: string } | undefined => {
    const board = this.boards.get(key.slice(NAMESPACE.length + 1))
    return board === undefined ? undefined : { uid: `uid-${board.name}`, gateway: board.gateway }
  }

  /** The cloud core's process begins, or begins anew: all it knows is in the API. */
  async start(): Promise<void> {
    this.#stop.abort()
    this.#stop = new AbortController()
    this.orders = new FirmwareOrders(this.find)
    this.releaseStatus = undefined
    this.controller = new FirmwareController({
      ...{ images: this.#release.images, orders: this.orders, find: this.find, clock: this.clock },
      objects: {
        releaseStatus: async (_, { state }) => void (this.releaseStatus = state),
        rolloutStatus: async ({ name }, status) => this.#write(name, status),
        devices: async () => [...this.boards.keys()],
      },
      signal: this.#stop.signal,
      record: (note) => void this.notes.push(note),
      onTrouble: (what, { message }) => void this.troubles.push(`${what}: ${message}`),
      onNeeds: (gateway, { sha256, fromByte }) => void this.needs.push(`${gateway} ${sha256} ${fromByte}`),
      random: () => 0.5,
    })
    this.controller.release(this.#release.object)
    for (const rollout of this.rollouts.values()) this.controller.rollout(rollout)
    this.controller.settled()
    while (this.releaseStatus === undefined) await new Promise((resolve) => setImmediate(resolve))
    await this.clock.advance(1)
  }

  #write(name: string, status: FirmwareRolloutStatus): void {
    if (this.apiAway) throw new SluiceError('SLUICE_KUBE_UNREACHABLE', 'the API is away')
    const held = this.rollouts.get(name)
    if (held !== undefined) this.rollouts.set(name, { ...held, status: structuredClone(status) })
  }

  /** `kubectl apply` of a rollout. */
  apply(name: string, spec: Partial<FirmwareRolloutSpec>): void {
    const held = this.rollouts.get(name)
    const metadata = held?.metadata ?? { name, namespace: NAMESPACE, uid: `uid-${name}` }
    const object: FirmwareRollout = {
      ...{ apiVersion: API_VERSION, kind: 'FirmwareRollout', metadata },
      spec: { release: 'two', ...(held?.spec ?? { selector: { matchLabels: {} } }), ...spec },
      ...(held?.status === undefined ? {} : { status: held.status }),
    }
    this.rollouts.set(name, object)
    this.controller.rollout(object)
  }

  status(name = 'r'): FirmwareRolloutStatus {
    return this.rollouts.get(name)?.status ?? {}
  }

  stateOf(device: string, name = 'r'): string | undefined {
    return this.status(name).devices?.find((each) => each.name === device)?.state
  }

  /** Boards with an order to update (not to go back) just now. */
  get ordered(): string[] {
    return [...this.boards.keys()].filter((name) => {
      const order = this.orders.get(`${NAMESPACE}/${name}`)
      return order !== undefined && order.goBack !== true
    })
  }

  /** The gateway of a board goes one step on with what it is ordered, and says so unless it is cut off. */
  step(name: string, cutOff = false): void {
    const board = this.boards.get(name)
    const key = `${NAMESPACE}/${name}`
    const order = this.orders.get(key)
    if (board === undefined || order === undefined) return
    if (board.attempt !== order.attempt) {
      board.attempt = order.attempt
      board.state = undefined
    }
    board.state = this.#after(board, order.goBack === true)
    const { state, attempt } = board
    if (state === 'confirmed' || state === 'kept') board.runs = 'new'
    if (state === 'reverted' || state === 'rolledBack') board.runs = 'old'
    if (!cutOff) this.controller.told(board.gateway, [{ key, uid: `uid-${name}`, attempt, state }])
  }

  #after({ state, fate, stuck, runs }: Board, goBack: boolean): UpdateState {
    if (goBack) return state === undefined ? 'reverting' : stuck && runs === 'new' ? 'kept' : 'reverted'
    if (state === undefined) return 'waiting'
    if (state === 'asking' && fate === 'refused') return 'failed'
    if (state === 'checking') return fate === 'notWell' ? 'rolledBack' : 'confirmed'
    return NEXT[state] ?? state
  }

  /** Everybody goes on until nothing changes any more. */
  async runOut(name = 'r'): Promise<void> {
    for (let still = 0; still < 3; ) {
      const before = JSON.stringify(this.status(name))
      for (const board of this.boards.keys()) this.step(board)
      await this.clock.advance(1500)
      still = JSON.stringify(this.status(name)) === before ? still + 1 : 0
    }
  }

  [Symbol.dispose](): void {
    this.#stop.abort()
  }
}
