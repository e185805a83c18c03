import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { keptPort } from '../../hil/kept-port.ts'
import { until } from '../harness/until.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

const DASHBOARD = '@flowfuse/node-red-dashboard'

export type FlowNode = Readonly<Record<string, unknown>> & { readonly id: string; readonly type: string }

/** What a flow told the test through `told(...)`, with the name it gave. */
export interface Told {
  readonly as: string
  readonly message: Readonly<Record<string, unknown>>
}

/** Node-RED itself, as its own process, with the built package installed as a user has it. */
export class RedProcess implements AsyncDisposable {
  readonly url: string
  readonly told: Told[] = []
  readonly #child: ChildProcess
  readonly #listeners = new Set<(told: Told) => void>()
  #log = ''

  private constructor(child: ChildProcess, url: string) {
    this.#child = child
    this.url = url
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#log = (this.#log + text).slice(-256 * 1024)
      })
    }
    child.on('message', (told) => {
      this.told.push(told as Told)
      for (const listener of this.#listeners) listener(told as Told)
    })
  }

  /** `version`: the folder of node_modules that holds the Node-RED to start. */
  static async start(folder: string, flow: readonly FlowNode[], version = 'node-red'): Promise<RedProcess> {
    const scope = join(folder, 'node_modules', '@sluice')
    mkdirSync(scope, { recursive: true })
    symlinkSync(join(root, 'node-red'), join(scope, 'node-red-twins'))
    // Node-RED loads the nodes of packages that this file names.
    const dependencies = { '@sluice/node-red-twins': '0.1.0', '@flowfuse/node-red-dashboard': '1.31.0' }
    mkdirSync(join(folder, 'node_modules', '@flowfuse'))
    symlinkSync(join(root, 'node_modules', DASHBOARD), join(folder, 'node_modules', DASHBOARD))
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ dependencies }))
    writeFileSync(join(folder, 'flows.json'), JSON.stringify(flow))
    writeFileSync(join(folder, 'settings.cjs'), SETTINGS)
    return RedProcess.again(folder, version)
  }

  /** Starts on a folder that has been used before. */
  static async again(folder: string, version = 'node-red'): Promise<RedProcess> {
    const port = await keptPort()
    const argv = [join(root, 'node_modules', version, 'red.js'), '-u', folder, '-s', join(folder, 'settings.cjs')]
    const child = spawn(process.execPath, argv, {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      cwd: folder,
      env: { ...process.env, TEST_RED_PORT: String(port) },
    })
    const red = new RedProcess(child, `http://127.0.0.1:${port}`)
    const ended = once(child, 'exit').then(([code]) => Promise.reject(new Error(`Node-RED ended: ${code}\n${red.log}`)))
    ended.catch(() => {})
    await Promise.race([red.hear(({ as }) => as === 'started', 'Node-RED started', 60_000), ended])
    return red
  }

  get log(): string {
    return this.#log
  }

  /** The next thing told that fits; what was told before does not count. */
  hear(accept: (told: Told) => boolean, what: string, timeoutMs = 20_000): Promise<Told> {
    return until(
      (push) => {
        this.#listeners.add(push)
        return () => void this.#listeners.delete(push)
      },
      accept,
      `${what}\n${this.#log.slice(-4000)}`,
      timeoutMs,
    )
  }

  /** Deploys the flow again, as the editor's button does. */
  async deploy(flow: readonly FlowNode[], how: 'full' | 'nodes' | 'flows' | 'reload' = 'full'): Promise<void> {
    const answer = await fetch(`${this.url}/flows`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'node-red-deployment-type': how },
      body: JSON.stringify(flow),
    })
    if (answer.status >= 300) throw new Error(`deploying answered ${answer.status}: ${await answer.text()}`)
  }

  /** Has an inject node send what its configuration says, or another message. */
  async inject(id: string, message?: Readonly<Record<string, unknown>>): Promise<void> {
    const props = Object.entries(message ?? {}).map(([p, v]) => ({ p, v: JSON.stringify(v), vt: 'json' }))
    const answer = await fetch(`${this.url}/inject/${id}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(message === undefined ? {} : { __user_inject_props__: props }),
    })
    if (answer.status !== 200) throw new Error(`injecting answered ${answer.status}`)
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = once(this.#child, 'exit')
    this.#child.kill(signal)
    await exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL')
  }
}

/** The functions of a flow tell the test over the process's own channel. */
const SETTINGS = `
process.once('disconnect', () => process.exit(1))
module.exports = {
  uiHost: '127.0.0.1',
  uiPort: Number(process.env.TEST_RED_PORT),
  flowFile: 'flows.json',
  credentialSecret: 'only for tests',
  telemetry: { enabled: false, updateNotification: false },
  editorTheme: { tours: false, projects: { enabled: false } },
  functionGlobalContext: { tell: (as, message) => process.send({ as, message }) },
  logging: { console: { level: 'info', metrics: false, audit: false } },
}
const ask = () => {
  fetch('http://127.0.0.1:' + process.env.TEST_RED_PORT + '/flows/state').then(
    (answer) => answer.json().then(({ state }) => (state === 'start' ? process.send({ as: 'started', message: {} }) : setTimeout(ask, 50))),
    () => setTimeout(ask, 50),
  )
}
ask()
`

/** A function node that tells the test what it gets. */
export const tell = (id: string, as: string): FlowNode => ({
  id,
  type: 'function',
  z: 'tab',
  name: as,
  func: `global.get('tell')('${as}', RED.util.cloneMessage(msg)); return null`,
  outputs: 0,
  wires: [],
})
