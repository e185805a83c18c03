import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { PodKeeper } from '../../agent/pods/life/keeper.ts'
import type { PodRuntime } from '../../agent/pods/runtimes/runtime.ts'
import { PodStatusBoard } from '../../agent/pods/status-board.ts'
import { systemClock } from '../../api/clock.ts'
import type { PodLinkObject } from '../../api/link/messages.ts'

/** A gateway's keeper of pods on a runtime: everything between the object of a bound pod and its status. */
export class PodStarts implements AsyncDisposable {
  readonly #runtime: PodRuntime
  readonly #keeper: PodKeeper
  readonly #objects: PodLinkObject[] = []
  readonly #board: PodStatusBoard
  #told = () => {}
  #count = 0

  constructor(runtime: PodRuntime, folder: string) {
    mkdirSync(join(folder, 'logs'), { recursive: true })
    this.#runtime = runtime
    this.#board = new PodStatusBoard(() => this.#told())
    this.#keeper = new PodKeeper({
      runtime,
      clock: systemClock,
      board: this.#board,
      objects: () => this.#objects,
      leash: () => ({ begins: true, ownWill: true, work: 'runs' }),
      node: { name: 'bench', hostIp: '127.0.0.1', allocatableCpu: 1, allocatableMemoryBytes: 2 ** 30 },
      folders: { disk: join(folder, 'disk'), memory: join(folder, 'memory'), logs: join(folder, 'logs') },
      refuse: () => undefined,
      onEvent: () => {},
    })
  }

  /** Binds a pod of one container; resolves with the milliseconds until its status says Running, and its sandbox. */
  async start(image: string, signal: AbortSignal) {
    const at = ++this.#count
    const uid = `bench-${process.pid}-${at}`
    const running = new Promise<void>((resolve) => {
      this.#told = () => {
        if (this.#board.list().some((item) => item.uid === uid && item.status.phase === 'Running')) resolve()
      }
    })
    const startMs = performance.now()
    this.#objects.push({
      kind: 'Pod',
      key: `bench/p${at}`,
      rev: '1',
      object: {
        ...{ uid, generation: 1, metadata: {} },
        spec: { containers: [{ name: 'main', image }], terminationGracePeriodSeconds: 0 },
      },
    })
    this.#keeper.wake()
    await running
    const tookMs = performance.now() - startMs
    const sandbox = (await this.#runtime.list(signal)).find(({ podUid }) => podUid === uid)
    if (sandbox === undefined) throw new Error('a pod that runs has no sandbox')
    return { tookMs, sandbox }
  }

  /** Takes all pods away; resolves when nothing of them is left. */
  async clear(signal: AbortSignal): Promise<void> {
    this.#objects.splice(0)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const look = () =>
      void this.#runtime.list(signal).then(
        (list) => list.length === 0 && resolve(),
        (error: unknown) => reject(error),
      )
    const stop = this.#runtime.onChange(look)
    this.#keeper.wake()
    look()
    await promise.finally(stop)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#keeper[Symbol.asyncDispose]()
  }
}
