import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { PodLinkObject } from '../../../api/link/messages.ts'
import type { PodStatusItem } from '../../../api/link/pods.ts'
import { busyboxImage, type MadeImage, missingForPods } from '../images/busybox.test-helper.ts'
import { hostProgram } from './host-programs.test-helper.ts'
import { PodHouse } from './pod-house.test-helper.ts'

const missing = missingForPods()
if (missing !== undefined && process.env['CI'] === 'true') throw new Error(missing)

const signal = AbortSignal.timeout(120_000)
const AGENT = new URL('agent.test-process.ts', import.meta.url).pathname

const FLOCK = hostProgram('/usr/bin/flock', 'flock')

let image: MadeImage
beforeAll(() => {
  if (missing === undefined) image = busyboxImage()
})
afterAll(() => image?.[Symbol.dispose]())

/** Says that it began; a second one at the same time would say so, too, and the lock is the kernel's own. */
const script = (name: string) =>
  `/flock -n /shared/${name}.lock sh -c 'echo begun >> /shared/${name}.begun; exec sleep 1000' || echo double >> /shared/${name}.double`

/** An agent in a process of its own, and what it has told. */
class Agent {
  readonly child: ChildProcess
  readonly told = new Map<string, PodStatusItem>()
  readonly #listeners = new Set<() => void>()
  lines = 0

  constructor(folder: string, file: string) {
    this.child = spawn(process.execPath, [AGENT, folder, file], { stdio: ['ignore', 'pipe', 'inherit'] })
    createInterface(this.child.stdout!).on('line', (line) => {
      const item = JSON.parse(line) as PodStatusItem
      this.told.set(item.uid, item)
      this.lines++
      for (const listener of this.#listeners) listener()
    })
    this.child.once('exit', () => {
      for (const listener of this.#listeners) listener()
    })
  }

  runs(uid: string): boolean {
    return this.told.get(uid)?.status.containerStatuses?.[0]?.state.running !== undefined
  }

  async until(wanted: () => boolean): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const look = () => {
        if (!wanted()) {
          if (this.child.exitCode !== null) reject(new Error(`the agent ended with ${this.child.exitCode}`))
          return
        }
        this.#listeners.delete(look)
        resolve()
      }
      const late = () => reject(new Error(`never came: ${JSON.stringify([...this.told.values()]).slice(0, 4000)}`))
      signal.addEventListener('abort', late, { once: true })
      this.#listeners.add(look)
      look()
    })
  }

  async kill(): Promise<void> {
    const gone = new Promise((resolve) => this.child.once('exit', resolve))
    this.child.kill('SIGKILL')
    await gone
  }
}

describe.skipIf(missing !== undefined)('an agent that is killed at any moment', () => {
  it('ends nothing, begins nothing twice, and the next one brings everything to what is wanted', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({ kill: fc.integer({ min: 0, max: 12 }), put: fc.integer({ min: 0, max: 3 }), drop: fc.boolean() }),
          { minLength: 3, maxLength: 6 },
        ),
        async (steps) => await killed(steps),
      ),
      { numRuns: 2, endOnFailure: true },
    )
  }, 120_000)
})

async function killed(steps: readonly { kill: number; put: number; drop: boolean }[]): Promise<void> {
  await using house = await PodHouse.open({ image, signal })
  await house.leave()
  const { folder } = house
  const shared = join(folder, 'shared')
  mkdirSync(shared)
  chmodSync(shared, 0o777)
  const wantedFolder = join(folder, 'wanted')
  mkdirSync(wantedFolder)
  const file = join(wantedFolder, 'objects.json')
  const objects = new Map<string, PodLinkObject>()
  const save = () => {
    writeFileSync(`${file}.new`, JSON.stringify([...objects.values()]))
    renameSync(`${file}.new`, file)
  }
  const begun = (uid: string) => lines(join(shared, `${uid}.begun`))
  let count = 0
  /** Pods that were told as running, and how often they had begun by then. */
  const ran = new Map<string, { readonly id: string; readonly times: number }>()
  const note = (agent: Agent) => {
    for (const [uid, { status }] of agent.told) {
      const id = status.containerStatuses?.[0]?.containerID
      const runs = status.containerStatuses?.[0]?.state.running !== undefined
      if (runs && id !== undefined && objects.has(uid) && begun(uid) > 0 && !ran.has(uid))
        ran.set(uid, { id, times: begun(uid) })
    }
  }
  save()
  for (const { kill, put, drop } of steps) {
    const agent = new Agent(folder, file)
    for (let at = 0; at < put; at++) {
      const uid = `kill-${process.pid}-${house.folder.slice(-6)}-${count++}`
      objects.set(uid, {
        ...{ kind: 'Pod', key: `plant/p${count}`, rev: '1' },
        object: {
          ...{ uid, generation: 1, metadata: {} },
          spec: {
            terminationGracePeriodSeconds: 0,
            containers: [
              {
                name: 'main',
                image: 'test/busybox:1',
                command: ['sh', '-c', script(uid)],
                volumeMounts: [...FLOCK.mounts, { name: 's', mountPath: '/shared' }],
              },
            ],
            volumes: [...FLOCK.volumes, { name: 's', hostPath: { path: shared } }],
          },
        },
      })
    }
    const oldest = [...objects.keys()][0]
    if (drop && oldest !== undefined) objects.delete(oldest)
    save()
    const settled = () => [...objects.keys()].every((uid) => agent.runs(uid))
    // After so many words of it, or when it has nothing more to say.
    await agent.until(() => agent.lines >= kill || settled())
    note(agent)
    await agent.kill()
  }
  const last = new Agent(folder, file)
  await last.until(() => [...objects.keys()].every((uid) => last.runs(uid)))
  await last.kill()
  house.objects = [...objects.values()]
  house.enter()
  const all = await house.runtime.list()
  const running = all.flatMap(({ podUid, containers }) =>
    containers.filter(({ state }) => state === 'running').map((one) => ({ podUid, ...one })),
  )
  const wanted = running.filter(({ podUid }) => objects.has(podUid))
  expect(wanted.map(({ podUid }) => podUid).sort()).toEqual([...objects.keys()].sort())
  for (const uid of objects.keys()) expect(lines(join(shared, `${uid}.double`)), uid).toBe(0)
  for (const [uid, { id, times }] of ran) {
    if (!objects.has(uid)) continue
    expect(begun(uid), uid).toBe(times)
    expect(`process://${running.find(({ podUid }) => podUid === uid)?.id}`).toBe(id)
  }
  house.objects = []
  house.keeper.wake()
  // Nothing is left of what nobody wants, of whichever agent it was.
  const empty = Promise.withResolvers<void>()
  const look = () => void house.runtime.list().then((left) => left.length === 0 && empty.resolve())
  const stop = house.runtime.onChange(look)
  look()
  await empty.promise
  stop()
}

function lines(path: string): number {
  try {
    return readFileSync(path, 'utf8').split('\n').length - 1
  } catch {
    return 0
  }
}
