import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requestJson } from '../../api/client/http.ts'
import { delay, systemClock } from '../../api/clock.ts'
import { toSluiceError } from '../../api/errors.ts'
import { API_VERSION, type Device, type DeviceModel } from '../../api/resources.ts'
import { DEFAULT_NAMESPACE } from '../../api/validate-set.ts'
import type { DeviceView } from '../../api/views.ts'
import { gatewayDocuments } from '../../firmware/generator/emit-documents.ts'
import { build, type Made, writeGenerated } from '../../firmware/project/make.ts'
import type { FirmwareBuild } from '../../firmware/tools/build.ts'
import { standaloneObjects } from '../standalone.ts'
import { OwnPart } from './part.ts'

/** When each step was done, milliseconds since this process was started. Steps run beside each other where they can. */
export interface Milestones {
  readonly loadedMs: number
  readonly generatedMs: number
  readonly builtMs: number
  readonly boardMs: number
  readonly agentMs: number
}

const LOOK_EVERY_MS = 5

/** A project's board, emulated, with an agent of its own that reads it. */
export class Emulation implements AsyncDisposable {
  readonly folder: string
  readonly path: string
  readonly built: FirmwareBuild
  readonly milestones: Milestones
  readonly #key: string
  readonly #parts: readonly OwnPart[]

  private constructor(
    at: { readonly folder: string; readonly path: string; readonly key: string },
    built: FirmwareBuild,
    milestones: Milestones,
    parts: readonly OwnPart[],
  ) {
    this.folder = at.folder
    this.path = at.path
    this.#key = at.key
    this.built = built
    this.milestones = milestones
    this.#parts = parts
  }

  static async start(
    load: () => Made & { readonly model: DeviceModel },
    env: Readonly<Record<string, string | undefined>>,
    signal: AbortSignal,
  ): Promise<Emulation> {
    // The slow starters first: both run up while the project is read and compiled.
    const folder = mkdtempSync(join(tmpdir(), 'sluice-emulate-'))
    const parts: OwnPart[] = []
    try {
      const board = new OwnPart('board', [], env)
      parts.push(board)
      const objects = join(folder, 'objects.json')
      writeFileSync(objects, JSON.stringify(placeholder(join(folder, 'soon'))))
      const agent = new OwnPart(
        'agent',
        ['--data', folder, '--objects', objects, '--log-level', 'error', '--discover', 'off'],
        env,
      )
      parts.push(agent)
      const agentUp = agent.next('ready', signal).then(sinceStart)
      agentUp.catch(() => undefined)
      const made = load()
      const loadedMs = sinceStart()
      writeGenerated(made)
      const generatedMs = sinceStart()
      const built = await build(made, { signal })
      const builtMs = sinceStart()
      const { elf, bin, address, image } = built
      const path = join(folder, 'line0')
      board.tell(JSON.stringify({ board: made.board.name, image, elf, bin, address, link: path }))
      await board.next('ready', signal)
      const boardMs = sinceStart()
      const agentMs = await agentUp
      writeFileSync(objects, JSON.stringify(objectsOf(made, path)))
      agent.signal('SIGHUP')
      const key = `${made.project.namespace ?? DEFAULT_NAMESPACE}/${made.project.name}`
      return new Emulation({ folder, path, key }, built, { loadedMs, generatedMs, builtMs, boardMs, agentMs }, parts)
    } catch (error) {
      await Promise.all(parts.map((part) => part.kill()))
      rmSync(folder, { recursive: true, force: true })
      throw error
    }
  }

  /** What the agent knows of the board now. */
  view(signal: AbortSignal): Promise<DeviceView> {
    const endpoint = { kind: 'socket', path: join(this.folder, 'agent.sock') } as const
    return requestJson<DeviceView>(endpoint, { path: `/v1/devices/${this.#key}`, signal })
  }

  /** Resolves with the time of the first good value, milliseconds since this process was started. */
  async firstValue(signal: AbortSignal): Promise<number> {
    const ended = Promise.race(this.#parts.map((part) => part.ended))
    ended.catch(() => undefined)
    for (;;) {
      // Until the agent has been told of the board it does not know it.
      const looked = this.view(signal).catch((error: unknown) => {
        if (toSluiceError(error).code === 'SLUICE_TWIN_DEVICE_UNKNOWN') return { twins: [] }
        throw error
      })
      const { twins } = await Promise.race([looked, ended])
      if (twins.some(({ quality, value }) => quality === 'good' && value !== undefined)) return sinceStart()
      await Promise.race([delay(systemClock, LOOK_EVERY_MS, signal), ended])
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const part of this.#parts.toReversed()) await part[Symbol.asyncDispose]()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

const sinceStart = (): number => Math.round(performance.now())

/** A device that makes the agent load what it needs for any board; its line is never there. */
function placeholder(port: string) {
  const spec = { properties: [{ name: 'none', type: 'int' as const, modbus: { input: 0 } }] }
  const device = { model: 'none', modbus: { rtu: { port }, unit: 1 } }
  const [apiVersion, metadata] = [API_VERSION, { name: 'none' }] as const
  return standaloneObjects(
    {
      models: [{ apiVersion, kind: 'DeviceModel', metadata, spec }],
      devices: [{ apiVersion, kind: 'Device', metadata, spec: device }],
      resources: [],
    },
    Date.now(),
  )
}

/** What the gateway is given, with the emulated line for its port. */
function objectsOf({ project, generated, model }: Made & { readonly model: DeviceModel }, port: string) {
  const entry = {
    model: model.metadata.name,
    device: project.name,
    namespace: project.namespace,
    port,
    ...project.line,
    unit: project.unit,
  }
  const [made, device] = gatewayDocuments(generated.model, entry)
  return standaloneObjects({ models: [made as DeviceModel], devices: [device as Device], resources: [] }, Date.now())
}
