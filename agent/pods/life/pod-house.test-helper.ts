import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../../api/clock.ts'
import type { PodLinkObject } from '../../../api/link/messages.ts'
import type { LinkPod, PodSpec, PodStatus } from '../../../api/link/pods.ts'
import type { Leash } from '../../../api/tether/tether.ts'
import type { HostEvent } from '../../../mappers/sdk/mapper.ts'
import type { MadeImage } from '../images/busybox.test-helper.ts'
import { ProcessRuntime } from '../runtimes/process/runtime.ts'
import { logSays } from '../runtimes/specs.test-helper.ts'
import { PodStatusBoard } from '../status-board.ts'
import { type KeeperOptions, PodKeeper } from './keeper.ts'

export const FREE: Leash = { begins: true, ownWill: true, work: 'runs' }

export interface PodHouseOptions {
  readonly image: MadeImage
  readonly signal: AbortSignal
  /** Where its own folder is made. Default: `/tmp`. */
  readonly folder?: string
  readonly keeper?: Partial<KeeperOptions>
  readonly onOpen?: (runtime: ProcessRuntime) => void
}

export type ScriptSpec = Partial<PodSpec> & { script?: string }

let uids = 0

/** A gateway's pods with the real process runtime and everything in a folder of its own: agents come and go, pods stay. */
export class PodHouse implements AsyncDisposable {
  readonly folder: string
  readonly wakes = new Set<() => void>()
  readonly #options: PodHouseOptions
  objects: PodLinkObject[] = []
  events: HostEvent[] = []
  leash = FREE
  board = this.#newBoard()
  runtime: ProcessRuntime
  keeper: PodKeeper

  private constructor(options: PodHouseOptions) {
    this.#options = options
    this.folder = mkdtempSync(join(options.folder ?? '/tmp', 'sluice-life-'))
    chmodSync(this.folder, 0o711)
    this.runtime = this.#newRuntime()
    this.keeper = this.#newKeeper()
  }

  static async open(options: PodHouseOptions): Promise<PodHouse> {
    const house = new PodHouse(options)
    await house.runtime.images.import(options.image.archive, undefined, options.signal)
    return house
  }

  /** The agent ends; what runs goes on. */
  async leave(): Promise<void> {
    await this.keeper[Symbol.asyncDispose]()
    await this.runtime[Symbol.asyncDispose]()
  }

  /** Another agent begins. */
  enter(): void {
    this.board = this.#newBoard()
    this.runtime = this.#newRuntime()
    this.keeper = this.#newKeeper()
    this.keeper.wake()
  }

  put(name: string, { script, ...spec }: ScriptSpec, metadata: LinkPod['metadata'] = {}): string {
    const uid = `life-${process.pid}-${++uids}`
    const containers = [{ name: 'main', image: 'test/busybox:1', command: ['sh', '-c', script ?? 'sleep 1000'] }]
    const object: LinkPod = {
      ...{ uid, generation: 1, metadata },
      spec: { containers, terminationGracePeriodSeconds: 1, ...spec },
    }
    const others = this.objects.filter(({ key }) => key !== `plant/${name}`)
    this.objects = [...others, { kind: 'Pod', key: `plant/${name}`, rev: uid, object }]
    this.keeper.wake()
    return uid
  }

  give(object: PodLinkObject): void {
    this.objects = [...this.objects, object]
    this.keeper.wake()
  }

  edit(name: string, change: (pod: LinkPod) => LinkPod): void {
    this.objects = this.objects.map((one) =>
      one.kind === 'Pod' && one.key === `plant/${name}` ? { ...one, object: change(one.object) } : one,
    )
    this.keeper.wake()
  }

  remove(name: string): void {
    const deletionTimestamp = '2026-01-01T00:00:00Z'
    this.edit(name, (pod) => ({ ...pod, metadata: { ...pod.metadata, deletionTimestamp } }))
  }

  /** The status of a pod once it is as wanted. */
  status(name: string, wanted: (status: PodStatus, gone: boolean) => boolean): Promise<PodStatus> {
    return this.when(() => {
      const item = this.board.list().find(({ key }) => key === `plant/${name}`)
      return item !== undefined && wanted(item.status, item.gone) ? item.status : undefined
    })
  }

  event(wanted: (event: HostEvent) => boolean): Promise<HostEvent> {
    return this.when(() => this.events.find(wanted))
  }

  /** Asks with every status and every event until there is an answer. */
  when<T>(ask: () => T | undefined): Promise<T> {
    const { signal } = this.#options
    return new Promise((resolve, reject) => {
      const look = () => {
        const answer = ask()
        if (answer === undefined) return
        this.wakes.delete(look)
        resolve(answer)
      }
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      this.wakes.add(look)
      look()
    })
  }

  async log(uid: string, name = 'main', attempt = 0): Promise<string> {
    const key = this.objects.find(({ object }) => object.uid === uid)!.key.replace('/', '_')
    return readFileSync(join(this.folder, 'logs', `${key}_${uid}`, name, `${attempt}.log`), 'utf8')
  }

  /** Resolves when a log has what is looked for. */
  async said(uid: string, wanted: RegExp, attempt = 0): Promise<void> {
    const key = this.objects.find(({ object }) => object.uid === uid)!.key.replace('/', '_')
    await logSays(join(this.folder, 'logs', `${key}_${uid}`, 'main', `${attempt}.log`), wanted, this.#options.signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!existsSync(this.folder)) return
    await this.leave()
    const last = this.#newRuntime()
    for (const { id } of await last.list()) await last.removeSandbox(id, AbortSignal.timeout(30_000))
    await last[Symbol.asyncDispose]()
    rmSync(this.folder, { recursive: true, force: true })
  }

  #wake(): void {
    for (const wake of this.wakes) wake()
  }

  #newBoard(): PodStatusBoard {
    return new PodStatusBoard(() => this.#wake())
  }

  #newRuntime(): ProcessRuntime {
    const runtime = new ProcessRuntime({ folder: join(this.folder, 'pods'), clock: systemClock, onTrouble: () => {} })
    this.#options.onOpen?.(runtime)
    return runtime
  }

  #newKeeper(): PodKeeper {
    return new PodKeeper({
      runtime: this.runtime,
      clock: systemClock,
      board: this.board,
      objects: () => this.objects,
      leash: () => this.leash,
      node: { name: 'gw-1', hostIp: '192.0.2.7', allocatableCpu: 2, allocatableMemoryBytes: 2 ** 30 },
      folders: {
        disk: join(this.folder, 'disk'),
        memory: join(this.folder, 'memory'),
        logs: join(this.folder, 'logs'),
      },
      refuse: () => undefined,
      onEvent: (event) => {
        this.events.push(event)
        this.#wake()
      },
      ...this.#options.keeper,
    })
  }
}

export const isRunning = (one: PodStatus): boolean =>
  one.phase === 'Running' && one.conditions.find(({ type }) => type === 'Ready')?.status === 'True'
