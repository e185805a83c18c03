import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { busyboxImage, type MadeImage } from '../../images/busybox.test-helper.ts'
import { whenChanged, whenLogged } from '../contract.test-helper.ts'
import { plainContainer, plainSandbox } from '../specs.test-helper.ts'
import { ContainerdHouse, missingForContainerd } from './house.test-helper.ts'
import type { ContainerdRuntime } from './runtime.ts'
import { runOf } from './starts.ts'

const missing = missingForContainerd()
const PROGRAM = fileURLToPath(new URL('./starter.test-process.ts', import.meta.url))

describe.skipIf(missing !== undefined)('a start that somebody is killed in', { timeout: 60_000 }, () => {
  let house: ContainerdHouse
  let image: MadeImage
  let runtime: ContainerdRuntime
  let signal: AbortSignal
  let works = 0

  beforeAll(async () => {
    house = await ContainerdHouse.start({ held: true })
    image = busyboxImage()
    runtime = await house.open()
    await runtime.images.import(image.archive, undefined, AbortSignal.timeout(30_000))
  }, 60_000)
  afterAll(async () => {
    await runtime?.[Symbol.asyncDispose]()
    await house?.[Symbol.asyncDispose]()
    image?.[Symbol.dispose]()
  }, 60_000)
  beforeEach(() => {
    signal = AbortSignal.timeout(60_000)
  })
  afterEach(async () => {
    for (const { id } of await runtime.list(signal)) await runtime.removeSandbox(id, signal)
  }, 60_000)

  /** A container whose program notes outside of it that it begins. */
  async function made() {
    const { folder } = house.machine
    const box = await runtime.createSandbox(plainSandbox(join(folder, 'logs')), signal)
    const shared = join(folder, `work-${++works}`)
    mkdirSync(shared)
    const state = (await runtime.images.find('test/busybox:1', signal))!
    const script =
      'echo begun >> /shared/journal; trap "echo end; exit 7" TERM; echo up; while true; do sleep 0.05; done'
    const mounts = [{ hostPath: shared, containerPath: '/shared', readOnly: false }]
    const id = await runtime.createContainer(
      box.id,
      plainContainer(state, { command: ['/bin/sh', '-c', script], mounts }),
      signal,
    )
    const journal = join(shared, 'journal')
    return { id, begun: () => (existsSync(journal) ? readFileSync(journal, 'utf8').trim().split('\n').length : 0) }
  }

  const view = async (id: string) =>
    (await runtime.list(signal)).flatMap(({ containers }) => containers).find((one) => one.id === id)!

  /** As after a start of the agent. */
  async function another(): Promise<void> {
    await runtime[Symbol.asyncDispose]()
    runtime = await house.open()
  }

  const inside = (...args: readonly string[]) =>
    spawn(process.execPath, [
      PROGRAM,
      house.socket,
      join(house.machine.folder, 'agent'),
      house.machine.cgroupBase,
      ...args,
    ])

  it.each(['before-start', 'after-start'] as const)(
    'is made once when the agent is killed, at the point %s, and the next agent waits for it',
    async (point) => {
      const { id, begun } = await made()
      const held = house.hold(point, signal)
      const agent = inside(id)
      await held.reached
      const ended = once(agent, 'exit')
      agent.kill('SIGKILL')
      await ended
      await another()
      const looking = view(id)
      held.release()
      const { state, logPath } = await looking
      expect(state).toBe('running')
      await whenLogged(logPath, 'up', signal)
      expect(await view(id)).toMatchObject({ state: 'running', attempt: 0 })
      expect(begun()).toBe(1)
      await runtime.stopContainer(id, 30_000, signal)
      expect((await view(id)).exit).toMatchObject({ code: 7 })
    },
  )

  it('goes on when the agent that asked for it stops meanwhile', async () => {
    const { id, begun } = await made()
    const held = house.hold('before-start', signal)
    const stop = new AbortController()
    const starting = runtime.startContainer(id, stop.signal).catch((error: Error) => error.message)
    await held.reached
    stop.abort(new Error('the agent stops'))
    expect(await starting).toBe('the agent stops')
    await another()
    const looking = view(id)
    held.release()
    const { state, logPath } = await looking
    expect(state).toBe('running')
    await whenLogged(logPath, 'up', signal)
    expect(begun()).toBe(1)
  })

  it('is made by the next agent when it was noted and never asked for', async () => {
    const { id, begun } = await made()
    const asked = noteOf(house, id)
    await another()
    const { state, logPath } = await view(id)
    expect(state).toBe('running')
    await whenLogged(logPath, 'up', signal)
    expect(begun()).toBe(1)
    expect(existsSync(asked)).toBe(false)
  })

  it('counts as one that has ended when containerd is killed, which ends what had begun', async () => {
    const { id, begun } = await made()
    const held = house.hold('after-start', signal)
    const starting = runtime.startContainer(id, signal).catch((error: unknown) => error)
    await held.reached
    await house.kill()
    expect(await starting).toMatchObject({ code: 'SLUICE_POD_RUNTIME_DOWN' })
    held.release()
    await house.up()
    const exit = {
      code: 137,
      reason: 'ContainerStatusUnknown',
      message: expect.stringContaining('containerd was ended'),
    }
    expect(await view(id)).toMatchObject({ state: 'exited', exit })
    await another()
    expect(await view(id)).toMatchObject({ state: 'exited', exit })
    expect(begun()).toBeLessThanOrEqual(1)
    await runtime.removeContainer(id, signal)
    expect(await runtime.list(signal)).toMatchObject([{ containers: [] }])
    expect(existsSync(join(house.machine.folder, 'agent/starts', id))).toBe(false)
  })

  it('is not made again when containerd is killed before it has noted that the program runs', async () => {
    const { id, begun } = await made()
    await runtime.startContainer(id, signal)
    await whenLogged((await view(id)).logPath, 'up', signal)
    await house.kill()
    // What was on its disk before the start.
    const note = join(house.machine.folder, 'root/io.containerd.grpc.v1.cri/containers', id, 'status')
    writeFileSync(note, JSON.stringify({ ...JSON.parse(readFileSync(note, 'utf8')), Pid: 0, StartedAt: 0 }))
    await house.up()
    expect(await view(id)).toMatchObject({ state: 'running', startedMs: expect.any(Number) })
    await using session = await runtime.exec(id, { command: ['true'], stdin: false, tty: false }, signal)
    expect(await session.exited).toBe(0)
    await runtime.stopContainer(id, 30_000, signal)
    await whenChanged(runtime, async () => (await view(id)).state === 'exited', signal)
    expect((await view(id)).exit).toMatchObject({ code: 7 })
    expect(begun()).toBe(1)
  })
})

/** As an agent leaves it that is killed between its note and its question. */
function noteOf({ machine, socket }: ContainerdHouse, id: string): string {
  const path = join(machine.folder, 'agent/starts', id)
  writeFileSync(path, runOf(socket))
  return path
}
